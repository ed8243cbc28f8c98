/** Shapes of a graph that does not run. */
import { memoryInfo } from 'trireme';
import { describe, expect, it } from 'vitest';
import { inferShapes } from '../../src/engine/infer.js';
import { encodeTensor } from '../../src/engine/transfer.js';
import type { Dimension, ModelModel, NodeModel, ValueInfo } from '../../src/model/model.js';

const node = (opType: string, inputs: readonly string[], outputs: readonly string[]): NodeModel => ({
  name: `make_${outputs[0]}`,
  opType,
  domain: '',
  overload: '',
  inputs,
  outputs,
  attributes: new Map(),
});
const port = (name: string, shape: readonly Dimension[] | null): ValueInfo => ({
  name,
  type: { kind: 'tensor', element: 'float32', shape },
});

function model(nodes: readonly NodeModel[], inputs: readonly ValueInfo[], outputs: readonly string[]): ModelModel {
  return {
    irVersion: 9,
    producerName: '',
    producerVersion: '',
    domain: '',
    modelVersion: 0n,
    docString: '',
    opsetImports: new Map([['', 17]]),
    functions: [],
    trainingInfo: [],
    metadata: new Map(),
    graph: {
      name: 'g',
      nodes,
      inputs,
      outputs: outputs.map((name) => port(name, null)),
      valueInfo: [],
      sparseInitializers: [],
      initializers: [
        encodeTensor(new Float32Array(64 * 32), 'float32', [64, 32], 'weight'),
        encodeTensor(BigInt64Array.of(0n, 32n), 'int64', [2], 'target'),
      ],
    },
  };
}

describe('inferShapes', () => {
  it('follows shapes through the graph for chosen extents, and tells constants from data', () => {
    const nodes = [
      node('MatMul', ['x', 'weight'], ['y']),
      node('Reshape', ['y', 'target'], ['z']),
      node('Transpose', ['weight'], ['turned']),
      node('Shape', ['x'], ['extents']),
      node('MatMul', ['z', 'turned'], ['out']),
    ];
    const { values, dependent, problems } = inferShapes(model(nodes, [port('x', ['batch', 'steps', 64])], ['out']), (dim) =>
      dim === 'batch' ? 3 : 5,
    );
    const shapes = Object.fromEntries([...values].map(([name, { shape, isConstant }]) => [name, [shape, isConstant]]));
    expect(shapes).toMatchObject({
      x: [[3, 5, 64], false],
      y: [[3, 5, 32], false],
      turned: [[32, 64], true],
      extents: [[3], true],
    });
    // 0 copies the first extent: 3 * 5 * 32 elements are not 3 * 32.
    expect(problems.join()).toMatch(/make_z.*Reshape.*does not fit/);
    expect([dependent, values.has('z'), values.has('out')]).toEqual([[], false, false]);
  });

  it('stops where shapes depend on data, and goes on beside it', () => {
    const nodes = [node('NonZero', ['x'], ['places']), node('Relu', ['x'], ['y']), node('Cast', ['places'], ['after'])];
    const cast = { ...nodes[2], attributes: new Map([['to', { kind: 'int', value: 1n } as const]]) };
    const { values, dependent } = inferShapes(model([nodes[0], nodes[1], cast], [port('x', [2, null])], ['y', 'after']));
    expect(dependent).toEqual(["node 'make_places' (NonZero)"]);
    expect(values.get('y')).toEqual({ type: 'float32', shape: [2, 1], isConstant: false });
    expect([values.has('places'), values.has('after')]).toEqual([false, false]);
  });

  it('leaves no memory behind', () => {
    const before = memoryInfo().bytes;
    inferShapes(model([node('MatMul', ['x', 'weight'], ['y'])], [port('x', [1000, 1000, 64])], ['y']));
    expect(memoryInfo().bytes).toBe(before);
  });
});
