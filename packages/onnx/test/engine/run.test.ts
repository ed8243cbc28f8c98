import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DTypeError, FormatError, memoryInfo, ShapeError, type Tensor, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { UnsupportedOperatorError } from '../../src/engine/errors.js';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { encodeTensor } from '../../src/engine/transfer.js';
import { TensorValue } from '../../src/engine/value.js';
import { encodeModel } from '../../src/model/encode.js';
import type { GraphModel, ModelModel } from '../../src/model/model.js';
import { floats, graph, info, ints, model, node, stored } from '../support.js';

const numbers = (value: TensorValue): number[] => Array.from(value.host as Float32Array, Number);

/** Runs a model in all three ways, which must agree, and returns an output. */
async function outputOf(
  source: ModelModel,
  inputs: () => Record<string, Tensor>,
  name = 'y',
): Promise<{ data: number[]; shape: readonly number[] }> {
  using loaded = new OnnxModel(source);
  const given = inputs();
  using compiled = await loaded.run(given);
  using again = loaded.runSync(given);
  using eager = loaded.runEagerly(given);
  const data = numbers(compiled.value(name));
  expect(numbers(again.value(name))).toEqual(data);
  expect(numbers(eager.value(name))).toEqual(data);
  for (const t of Object.values(given)) t.dispose();
  return { data, shape: compiled.value(name).shape };
}

const mlp = (): ModelModel =>
  model(
    graph(
      [node('MatMul', 'x w', 'h'), node('Add', 'h b', 's'), node('Relu', 's', 'y')],
      [info('x', ['batch', 2])],
      ['y'],
      [floats('w', [2, 3], [1, 2, 3, 4, 5, 6]), floats('b', [3], [0, -10, 1])],
    ),
  );

