/**
 * Control flow that depends on values: conditions and loops. Outside jit() they run as plain JavaScript; inside, the
 * bodies become sub-programs of one node, so that nothing has to be read on the way.
 */
import { customFunction } from '../autograd/custom.js';
import { grad } from '../autograd/engine.js';
import { enableGrad, isGradEnabled, noGrad } from '../autograd/mode.js';
import { GradNode } from '../autograd/node.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, AutogradError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import type { TensorType } from '../graph/primitive.js';
import { currentTrace } from '../graph/trace.js';
import { bindAutocast } from '../tensor/autocast.js';
import { readSync } from '../tensor/data.js';
import { Tensor } from '../tensor/tensor.js';
import { add } from './binary.js';
import { align, type Body, freeTensors, recordControl, traceBody, wantsGrad } from './control-trace.js';
import { zeros } from './create.js';
import { stack } from './join.js';
import { where } from './ternary.js';
import { expand, reshape } from './view.js';
import { select } from './view-slice.js';

const typeOf = (t: Tensor): TensorType => ({ dtype: t.dtype, shape: t.shape });

function checkTypes(op: string, got: readonly Tensor[], expected: readonly TensorType[], what: string): void {
  const text = (t: TensorType): string => `${t.dtype} ${formatShape(t.shape)}`;
  if (got.length === expected.length && got.every((t, i) => t.dtype === expected[i].dtype && shapesEqual(t.shape, expected[i].shape)))
    return;
  throw new ShapeError(`${what} ${got.map(text).join(', ') || 'nothing'}`, {
    op,
    received: got.map(typeOf),
    expected: expected.map(text).join(', '),
  });
}

/** Number of the latest operation on the tape. */
function tapePosition(): number {
  return new Marker().sequence;
}
class Marker extends GradNode {
  constructor() {
    super('marker', [], []);
  }
  override backward(): readonly [] {
    return [];
  }
}

/** Fresh leaves over the same data; whole numbers stay without gradient. */
function leaves(tensors: readonly Tensor[]): Tensor[] {
  return tensors.map((t) => {
    const leaf = new Tensor(t.storage, t.shape, t.strides, t.offset);
    leaf.requiresGrad = isFloat(t.dtype);
    return leaf;
  });
}

/** Gradients of `results` weighted by `weights` with respect to leaves and free tensors; zeros where there is none. */
function gradients(results: readonly Tensor[], weights: readonly Tensor[], targets: readonly Tensor[]): Tensor[] {
  const roots = results.map((t, i) => ({ t, w: weights[i] })).filter(({ t }) => t.requiresGrad);
  const floats = targets.filter((t) => t.requiresGrad);
  const found =
    roots.length === 0 || floats.length === 0
      ? floats.map(() => null)
      : grad(
          roots.map((r) => r.t),
          floats,
          { gradOutputs: roots.map((r) => r.w), allowUnused: true, stopAtInputs: true },
        );
  return targets.map((t) =>
    t.requiresGrad ? (found[floats.indexOf(t)] ?? zeros(t.shape, { dtype: t.dtype })) : zeros(t.shape, { dtype: t.dtype }),
  );
}

/* ---- cond ---- */

/**
 * `whenTrue(...inputs)` where the 0-d bool `predicate` holds, else `whenFalse(...inputs)`; only one of them runs. Both return
 * as many tensors, of the same dtypes and shapes. Differentiable with respect to the inputs and to tensors used from outside.
 * @throws ShapeError when the branches disagree.
 */
