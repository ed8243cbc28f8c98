/** If, Loop and Scan. Subgraphs see the values around them; what they compute has gradients as everything else. */
import { concat, select, type Tensor, unsqueeze } from 'trireme';
import { DataDependentError } from '../engine/errors.js';
import { isStrings, sizeOf } from '../engine/transfer.js';
import { asTensor, TensorValue, type Value } from '../engine/value.js';
import type { EngineContext } from '../engine/walk.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';

/** Nodes that an unrolled loop may have in a recorded program; a longer one runs between programs. */
const mostUnrolled = 4096;

function truth(value: Value | null, ctx: OpContext, what: string): boolean {
  const tensor = asTensor(value, what);
  if (sizeOf(tensor.shape) !== 1) ctx.fail(`${what} has shape [${tensor.shape.join(', ')}]`, 'one boolean');
  return Number(tensor.host[0]) !== 0;
}

function checkUnrolled(ctx: EngineContext, attribute: string, trips: number): void {
  const nodes = ctx.plan.subgraphs.get(ctx.attrs.graph(attribute))?.nodes.length ?? 0;
  if (ctx.recording && trips * nodes > mostUnrolled) {
    throw new DataDependentError(`${trips} trips of ${nodes} nodes are too many to unroll`, { op: 'onnx' });
  }
}

/** After a trip: what the one before left is given back, unless it lives on in what this one made. */
function replace({ walk }: EngineContext, before: readonly (Value | null)[], made: readonly Value[]): void {
  for (const value of made) walk.ledger.retain(value);
  for (const value of before) walk.ledger.release(value);
}

/** After the last trip: what is returned belongs to whoever called, the rest to the scope around the operator. */
function handOver({ walk }: EngineContext, values: readonly (Value | null)[]): void {
  for (const value of values) walk.ledger.release(value, false);
}

/** Stacks equal values along a new axis. */
function stacked(values: readonly TensorValue[], axis: number): TensorValue {
  const [first] = values;
  if (first.isKnown && values.every((v) => v.isKnown && !isStrings(v.host)) && axis === 0) {
    const parts = values.map((v) => v.host as Float32Array);
    const size = sizeOf(first.shape);
    const out = new (parts[0].constructor as Float32ArrayConstructor)(size * parts.length);
    parts.forEach((part, i) => out.set(part, i * size));
    return TensorValue.ofHost(out, first.type, [values.length, ...first.shape]);
  }
  if (first.type === 'string')
    return TensorValue.ofHost(
      values.flatMap((v) => v.host as string[]),
      'string',
      [values.length, ...first.shape],
    );
  return TensorValue.ofTensor(
    concat(
      values.map((v) => unsqueeze(v.tensor, axis)),
      axis,
    ),
    first.type,
  );
}

/** What a loop of no trips leaves: nothing, of the type that the body declares. */
function nothing(ctx: OpContext, attribute: string, output: number): TensorValue {
  const type = ctx.attrs.graph(attribute).outputs[output].type;
  if (type?.kind !== 'tensor' || type.element === undefined)
    return ctx.fail('makes no trip, and the body does not declare the types of its outputs');
  const shape = [0, ...(type.shape ?? []).map((extent) => (typeof extent === 'number' ? extent : 0))];
  return TensorValue.ofHost(type.element === 'string' ? [] : emptyOf(type.element), type.element, shape);
}
function emptyOf(type: TensorValue['type']): Float32Array | BigInt64Array | Uint8Array {
  return type === 'int64' ? new BigInt64Array(0) : type === 'bool' || type === 'uint8' ? new Uint8Array(0) : new Float32Array(0);
}

const If: OpFunction = ([condition], ctx) =>
  ctx.run(ctx.attrs.graph(truth(condition, ctx, 'the condition') ? 'then_branch' : 'else_branch'), []);

const Loop: OpFunction = ([trips, condition, ...initial], plain) => {
  const ctx = plain as EngineContext;
  const body = ctx.attrs.graph('body');
  const limit = trips === null || trips === undefined ? Number.POSITIVE_INFINITY : Number(asTensor(trips, 'the trip count').host[0]);
  const start = condition === null || condition === undefined ? true : truth(condition, ctx, 'the condition');
  if (Number.isFinite(limit)) checkUnrolled(ctx, 'body', limit);
  let carried: readonly (Value | null)[] = initial;
  let going: TensorValue = TensorValue.ofHost(Uint8Array.of(start ? 1 : 0), 'bool', []);
  const scans: TensorValue[][] = Array.from({ length: Math.max(0, body.outputs.length - 1 - initial.length) }, () => []);
  for (let i = 0; i < limit && truth(going, ctx, 'the condition of the body'); i++) {
    checkUnrolled(ctx, 'body', i + 1);
    const outputs = ctx.run(body, [TensorValue.ofHost(BigInt64Array.of(BigInt(i)), 'int64', []), going, ...carried] as Value[]);
    replace(ctx, i === 0 ? [] : [going, ...carried], outputs);
    going = asTensor(outputs[0], 'the condition of the body');
    carried = outputs.slice(1, 1 + initial.length);
    scans.forEach((scan, k) => scan.push(asTensor(outputs[1 + initial.length + k], 'a scan output')));
  }
  if (carried !== initial) handOver(ctx, [going, ...carried, ...scans.flat()]);
  return [...carried, ...scans.map((scan, k) => (scan.length === 0 ? nothing(ctx, 'body', 1 + initial.length + k) : stacked(scan, 0)))];
};