describe('running a model', () => {
  it('gives the numbers the graph says', async () => {
    const { data, shape } = await outputOf(mlp(), () => ({ x: tensor([[1, 1]]) }));
    expect(data).toEqual([5, 0, 10]);
    expect(shape).toEqual([1, 3]);
  });
  it('compiles one program for each shape and keeps the latest ones', async () => {
    using loaded = new OnnxModel(mlp(), { maxPrograms: 2 });
    for (const batch of [1, 2, 1, 2]) {
      using x = tensor(new Float32Array(2 * batch), { shape: [batch, 2] });
      using outputs = await loaded.run({ x });
      expect(outputs.tensor('y').shape).toEqual([batch, 3]);
    }
    expect(loaded.programs).toBe(2);
    using x = tensor(new Float32Array(6), { shape: [3, 2] });
    loaded.runSync({ x }).dispose();
    expect(loaded.programs).toBe(2);
  });
  it('keeps weights of branches, which an input chooses, and shares those of Constant nodes among programs', async () => {
    const numbers = Array.from({ length: 2000 }, (_, i) => i % 7);
    const branch = (name: string, op: string): GraphModel =>
      graph([node('Constant', '', `${name}.w`, { value: floats('', [2000], numbers) }), node(op, `x ${name}.w`, name)], [], [name]);
    const chosen = model(
      graph(
        [
          node('Constant', '', 'w', { value: floats('', [2000], numbers) }),
          node('If', 'c', 'h', { then_branch: branch('a', 'Add'), else_branch: branch('b', 'Sub') }),
          node('Mul', 'h w', 'y'),
        ],
        [info('x', ['n', 2000]), info('c', [], 'bool')],
        ['y'],
      ),
    );
    using loaded = new OnnxModel(chosen);
    let most = 0;
    for (const [rows, condition] of [
      [1, true],
      [1, true],
      [1, false],
      [2, true],
      [3, false],
      [3, true],
    ] as const) {
      using x = tensor(new Float32Array(rows * 2000).fill(10), { shape: [rows, 2000] });
      using c = tensor(condition);
      using outputs = await loaded.run({ x, c });
      const row = numbers.map((v) => (condition ? 10 + v : 10 - v) * v);
      expect(Array.from(outputs.data('y') as Float32Array)).toEqual(Array.from({ length: rows }, () => row).flat());
      if (rows === 1) most = memoryInfo().bytes;
    }
    // Further programs need no weights of their own, of 8 kB each.
    expect(memoryInfo().bytes - most).toBeLessThan(8000);
  });
  it('normalizes by known statistics in programs of several shapes', async () => {
    const statistics = ['scale', 'shift', 'mean', 'variance'];
    const normalizing = model(
      graph(
        [
          ...statistics.map((name, k) => node('Constant', '', name, { value: floats('', [2], [k + 1, k + 2]) })),
          node('BatchNormalization', `x ${statistics.join(' ')}`, 'y'),
        ],
        [info('x', ['n', 2])],
        ['y'],
      ),
    );
    using loaded = new OnnxModel(normalizing);
    for (const rows of [1, 2, 1, 3]) {
      using x = tensor(new Float32Array(2 * rows).fill(7), { shape: [rows, 2] });
      using compiled = await loaded.run({ x });
      using eager = loaded.runEagerly({ x });
      for (const outputs of [compiled, eager]) {
        const y = outputs.data('y') as Float32Array;
        expect(y[0]).toBeCloseTo(((7 - 3) / Math.sqrt(4 + 1e-5)) * 1 + 2, 5);
        expect(y[2 * rows - 1]).toBeCloseTo(((7 - 4) / Math.sqrt(5 + 1e-5)) * 2 + 3, 5);
      }
    }
  });
  it('describes inputs, outputs and origin', () => {
    using loaded = OnnxModel.fromBytes(encodeModel(mlp()));
    expect(loaded.inputs).toEqual([{ name: 'x', kind: 'tensor', type: 'float32', shape: ['batch', 2], optional: false }]);
    expect(loaded.outputs.map((output) => output.name)).toEqual(['y']);
    expect(loaded.metadata.producerName).toBe('test');
    expect(loaded.metadata.properties.get('author')).toBe('somebody');
    expect(loaded.metadata.opsets.get('')).toBe(21);
  });
  it('refuses inputs that do not fit', () => {
    using loaded = new OnnxModel(mlp());
    using wrong = tensor([[1, 2, 3]]);
    using whole = tensor([[1, 2]], { dtype: 'int32' });
    expect(() => loaded.runSync({})).toThrow(/'x' is missing/);
    expect(() => loaded.runSync({ x: wrong })).toThrow(ShapeError);
    expect(() => loaded.runSync({ x: whole })).toThrow(DTypeError);
    expect(() => loaded.runSync({ x: wrong, z: wrong })).toThrow(/no input 'z'/);
  });
  it('takes and gives types without a dtype', async () => {
    using loaded = new OnnxModel(model(graph([node('Add', 'a b', 'c')], [info('a', [2], 'uint16'), info('b', [2], 'uint16')], ['c'])));
    const value = (...x: number[]): TensorValue => TensorValue.ofHost(Uint16Array.from(x), 'uint16', [2]);
    using outputs = await loaded.run({ a: value(65535, 1), b: value(2, 3) });
    expect(outputs.value('c').type).toBe('uint16');
    expect(outputs.data('c')).toEqual(Uint16Array.of(1, 4));
  });
  it('lets a caller replace the initializers that old models list as inputs', () => {
    using loaded = new OnnxModel(model(graph([node('Mul', 'x k', 'y')], [info('x', [1]), info('k', [1])], ['y'], [floats('k', [1], [3])])));
    using x = tensor([2]);
    using k = tensor([10]);
    using first = loaded.runSync({ x });
    using second = loaded.runSync({ x, k });
    using eager = loaded.runEagerly({ x, k });
    expect([first, second, eager].map((outputs) => outputs.tensor('y').item())).toEqual([6, 20, 20]);
  });
  it('hands over tensors of its own, also where the graph passes an input or a weight through', () => {
    using loaded = new OnnxModel(
      model(
        graph(
          [node('Identity', 'x', 'y'), node('Identity', 'w', 'z')],
          [info('x', [2])],
          ['y', 'z'],
          [floats('w', [2000], Array<number>(2000).fill(1))],
        ),
      ),
    );
    using x = tensor([1, 2]);
    for (const run of [() => loaded.runSync({ x }), () => loaded.runEagerly({ x })]) {
      run().dispose();
      using outputs = run();
      expect(outputs.tensor('y').toArray()).toEqual([1, 2]);
      expect(outputs.tensor('z').numel).toBe(2000);
    }
  });
  it('sorts the nodes of a graph that is out of order', async () => {
    const source = model(graph([node('Relu', 'h', 'y'), node('Neg', 'x', 'h')], [info('x', [2])], ['y']));
    expect((await outputOf(source, () => ({ x: tensor([-1, 2]) }))).data).toEqual([1, 0]);
  });
  it('stops between programs when asked to', async () => {
    using loaded = new OnnxModel(mlp());
    using x = tensor([[1, 1]]);
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    await expect(loaded.run({ x }, { signal: controller.signal })).rejects.toThrow('enough');
  });
  it('runs many times in as much memory as once', async () => {
    using loaded = new OnnxModel(mlp());
    using x = tensor([[1, 1]]);
    const once = async (): Promise<void> => {
      (await loaded.run({ x })).dispose();
      loaded.runSync({ x }).dispose();
    };
    await once();
    const before = memoryInfo().storages;
    for (let i = 0; i < 20; i++) await once();
    // Fewer when the collector comes by and finds what other tests left.
    expect(memoryInfo().storages).toBeLessThanOrEqual(before);
  });
  it('is a program of its own for given shapes', () => {
    using loaded = new OnnxModel(mlp());
    const { program, dispose } = loaded.toProgram({ x: [4, 2] });
    expect(program.program.outputs[0].layout.shape).toEqual([4, 3]);
    dispose();
  });
});