export function cond(
  predicate: Tensor,
  thenDo: (...inputs: Tensor[]) => readonly Tensor[],
  elseDo: (...inputs: Tensor[]) => readonly Tensor[],
  inputs: readonly Tensor[] = [],
): Tensor[] {
  // Branches run again in the backward pass, and cast there as here.
  const [whenTrue, whenFalse] = [bindAutocast(thenDo), bindAutocast(elseDo)];
  if (predicate.numel !== 1)
    throw new ShapeError(`a condition of shape ${formatShape(predicate.shape)}`, {
      op: 'cond',
      received: predicate.shape,
      expected: 'one element',
    });
  if (currentTrace() === null) return [...(readSync(predicate)[0] ? whenTrue : whenFalse)(...inputs)];
  const test = reshape(predicate, []);
  const before = tapePosition();
  const requires = inputs.map((t) => t.requiresGrad);
  const trace = (): Body[] => [whenTrue, whenFalse].map((fn) => traceBody('cond', (args) => fn(...args), inputs.map(typeOf), requires));
  const bodies = trace();
  checkTypes('cond', bodies[1].results, bodies[0].results.map(typeOf), 'whenFalse returns');
  const run = (): Tensor[] => recordBranches(test, bodies, inputs, bodies[0].results.map(typeOf));
  const free = isGradEnabled() ? freeTensors(bodies, before) : [];
  if (!wantsGrad(inputs, free)) return run();
  const fn = customFunction<Tensor[], readonly Tensor[]>({
    name: 'cond',
    forward(ctx, ...args) {
      ctx.saveForBackward(test, ...args.slice(0, inputs.length));
      return run();
    },
    backward(ctx, ...grads) {
      const [saved, ...args] = ctx.savedTensors;
      const types = bodies[0].results;
      const weights = grads.map((g, i) => g ?? zeros(types[i].shape, { dtype: types[i].dtype }));
      const branch =
        (body: (...inputs: Tensor[]) => readonly Tensor[]) =>
        (...values: Tensor[]) => {
          const own = leaves(values.slice(0, args.length));
          const results = enableGrad(() => body(...own));
          return gradients(results, values.slice(args.length), [...own, ...free]);
        };
      return cond(saved, branch(whenTrue), branch(whenFalse), [...args, ...weights]).map((g, i) =>
        i < args.length && !isFloat(args[i].dtype) ? null : g,
      );
    },
  });
  return [...fn(...inputs, ...free)];
}

function recordBranches(test: Tensor, bodies: readonly Body[], inputs: readonly Tensor[], outputs: readonly TensorType[]): Tensor[] {
  const aligned = align(bodies, (constants, state, args) => [...constants, ...state, ...args]);
  return recordControl(
    'cond',
    aligned,
    (constants, state, [predicate, ...args]) => [predicate, ...constants, ...state, ...args],
    [test, ...inputs],
    outputs,
    {},
  );
}

/* ---- whileLoop ---- */

export interface WhileOptions {
  /** Most rounds there can be. Needed for gradients: the loop then becomes a scan of this length that stands still once the condition fails. */
  readonly maxIterations?: number;
}

/**
 * Repeats `state = body(...state)` as long as `condition(...state)` (one bool) holds; returns the last state. dtypes and
 * shapes stay the same from round to round.
 * @throws AutogradError when a gradient is wanted and maxIterations is missing.
 */
export function whileLoop(
  condition: (...state: Tensor[]) => Tensor,
  body: (...state: Tensor[]) => readonly Tensor[],
  init: readonly Tensor[],
  { maxIterations }: WhileOptions = {},
): Tensor[] {
  const types = init.map(typeOf);
  if (currentTrace() === null) {
    let state: readonly Tensor[] = init;
    for (let round = 0; maxIterations === undefined || round < maxIterations; round++) {
      if (!readSync(condition(...state))[0]) break;
      state = body(...state);
      checkTypes('whileLoop', state, types, 'the body returns');
    }
    return [...state];
  }
  const requires = init.map((t) => t.requiresGrad);
  const before = tapePosition();
  const bodies = [
    noGrad(() => traceBody('whileLoop condition', (args) => [reshape(condition(...args), [])], types, [])),
    traceBody('whileLoop', (args) => body(...args), types, requires),
  ];
  checkTypes('whileLoop', bodies[1].results, types, 'the body returns');
  const free = isGradEnabled() ? freeTensors(bodies.slice(1), before) : [];
  if (maxIterations !== undefined) {
    const step = (state: Tensor[]): readonly [Tensor[], Tensor[]] => {
      const go = noGrad(() => reshape(condition(...state), []));
      return [body(...state).map((t, i) => where(expand(go, t.shape), t, state[i])), []];
    };
    return scan(step, init, [], { length: maxIterations }).carry;
  }
  if (wantsGrad(init, free)) {
    throw new AutogradError('a loop of unknown length has no gradient', {
      op: 'whileLoop',
      fix: 'Give maxIterations, or use scan(), or detach() what enters the loop.',
    });
  }
  if (bodies[0].written.size > 0)
    throw new ArgumentError('the condition changes a tensor in place', { op: 'whileLoop', fix: 'Change it in the body.' });
  const aligned = align(bodies, (constants, state, args) => [...constants, ...state, ...args]);
  const programs = [{ ...aligned.programs[0], outputs: aligned.programs[0].outputs.slice(aligned.state.length) }, aligned.programs[1]];
  return recordControl('while', { ...aligned, programs }, (constants, state, args) => [...constants, ...state, ...args], init, types, {
    consts: aligned.constants.length,
  });
}

