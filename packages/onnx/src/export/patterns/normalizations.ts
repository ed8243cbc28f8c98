/** Normalizations. */
import { batchNorm, groupNorm, layerNorm, rmsNorm, type Tensor } from 'trireme';
import { type GraphNode, type Operand, sizeOf, type TensorType } from 'trireme/graph';
import type { Emitter } from '../emitter.js';
import type { OutValue } from '../graph.js';
import { type Match, type Matcher, templateOf } from '../match.js';
import { type Pattern, standsFor } from './pattern.js';

/** Which of scale and shift there are. */
const endings = ['both', 'shift', 'scale', 'none'] as const;
type Ending = (typeof endings)[number];
const scales = (ending: Ending): boolean => ending === 'both' || ending === 'scale';
const shifts = (ending: Ending): boolean => ending === 'both' || ending === 'shift';

interface Normalized {
  readonly x: Operand;
  readonly weight: Operand | undefined;
  readonly bias: Operand | undefined;
  readonly eps: number;
}

/** Tries a normalization with and without scale and shift. `affine` is the shape of both. */
function normalized(
  node: GraphNode,
  matcher: Matcher,
  key: string,
  affine: readonly number[],
  fn: (x: Tensor, weight: Tensor | null, bias: Tensor | null, eps: number) => Tensor,
): Normalized | null {
  const [{ dtype, shape }] = node.outputs;
  for (const ending of endings) {
    const types: TensorType[] = [{ dtype, shape }];
    if (scales(ending)) types.push({ dtype, shape: affine });
    if (shifts(ending)) types.push({ dtype, shape: affine });
    const template = templateOf(`${key} ${ending}`, types, (inputs, [eps]) =>
      fn(inputs[0], scales(ending) ? inputs[1] : null, shifts(ending) ? inputs[inputs.length - 1] : null, eps),
    );
    const match: Match | null = matcher.match(template, node);
    const [x] = match?.inputs ?? [];
    if (match === null || x === undefined) continue;
    const [eps] = match.numbers;
    const weight = scales(ending) ? match.inputs[1] : undefined;
    const bias = shifts(ending) ? match.inputs[types.length - 1] : undefined;
    if (eps !== undefined) return { x, weight, bias, eps };
  }
  return null;
}

/** The normalization's reduction, if there is one that near. */
function summed(node: GraphNode, matcher: Matcher): readonly number[] | undefined {
  const root = matcher.behind(node, 'rsqrt', 3);
  const sum = root === undefined ? undefined : matcher.behind(root, 'sum', 3);
  return sum?.attrs.axes as readonly number[] | undefined;
}

/** The values, or as many times `otherwise`. */
function parameter(em: Emitter, operand: Operand | undefined, count: number, like: OutValue, otherwise: number): OutValue {
  return operand === undefined ? em.graph.literal(like.dtype, [count], new Array<number>(count).fill(otherwise)) : em.read(operand);
}

const layerNormPattern: Pattern = {
  roots: ['add', 'mul'],
  find(node, matcher, em) {
    const axes = em.opset < 17 ? undefined : summed(node, matcher);
    const [{ dtype, shape }] = node.outputs;
    if (axes === undefined || axes.length > shape.length) return null;
    const affine = shape.slice(shape.length - axes.length);
    const found = normalized(node, matcher, `layerNorm ${axes.length}`, affine, (x, w, b, eps) => layerNorm(x, affine, w, b, { eps }));
    if (found === null) return null;
    const { x, weight, bias, eps } = found;
    return standsFor(node, [x, weight, bias], (to) => {
      const input = to.read(x);
      const scale = weight === undefined ? to.expand(to.graph.literal(dtype, [], [1]), affine) : to.read(weight);
      const inputs = [input.name, scale.name, ...(bias === undefined ? [] : [to.read(bias).name])];
      return to.op('LayerNormalization', inputs, dtype, shape, { axis: -axes.length, epsilon: { float: eps } });
    });
  },
};

const rmsNormPattern: Pattern = {
  roots: ['mul'],
  find(node, matcher, em) {
    const axes = em.opset < 23 ? undefined : summed(node, matcher);
    const [{ dtype, shape }] = node.outputs;
    if (axes === undefined || axes.length > shape.length) return null;
    const affine = shape.slice(shape.length - axes.length);
    const found = normalized(node, matcher, `rmsNorm ${axes.length}`, affine, (x, w, _, eps) => rmsNorm(x, affine, w, { eps }));
    if (found === null) return null;
    const { x, weight, eps } = found;
    return standsFor(node, [x, weight], (to) => {
      const scale = weight === undefined ? to.expand(to.graph.literal(dtype, [], [1]), affine) : to.read(weight);
      return to.op('RMSNormalization', [to.read(x).name, scale.name], dtype, shape, { axis: -axes.length, epsilon: { float: eps } });
    });
  },
};