describe('nodes that depend on data', () => {
  const reshaped = (): ModelModel =>
    model(
      graph(
        [node('Abs', 'x', 'a'), node('Reshape', 'a shape', 'r'), node('Exp', 'r', 'e'), node('Neg', 'x', 'n'), node('Add', 'e one', 'y')],
        [info('x', [4]), info('shape', [2], 'int64')],
        ['y', 'n'],
        [floats('one', [], [1])],
      ),
    );
  it('run between programs, and the model remembers them', async () => {
    using loaded = new OnnxModel(reshaped());
    using x = tensor([0, 0, 0, 0]);
    for (const shape of [
      [2, 2],
      [1, 4],
      [4, 1],
    ]) {
      using given = tensor(shape, { dtype: 'int64' });
      using outputs = await loaded.run({ x, shape: given });
      expect(outputs.value('y').shape).toEqual(shape);
      expect(numbers(outputs.value('y'))).toEqual([2, 2, 2, 2]);
    }
    expect(loaded.barriers).toEqual(["node 'r' (Reshape)"]);
  });
  it('leave everything that does not need them in one program', async () => {
    using loaded = new OnnxModel(reshaped());
    using x = tensor([0, 0, 0, 0]);
    using shape = tensor([2, 2], { dtype: 'int64' });
    (await loaded.run({ x, shape })).dispose();
    // Abs and Neg before, Exp and Add after.
    expect(loaded.programs).toBe(2);
  });
  it('keep what shapes alone say in the program', () => {
    using loaded = new OnnxModel(
      model(
        graph(
          [
            node('Shape', 'x', 's'),
            node('Gather', 's zero', 'n'),
            node('Unsqueeze', 'n axes', 'u'),
            node('Concat', 'u minus', 'target', { axis: 0 }),
            node('Reshape', 'x target', 'y'),
          ],
          [info('x', [null, null, null])],
          ['y'],
          [stored('zero', 'int64', [], BigInt64Array.of(0n)), ints('axes', [0]), ints('minus', [-1])],
        ),
      ),
    );
    for (const shape of [
      [2, 3, 4],
      [5, 1, 2],
    ]) {
      using x = tensor(new Float32Array(shape.reduce((a, b) => a * b)), { shape });
      using outputs = loaded.runSync({ x });
      expect(outputs.value('y').shape).toEqual([shape[0], shape[1] * shape[2]]);
    }
    expect(loaded.barriers).toEqual([]);
  });
  it('may make outputs of any size', async () => {
    using loaded = new OnnxModel(
      model(
        graph(
          [node('NonZero', 'x', 'i'), node('Cast', 'i', 'f', { to: 1 }), node('Mul', 'f two', 'y')],
          [info('x', [null])],
          ['y'],
          [floats('two', [], [2])],
        ),
      ),
    );
    for (const [data, expected] of [
      [
        [0, 1, 0, 3],
        [2, 6],
      ],
      [
        [5, 1, 1, 3],
        [0, 2, 4, 6],
      ],
      [[0, 0, 0, 0], []],
    ]) {
      using x = tensor(data);
      using outputs = await loaded.run({ x });
      expect(numbers(outputs.value('y'))).toEqual(expected);
    }
  });
  it('handle strings', async () => {
    using loaded = new OnnxModel(
      model(graph([node('StringConcat', 'a b', 'y')], [info('a', [2], 'string'), info('b', [2], 'string')], ['y'])),
    );
    for (const end of ['!', '?']) {
      const outputs = await loaded.run({
        a: TensorValue.ofHost(['x', 'y'], 'string', [2]),
        b: TensorValue.ofHost([end, end], 'string', [2]),
      });
      expect(outputs.data('y')).toEqual([`x${end}`, `y${end}`]);
    }
  });
});

