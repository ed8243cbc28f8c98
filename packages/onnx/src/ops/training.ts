/** Steps of optimizers, as operators (domain ai.onnx.preview.training). */
import { add, cast, div, enableGrad, grad, gt, mul, pow, scope, sqrt, square, sub, sum, type Tensor, where, zerosLike } from 'trireme';
import { TensorValue } from '../engine/value.js';
import { type EngineContext, Frame, runNode } from '../engine/walk.js';
import { tensorsOf } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';

/** Learning rate and step, which all tensors share, as they meet the tensors of a step. */
interface Common {
  readonly rate: Tensor;
  readonly step: Tensor;
}

/**
 * Inputs are the rate R, the step T, then all tensors X, all gradients G and each state in turn; outputs all new X and each new state
 * in turn.
 */
function stepOf(states: number, update: (common: Common, tensors: readonly Tensor[], ctx: OpContext) => readonly Tensor[]): OpFunction {
  return (inputs, ctx) => {
    const [rate, step, ...rest] = tensorsOf(inputs, ctx);
    const kinds = 2 + states;
    const count = rest.length / kinds;
    if (!Number.isInteger(count)) ctx.fail(`${inputs.length} inputs`, `2 and ${kinds} a tensor`);
    const rows = Array.from({ length: count }, (_, i) =>
      scope(() => {
        const tensors = Array.from({ length: kinds }, (_, k) => rest[k * count + i].tensor);
        const { dtype } = tensors[0];
        return update({ rate: cast(rate.tensor, dtype), step: cast(step.tensor, dtype) }, tensors, ctx);
      }),
    );
    return rows[0].flatMap((_, k) => rows.map((row, i) => TensorValue.ofTensor(row[k], rest[i].type)));
  };
}

/** The gradient with that of the squared norm. */
function regularized(x: Tensor, g: Tensor, ctx: OpContext): Tensor {
  return add(mul(x, ctx.attrs.float('norm_coefficient', 0)), g);
}

const adagrad = stepOf(1, ({ rate, step }, [x, g, h], ctx) => {
  const decayed = div(rate, add(mul(step, ctx.attrs.float('decay_factor', 0)), 1));
  const full = regularized(x, g, ctx);
  const sums = add(h, square(full));
  return [sub(x, div(mul(full, decayed), add(sqrt(sums), ctx.attrs.float('epsilon', 1e-6)))), sums];
});

const adam = stepOf(2, ({ rate, step }, [x, g, v, h], ctx) => {
  const [alpha, beta] = [ctx.attrs.float('alpha', 0.9), ctx.attrs.float('beta', 0.999)];
  const full = regularized(x, g, ctx);
  const first = add(mul(v, alpha), mul(full, 1 - alpha));
  const second = add(mul(h, beta), mul(square(full), 1 - beta));
  const later = gt(step, 0);
  const safe = where(later, step, 1);
  const correction = div(sqrt(sub(1, pow(beta, safe))), sub(1, pow(alpha, safe)));
  const adjusted = mul(rate, where(later, correction, 1));
  const moved = sub(x, mul(div(first, add(sqrt(second), ctx.attrs.float('epsilon', 1e-6))), adjusted));
  return [mul(moved, 1 - ctx.attrs.float('norm_coefficient_post', 0)), first, second];
});

const momentum = stepOf(1, ({ rate, step }, [x, g, v], ctx) => {
  const [alpha, beta] = [ctx.attrs.float('alpha'), ctx.attrs.float('beta')];
  const mode = ctx.attrs.string('mode');
  if (mode !== 'standard' && mode !== 'nesterov') ctx.fail(`mode ${mode}`, 'standard or nesterov');
  const full = regularized(x, g, ctx);
  // The first step takes the whole gradient.
  const next = add(mul(v, alpha), mul(full, where(gt(step, 0), beta, 1)));
  const direction = mode === 'nesterov' ? add(full, mul(next, alpha)) : next;
  return [sub(x, mul(direction, rate)), next];
});

/**
 * The gradients of the value `y` of the surrounding graph towards `xs`, at the values that the inputs give `xs` and `zs`: what lies between them is
 * run again, with a tape. Of a `y` of several elements it is that of their sum.
 */
const gradient: OpFunction = (inputs, context) => {
  const { attrs, plan, frame, walk, fail } = context as EngineContext;
  const xs = attrs.strings('xs');
  const fixed = [...xs, ...attrs.strings('zs', [])];
  const y = attrs.string('y');
  const values = tensorsOf(inputs, context);
  if (values.length !== fixed.length) fail(`${values.length} inputs`, `${fixed.length}, as xs and zs name`);
  // All that follows from xs and zs, and what of the rest is not at hand any more.
  const moved = new Set(fixed);
  for (const { reads, node } of plan.nodes) if (reads.some((name) => moved.has(name))) for (const name of node.outputs) moved.add(name);
  const wanted = new Set([y]);
  const nodes = plan.nodes.toReversed().filter(({ node, reads }) => {
    const missing = node.outputs.some(
      (name) => wanted.has(name) && !fixed.includes(name) && (moved.has(name) || frame.find(name) === undefined),
    );
    if (missing) for (const name of reads) wanted.add(name);
    return missing;
  });
  const made = scope(() =>
    enableGrad(() => {
      const inner = new Frame(frame);
      const leaves = values.map((value, k) => (k < xs.length ? value.tensor.detach().requiresGrad_() : value.tensor));
      leaves.forEach((t, k) => inner.bind(fixed[k], k < xs.length ? TensorValue.ofTensor(t, values[k].type) : values[k]));
      for (const planned of nodes.toReversed()) {
        const outputs = runNode(planned, plan, inner, walk);
        planned.node.outputs.forEach((name, k) => {
          if (name !== '' && !fixed.includes(name)) inner.bind(name, outputs[k] ?? null);
        });
      }
      const end = inner.find(y);
      if (end?.kind !== 'tensor') return fail(`y '${y}' is no tensor of the graph`);
      const towards = leaves.slice(0, xs.length);
      if (!end.tensor.requiresGrad) return towards.map((t) => zerosLike(t));
      const found = grad([sum(end.tensor)], towards, { allowUnused: true });
      return found.map((g, k) => g ?? zerosLike(towards[k]));
    }),
  );
  return made.map((t, k) => TensorValue.ofTensor(t.detach(), values[k].type));
};

export const trainingOps = { Adagrad: adagrad, Adam: adam, Gradient: gradient, Momentum: momentum } satisfies OpTable;