/** The groups are seen in the shape that the statistics are taken in: [batch, groups, rest]. */
function groupsOf(node: GraphNode, matcher: Matcher): number | undefined {
  const root = matcher.behind(node, 'rsqrt', 4);
  const sum = root === undefined ? undefined : matcher.behind(root, 'sum', 3);
  const shape = sum?.inputs[0].layout.shape;
  return shape?.length === 3 ? shape[1] : undefined;
}

const groupNormPattern: Pattern = {
  roots: ['add', 'mul'],
  find(node, matcher, em) {
    const [{ dtype, shape }] = node.outputs;
    const groups = shape.length < 2 ? undefined : groupsOf(node, matcher);
    if (groups === undefined || shape[1] % groups !== 0) return null;
    const channels = shape[1];
    // Without LayerNormalization, rows of a sequence would pass for channels, as many as there are steps.
    if (em.opset < 17 && groups === channels && shape.length === 3) return null;
    const found = normalized(node, matcher, `groupNorm ${groups}`, [channels], (x, w, b, eps) => groupNorm(x, groups, w, b, { eps }));
    if (found === null) return null;
    const { x, weight, bias, eps } = found;
    return standsFor(node, [x, weight, bias], (to) => {
      const input = to.read(x);
      const [scale, shift] = [parameter(to, weight, channels, input, 1), parameter(to, bias, channels, input, 0)];
      const epsilon = { float: eps };
      if (groups === channels && shape.length > 2)
        return to.op('InstanceNormalization', [input.name, scale.name, shift.name], dtype, shape, { epsilon });
      if (em.opset >= 21)
        return to.op('GroupNormalization', [input.name, scale.name, shift.name], dtype, shape, { num_groups: groups, epsilon });
      const rows = to.reshape(input, [shape[0], groups, sizeOf(shape.slice(1)) / groups]);
      const ones = to.graph.literal(dtype, [groups], new Array<number>(groups).fill(1));
      const zeros = to.graph.literal(dtype, [groups], new Array<number>(groups).fill(0));
      const z = to.reshape(to.op('InstanceNormalization', [rows.name, ones.name, zeros.name], dtype, rows.shape, { epsilon }), shape);
      const wide = (t: OutValue): OutValue => to.reshape(t, [channels, ...shape.slice(2).map(() => 1)]);
      const scaled = weight === undefined ? z : to.op('Mul', [z.name, wide(scale).name], dtype, shape);
      return bias === undefined ? scaled : to.op('Add', [scaled.name, wide(shift).name], dtype, shape);
    });
  },
};

/** With the running statistics. */
const batchNormPattern: Pattern = {
  roots: ['add', 'mul'],
  find(node, matcher) {
    const [{ dtype, shape }] = node.outputs;
    if (shape.length < 2 || matcher.behind(node, 'rsqrt', 3) === undefined) return null;
    const channels = shape[1];
    const perChannel = { dtype, shape: [channels] };
    for (const ending of endings) {
      const count = 3 + (scales(ending) ? 1 : 0) + (shifts(ending) ? 1 : 0);
      const types = [{ dtype, shape }, ...new Array<TensorType>(count - 1).fill(perChannel)];
      const template = templateOf(`batchNorm ${ending}`, types, (inputs, [eps]) =>
        batchNorm(inputs[0], inputs[1], inputs[2], scales(ending) ? inputs[3] : null, shifts(ending) ? inputs[count - 1] : null, { eps }),
      );
      const match = matcher.match(template, node);
      if (match === null) continue;
      const [x, mean, variance] = match.inputs;
      const [eps] = match.numbers;
      if (x === undefined || mean === undefined || variance === undefined || eps === undefined) continue;
      const weight = scales(ending) ? match.inputs[3] : undefined;
      const bias = shifts(ending) ? match.inputs[count - 1] : undefined;
      return standsFor(node, [x, mean, variance, weight, bias], (em) => {
        const input = em.read(x);
        const inputs = [
          input,
          parameter(em, weight, channels, input, 1),
          parameter(em, bias, channels, input, 0),
          em.read(mean),
          em.read(variance),
        ];
        return em.op(
          'BatchNormalization',
          inputs.map((t) => t.name),
          dtype,
          shape,
          { epsilon: { float: eps } },
        );
      });
    }
    return null;
  },
};

export const normalizationPatterns: readonly Pattern[] = [layerNormPattern, rmsNormPattern, groupNormPattern, batchNormPattern];