describe('control flow', () => {
  const branch = (op: string): GraphModel => graph([node(op, 'x', 'b')], [], ['b']);
  const choice = (): ModelModel =>
    model(
      graph(
        [node('If', 'c', 'y', { then_branch: branch('Neg'), else_branch: branch('Exp') })],
        [info('x', [1]), info('c', [], 'bool')],
        ['y'],
      ),
    );
  it('chooses a branch by a value, and sees the values around', async () => {
    for (const [c, expected] of [
      [true, [-0]],
      [false, [1]],
    ] as const) {
      const { data } = await outputOf(choice(), () => ({ x: tensor([0]), c: tensor(c) }));
      expect(data).toEqual(expected);
    }
  });
  const powers = (condition: string): ModelModel =>
    model(
      graph(
        [
          node('Loop', 'n c x', 'last all', {
            body: graph(
              [node('Mul', 'v two', 'w'), node('Less', 'w limit', 'small'), node('Identity', 'w', 'scan'), node('Identity', 'go', 'same')],
              [info('i', [], 'int64'), info('go', [], 'bool'), info('v', [1])],
              [condition, 'w', 'scan'],
            ),
          }),
        ],
        [info('x', [1]), info('n', [], 'int64'), info('c', [], 'bool')],
        ['last', 'all'],
        [floats('two', [], [2]), floats('limit', [], [10])],
      ),
    );
  it('loops as often as the count says', async () => {
    const { data, shape } = await outputOf(
      powers('same'),
      () => ({ x: tensor([1]), n: tensor(5, { dtype: 'int64' }), c: tensor(true) }),
      'all',
    );
    expect(data).toEqual([2, 4, 8, 16, 32]);
    expect(shape).toEqual([5, 1]);
  });
  it('loops until the condition of the body fails', async () => {
    const { data } = await outputOf(powers('small'), () => ({ x: tensor([1]), n: tensor(50, { dtype: 'int64' }), c: tensor(true) }), 'all');
    expect(data).toEqual([2, 4, 8, 16]);
  });
  it('loops no time at all', () => {
    using loaded = new OnnxModel(powers('same'));
    using x = tensor([7]);
    using n = tensor(3, { dtype: 'int64' });
    using c = tensor(false);
    expect(() => loaded.runSync({ x, n, c })).toThrow(/does not declare/);
  });
  const summed = (directions: readonly number[]): ModelModel =>
    model(
      graph(
        [
          node('Scan', 'start xs', 'last sums', {
            body: graph(
              [node('Add', 'state e', 'next'), node('Identity', 'next', 'out')],
              [info('state', [2]), info('e', [2])],
              ['next', 'out'],
            ),
            num_scan_inputs: 1,
            scan_input_directions: directions,
          }),
        ],
        [info('start', [2]), info('xs', [null, 2])],
        ['last', 'sums'],
      ),
    );
  it('scans forwards and backwards', async () => {
    const inputs = () => ({
      start: tensor([0, 0]),
      xs: tensor([
        [1, 10],
        [2, 20],
        [3, 30],
      ]),
    });
    expect((await outputOf(summed([0]), inputs, 'sums')).data).toEqual([1, 10, 3, 30, 6, 60]);
    expect((await outputOf(summed([1]), inputs, 'sums')).data).toEqual([3, 30, 5, 50, 6, 60]);
  });
});

