/** Conversions between element types. */
import { castTensor, type RoundingOptions } from '../engine/carrier.js';
import { type ElementType, elementInfo, elementTypeOf } from '../engine/element-type.js';
import type { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import { isHostType } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { foldsOnHost, hostCast } from './host.js';
import { computed } from './tensors.js';

/** The type that an attribute names by its code. */
export function typeAttribute(name: string, ctx: OpContext, fallback?: ElementType): ElementType {
  if (fallback !== undefined && (!ctx.attrs.has(name) || ctx.attrs.int(name) === 0)) return fallback;
  // Opset 1 named types by text.
  if (ctx.node.attributes.get(name)?.kind === 'string') {
    const text = ctx.attrs.string(name).toLowerCase();
    const type = text === 'double' ? 'float64' : text === 'float' ? 'float32' : text;
    return type in elementInfo ? (type as ElementType) : ctx.fail(`${name} is '${text}'`, 'the name of an element type');
  }
  const code = ctx.attrs.int(name);
  return elementTypeOf(code) ?? ctx.fail(`${name} is ${code}`, 'the code of an element type');
}

/** A value in another type, on the host where it is small and known or has no dtype. */
export function castValue(x: TensorValue, to: ElementType, options: RoundingOptions = {}): TensorValue {
  if (x.type === to) return x;
  if (isHostType(x.type) || isHostType(to) || foldsOnHost([x])) return hostCast(x, to, options);
  return computed(to, () => castTensor(x.tensor, x.type, to, options));
}

function roundingOf(ctx: OpContext): RoundingOptions {
  const mode = ctx.attrs.string('round_mode', 'up');
  if (mode !== 'up' && mode !== 'down' && mode !== 'nearest') ctx.fail(`round_mode '${mode}'`, "'up', 'down' or 'nearest'");
  return { saturate: ctx.attrs.int('saturate', 1) !== 0, mode };
}

export const castOps = {
  Cast: (inputs, ctx) => castValue(tensorAt(inputs, 0, ctx), typeAttribute('to', ctx), roundingOf(ctx)),
  CastLike: (inputs, ctx) => castValue(tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx).type, roundingOf(ctx)),
} satisfies OpTable;