/* ---- scan ---- */

export interface ScanOptions {
  /** Number of steps; needed when there are no inputs to tell it. */
  readonly length?: number;
  /** From the last slice to the first; the outputs stay in the order of the inputs. */
  readonly reverse?: boolean;
}
export interface ScanResult {
  /** The state after the last step. */
  readonly carry: Tensor[];
  /** For each output of the body, the steps stacked along a new axis 0. */
  readonly outputs: Tensor[];
}
export type ScanBody = (carry: Tensor[], x: Tensor[]) => readonly [carry: readonly Tensor[], outputs: readonly Tensor[]];

/**
 * `[carry, y] = body(carry, x[t])` for each t along axis 0 of the inputs `xs`. Differentiable with respect to everything;
 * backward recomputes each step from the carry it started with.
 * @throws ShapeError when the carry changes its type or the inputs differ in length.
 */
export function scan(
  step: ScanBody,
  init: readonly Tensor[],
  xs: readonly Tensor[],
  { length, reverse = false }: ScanOptions = {},
): ScanResult {
  const steps = length ?? xs[0]?.shape[0];
  if (steps === undefined || xs.some((x) => x.shape[0] !== steps)) {
    throw new ShapeError(`inputs of shapes ${xs.map((x) => formatShape(x.shape)).join(', ')}`, {
      op: 'scan',
      received: xs.map((x) => x.shape),
      expected: 'one length along axis 0, or { length }',
    });
  }
  if (currentTrace() === null) return scanNow(step, init, xs, steps, reverse);
  const body = bindAutocast(step);
  const before = tapePosition();
  const probe = traceScan(body, init, xs);
  const free = isGradEnabled() ? freeTensors([probe.body], before) : [];
  if (!wantsGrad([...init, ...xs], free)) return recordScan(probe, init, xs, steps, reverse);
  return scanWithGrad(body, init, xs, steps, reverse, free);
}

/** Outside a trace: a plain loop. */
function scanNow(body: ScanBody, init: readonly Tensor[], xs: readonly Tensor[], steps: number, reverse: boolean): ScanResult {
  let carry: readonly Tensor[] = init;
  const rows: (readonly Tensor[])[] = [];
  const types = init.map(typeOf);
  for (let i = 0; i < steps; i++) {
    const t = reverse ? steps - 1 - i : i;
    const [next, out] = body(
      [...carry],
      xs.map((x) => select(x, 0, t)),
    );
    checkTypes('scan', next, types, 'the body carries');
    carry = next;
    rows.push(out);
  }
  if (reverse) rows.reverse();
  if (rows.length > 0)
    return {
      carry: [...carry],
      outputs: rows[0].map((_, k) =>
        stack(
          rows.map((row) => row[k]),
          0,
        ),
      ),
    };
  const shapes = jitShapes(body, init, xs);
  return { carry: [...carry], outputs: shapes.map((t) => zeros([0, ...t.shape], { dtype: t.dtype })) };
}

/** Types of the outputs of a body that never runs. */
function jitShapes(body: ScanBody, init: readonly Tensor[], xs: readonly Tensor[]): TensorType[] {
  return noGrad(() => traceScan(body, init, xs)).outputs;
}

