/** BitCast: the same bits as another type. */
import { elementInfo, elementTypeOf } from '../engine/element-type.js';
import { decodeTensor, encodeTensor } from '../engine/transfer.js';
import { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import type { OpTable } from './definition.js';

export const bitCastOps = {
  /** Tensors have no way to the bits of their elements, so this reads the value, as a file would hold it. */
  BitCast: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const code = ctx.attrs.int('to');
    const to = elementTypeOf(code) ?? ctx.fail(`there is no element type ${code}`);
    const [from, wanted] = [elementInfo[x.type].bits, elementInfo[to].bits];
    if (from !== wanted || from === 0) ctx.fail(`${x.type} as ${to}`, 'two types of as many bits');
    if (to === x.type) return x;
    return TensorValue.ofHost(decodeTensor({ ...encodeTensor(x.host, x.type, x.shape), type: to }), to, x.shape);
  },
} satisfies OpTable;