/** Element i of a value along an axis. */
function elementAt(value: TensorValue, axis: number, i: number): TensorValue {
  return TensorValue.ofTensor(select(value.tensor, axis, i), value.type);
}

const Scan: OpFunction = (inputs, plain) => {
  const ctx = plain as EngineContext;
  const body = ctx.attrs.graph('body');
  const scanned = ctx.attrs.int('num_scan_inputs');
  const states = inputs.length - scanned;
  const outputs = body.outputs.length - states;
  const list = (name: string, n: number): readonly number[] => ctx.attrs.ints(name, Array(n).fill(0));
  const inputAxes = list('scan_input_axes', scanned);
  const outputAxes = list('scan_output_axes', outputs);
  const backwardIn = list('scan_input_directions', scanned);
  const backwardOut = list('scan_output_directions', outputs);
  const scans = inputs.slice(states).map((v) => asTensor(v, 'a scan input'));
  const axes = inputAxes.map((axis, k) => (axis < 0 ? axis + scans[k].shape.length : axis));
  const trips = scans[0].shape[axes[0]];
  scans.forEach((scan, k) => {
    if (scan.shape[axes[k]] !== trips) ctx.fail(`scan input ${k} has ${scan.shape[axes[k]]} elements along its axis`, `${trips}`);
  });
  checkUnrolled(ctx, 'body', trips);
  let carried: readonly (Value | null)[] = inputs.slice(0, states);
  const made: TensorValue[][] = Array.from({ length: outputs }, () => []);
  for (let i = 0; i < trips; i++) {
    const elements = scans.map((scan, k) => elementAt(scan, axes[k], backwardIn[k] === 0 ? i : trips - 1 - i));
    const results = ctx.run(body, [...carried, ...elements] as Value[]);
    replace(ctx, i === 0 ? [] : carried, results);
    carried = results.slice(0, states);
    made.forEach((list_, k) => list_.push(asTensor(results[states + k], 'a scan output')));
  }
  if (trips > 0) handOver(ctx, [...carried, ...made.flat()]);
  return [
    ...carried,
    ...made.map((values, k) => {
      if (values.length === 0) return nothing(ctx, 'body', states + k);
      const rank = values[0].shape.length + 1;
      const axis = outputAxes[k] < 0 ? outputAxes[k] + rank : outputAxes[k];
      return stacked(backwardOut[k] === 0 ? values : [...values].reverse(), axis);
    }),
  ];
};

/** Version 8 scanned axis 1 of batches, each of its own length. */
const scanOfBatches: OpFunction = (inputs, ctx) => {
  const [lengths, ...values] = inputs;
  const scanned = ctx.attrs.int('num_scan_inputs');
  const states = values.length - scanned;
  const directions = ctx.attrs.ints('directions', Array(scanned).fill(0));
  const body = ctx.attrs.graph('body');
  const tensors = values.map((v) => asTensor(v, 'an input'));
  const [batch, longest] = tensors[states].shape;
  const counts =
    lengths === null ? Array<number>(batch).fill(longest) : Array.from(asTensor(lengths, 'sequence_lens').host as BigInt64Array, Number);
  const rows = counts.map((count, b) => {
    let carried: readonly Value[] = tensors.slice(0, states).map((t) => elementAt(t, 0, b));
    const made: Tensor[][] = Array.from({ length: body.outputs.length - states }, () => []);
    const types: TensorValue['type'][] = [];
    for (let i = 0; i < count; i++) {
      const elements = tensors.slice(states).map((t, k) => elementAt(elementAt(t, 0, b), 0, directions[k] === 0 ? i : count - 1 - i));
      const results = ctx.run(body, [...carried, ...elements]);
      carried = results.slice(0, states);
      made.forEach((list, k) => {
        const value = asTensor(results[states + k], 'a scan output');
        types[k] = value.type;
        list.push(value.tensor);
      });
    }
    return { carried, made, types };
  });
  const final = Array.from({ length: states }, (_, k) =>
    stacked(
      rows.map((row) => asTensor(row.carried[k], 'a state')),
      0,
    ),
  );
  const scans = rows[0].made.map((_, k) =>
    stacked(
      rows.map((row) =>
        TensorValue.ofTensor(
          concat(
            row.made[k].map((t) => unsqueeze(t, 0)),
            0,
          ),
          row.types[k],
        ),
      ),
      0,
    ),
  );
  return [...final, ...scans];
};

export const controlOps = { If, Loop, Scan, 'Scan@8': scanOfBatches } satisfies OpTable;