interface TracedScan {
  readonly body: Body;
  readonly carries: number;
  readonly outputs: TensorType[];
}

function traceScan(body: ScanBody, init: readonly Tensor[], xs: readonly Tensor[]): TracedScan {
  const slices = xs.map((x) => ({ dtype: x.dtype, shape: x.shape.slice(1) }));
  const requires = [...init, ...xs].map((t) => t.requiresGrad);
  const traced = traceBody(
    'scan',
    (args) => {
      const [carry, out] = body(args.slice(0, init.length), args.slice(init.length));
      checkTypes('scan', carry, init.map(typeOf), 'the body carries');
      return [...carry, ...out];
    },
    [...init.map(typeOf), ...slices],
    requires,
  );
  return { body: traced, carries: init.length, outputs: traced.results.slice(init.length).map(typeOf) };
}

function recordScan(
  { body, carries, outputs }: TracedScan,
  init: readonly Tensor[],
  xs: readonly Tensor[],
  length: number,
  reverse: boolean,
): ScanResult {
  const aligned = align([body], (constants, state, args) => [...constants, ...state, ...args]);
  const types = [...init.map(typeOf), ...outputs.map((t) => ({ dtype: t.dtype, shape: [length, ...t.shape] }))];
  const attrs = { length, reverse, consts: aligned.constants.length, carries: aligned.state.length + carries };
  const results = recordControl(
    'scan',
    aligned,
    (constants, state, args) => [...constants, ...state, ...args],
    [...init, ...xs],
    types,
    attrs,
  );
  return { carry: results.slice(0, carries), outputs: results.slice(carries) };
}

function scanWithGrad(
  body: ScanBody,
  init: readonly Tensor[],
  xs: readonly Tensor[],
  length: number,
  reverse: boolean,
  free: readonly Tensor[],
): ScanResult {
  const n = init.length;
  const floats = init.map((t) => isFloat(t.dtype));
  const fn = customFunction<Tensor[], readonly Tensor[]>({
    name: 'scan',
    forward(ctx) {
      // Each step also gives the carry it started with, for backward.
      const saving: ScanBody = (carry, x) => {
        const [next, out] = body(carry, x);
        return [next, [...carry, ...out]];
      };
      const { carry, outputs } = recordScan(traceScan(saving, init, xs), init, xs, length, reverse);
      ctx.saveForBackward(...outputs.slice(0, n), ...xs);
      return [...carry, ...outputs.slice(n)];
    },
    backward(ctx, ...grads) {
      const saved = ctx.savedTensors;
      const carries = saved.slice(0, n);
      const inputs = saved.slice(n);
      const outTypes = noGrad(() => traceScan(body, init, xs)).outputs;
      const gCarry = init.map((t, i) => grads[i] ?? zeros(t.shape, { dtype: t.dtype }));
      const gOut = outTypes.map((t, i) => grads[n + i] ?? zeros([length, ...t.shape], { dtype: t.dtype }));
      const sums = free.map((t) => zeros(t.shape, { dtype: t.dtype }));
      const back: ScanBody = (state, row) => {
        const own = leaves([...row.slice(0, n), ...row.slice(n, n + inputs.length)]);
        const [next, out] = enableGrad(() => body(own.slice(0, n), own.slice(n)));
        const weights = [...state.slice(0, n), ...row.slice(n + inputs.length)];
        const g = gradients([...next, ...out], weights, [...own, ...free]);
        return [[...g.slice(0, n), ...free.map((_, i) => add(state[n + i], g[own.length + i]))], g.slice(n, own.length)];
      };
      const result = scan(back, [...gCarry, ...sums], [...carries, ...inputs, ...gOut], { length, reverse: !reverse });
      const toInit = result.carry.slice(0, n).map((g, i) => (floats[i] ? g : null));
      const toXs = result.outputs.map((g, i) => (isFloat(xs[i].dtype) ? g : null));
      return [...toInit, ...toXs, ...result.carry.slice(n)];
    },
  });
  const results = fn(...init, ...xs, ...free);
  return { carry: results.slice(0, n), outputs: results.slice(n) };
}