describe('functions of a model', () => {
  it('run with the attributes of the call, and defaults', async () => {
    const scaled = {
      name: 'Scaled',
      domain: 'local',
      overload: '',
      inputs: ['a'],
      outputs: ['b'],
      attributes: ['by'],
      attributeDefaults: new Map([['plus', { kind: 'float', value: 1 } as const]]),
      nodes: [
        node('Constant', '', 'k', { value_float: { kind: 'reference', value: 'by', code: 1 } }),
        node('Constant', '', 'p', { value_float: { kind: 'reference', value: 'plus', code: 1 } }),
        node('Mul', 'a k', 'm'),
        node('Add', 'm p', 'b'),
      ],
      opsetImports: new Map([['', 21]]),
    };
    const call = (name: string, inputs: string, outputs: string, by: number) =>
      node(name, inputs, outputs, { by: { kind: 'float', value: by } }, { domain: 'local' });
    const source = model(graph([call('Scaled', 'x', 'h', 2), call('Scaled', 'h', 'y', 10)], [info('x', [2])], ['y']), {
      functions: [scaled],
    });
    expect((await outputOf(source, () => ({ x: tensor([1, 2]) }))).data).toEqual([31, 51]);
    const endless = { ...scaled, nodes: [call('Scaled', 'a', 'b', 1)] };
    expect(() => new OnnxModel({ ...source, functions: [endless] })).toThrow(/calls itself/);
  });
});

describe('checks before anything runs', () => {
  const bad = (g: GraphModel) => () => new OnnxModel(model(g));
  it('reports all operators that are missing at once, also those in subgraphs', () => {
    const source = model(
      graph(
        [
          node('Frobnicate', 'x', 'a', {}, { name: 'first' }),
          node('Frobnicate', 'a', 'b', {}, { name: 'second' }),
          node('If', 'c', 'y', {
            then_branch: graph([node('Whirl', 'b', 'd', {}, { domain: 'far' })], [], ['d']),
            else_branch: graph([], [], ['b']),
          }),
        ],
        [info('x'), info('c', [], 'bool')],
        ['y'],
      ),
    );
    try {
      new OnnxModel(source);
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof UnsupportedOperatorError)) throw error;
      expect(error.operators.map((o) => [o.domain, o.opType, o.nodes])).toEqual([
        ['', 'Frobnicate', ['first', 'second']],
        ['far', 'Whirl', ['d']],
      ]);
      expect(error.message).toContain('Frobnicate (version 21) in first, second');
    }
  });
  it('takes custom operators', () => {
    using loaded = new OnnxModel(model(graph([node('Frobnicate', 'x', 'y', {}, { domain: 'far' })], [info('x', [1])], ['y'])), {
      customOps: { far: { Frobnicate: ([x]) => TensorValue.ofTensor((x as TensorValue).tensor.add(1), 'float32') } },
    });
    using x = tensor([1]);
    using outputs = loaded.runSync({ x });
    expect(outputs.tensor('y').item()).toBe(2);
  });
  it('refuses cycles, names without a maker and names with two', () => {
    expect(bad(graph([node('Relu', 'b', 'a'), node('Neg', 'a', 'b')], [], ['a']))).toThrow(/cycle/);
    expect(bad(graph([node('Relu', 'nobody', 'a')], [], ['a']))).toThrow(/'nobody', which nothing makes/);
    expect(bad(graph([node('Relu', 'x', 'a'), node('Neg', 'x', 'a')], [info('x')], ['a']))).toThrow(/'a', which is made before/);
    expect(bad(graph([], [info('x')], ['missing']))).toThrow(/'missing'/);
    expect(bad(graph([], [info('x'), info('x')], ['x']))).toThrow(FormatError);
    expect(bad(graph([], [], ['w'], [floats('w', [1], [1]), floats('w', [1], [1])]))).toThrow(FormatError);
  });
});

describe('external data', () => {
  const external = (location: string, offset = 0, length: number | undefined = undefined): Uint8Array =>
    encodeModel(
      model(
        graph(
          [node('Add', 'x w', 'y')],
          [info('x', [2])],
          ['y'],
          [{ name: 'w', type: 'float32', dims: [2], content: { kind: 'external', external: { location, offset, length } } }],
        ),
      ),
    );
  const weights = new Uint8Array(Float32Array.of(9, 9, 3, 4).buffer);

  it('is read from files of the model folder, and only from there', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'trireme-out-'));
    const folder = mkdtempSync(join(tmpdir(), 'trireme-onnx-'));
    try {
      writeFileSync(join(folder, 'w.bin'), weights);
      writeFileSync(join(outside, 'secret'), weights);
      symlinkSync(join(outside, 'secret'), join(folder, 'link'));
      const path = join(folder, 'model.onnx');
      writeFileSync(path, external('w.bin', 8, 8));
      using loaded = await OnnxModel.load(path);
      using x = tensor([1, 1]);
      using outputs = await loaded.run({ x });
      expect(numbers(outputs.value('y'))).toEqual([4, 5]);
      for (const [location, reason] of [
        [join(outside, 'secret'), /absolute/],
        ['../secret', /leaves the folder/],
        ['a/../../secret', /leaves the folder/],
        ['..\\secret', /leaves the folder/],
        ['C:\\secret', /absolute/],
        ['link', /link out of the folder/],
        ['none.bin', /cannot be opened/],
      ] as const) {
        writeFileSync(path, external(location));
        await expect(OnnxModel.load(path)).rejects.toThrow(reason);
      }
      writeFileSync(path, external('w.bin', 12));
      await expect(OnnxModel.load(path)).rejects.toThrow(FormatError);
      writeFileSync(path, external('w.bin', 0, 4));
      await expect(OnnxModel.load(path)).rejects.toThrow(/takes 8 bytes and has 4/);
    } finally {
      rmSync(folder, { recursive: true });
      rmSync(outside, { recursive: true });
    }
  });
  it('can be given with bytes', async () => {
    using loaded = await OnnxModel.load(external('w.bin'), { externalData: new Map([['w.bin', weights]]) });
    using x = tensor([0, 0]);
    using outputs = await loaded.run({ x });
    expect(numbers(outputs.value('y'))).toEqual([9, 9]);
    await expect(OnnxModel.load(external('w.bin'))).rejects.toThrow(/not loaded from a path/);
  });
  it('is not needed for sparse initializers, which are made dense', async () => {
    const source = model(graph([node('Add', 'x s', 'y')], [info('x', [3])], ['y']));
    const sparse = {
      values: encodeTensor(Float32Array.of(5), 'float32', [1], 's'),
      indices: encodeTensor(BigInt64Array.of(1n), 'int64', [1]),
      dims: [3],
    };
    const { data } = await outputOf({ ...source, graph: { ...source.graph, sparseInitializers: [sparse] } }, () => ({
      x: tensor([1, 1, 1]),
    }));
    expect(data).toEqual([1, 6, 1]);
  });
});
