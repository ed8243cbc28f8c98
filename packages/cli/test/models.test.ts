/** inspect, run, convert and verify, on a small convolutional network. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type AttributeModel,
  encodeModel,
  encodeTensor,
  encodeTensorFile,
  type ModelModel,
  type NodeModel,
  TensorValue,
  type ValueInfo,
} from '@trireme/onnx';
import { decodeNpy, encodeNpy, encodeNpz, openWeights, readNpz } from 'trireme/io';
import { beforeAll, describe, expect, test } from 'vitest';
import { flopsOf } from '../src/inspect/flops.js';
import { main, makeFolder, parsed, trireme } from './support.js';

const folder = makeFolder();
const at = (name: string): string => join(folder, name);

function node(opType: string, inputs: string[], outputs: string[], attributes: Record<string, AttributeModel> = {}): NodeModel {
  return { name: `${outputs[0]}_node`, opType, domain: '', overload: '', inputs, outputs, attributes: new Map(Object.entries(attributes)) };
}
const ints = (...values: number[]): AttributeModel => ({ kind: 'ints', value: values.map(BigInt) });
const wave = (count: number, step: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * step) / 3);
const port = (name: string, shape: readonly (number | string)[]): ValueInfo => ({
  name,
  type: { kind: 'tensor', element: 'float32', shape },
});

/** image [batch, 3, 8, 8] → Conv, Relu → mean over the picture, shaped by Shape and Reshape → Gemm → logits [batch, 10]. */
const network: ModelModel = {
  irVersion: 9,
  producerName: 'test <writer>',
  producerVersion: '1',
  domain: '',
  modelVersion: 1n,
  docString: '',
  opsetImports: new Map([['', 17]]),
  functions: [],
  trainingInfo: [],
  metadata: new Map(),
  graph: {
    name: 'small',
    sparseInitializers: [],
    valueInfo: [],
    inputs: [port('image', ['batch', 3, 8, 8])],
    outputs: [port('logits', ['batch', 10])],
    initializers: [
      encodeTensor(wave(16 * 3 * 9, 0.7), 'float32', [16, 3, 3, 3], 'kernel'),
      encodeTensor(wave(160, 0.9), 'float32', [10, 16], 'weight'),
      encodeTensor(wave(10, 1.3), 'float32', [10], 'bias'),
      encodeTensor(BigInt64Array.of(0n), 'int64', [1], 'first'),
      encodeTensor(BigInt64Array.of(-1n), 'int64', [1], 'rest'),
    ],
    nodes: [
      node('Conv', ['image', 'kernel'], ['map'], { kernel_shape: ints(3, 3), pads: ints(1, 1, 1, 1) }),
      node('Relu', ['map'], ['active']),
      node('GlobalAveragePool', ['active'], ['pooled']),
      node('Shape', ['pooled'], ['extents']),
      node('Gather', ['extents', 'first'], ['count']),
      node('Concat', ['count', 'rest'], ['flat'], { axis: { kind: 'int', value: 0n } }),
      node('Reshape', ['pooled', 'flat'], ['features']),
      node('Gemm', ['features', 'weight', 'bias'], ['logits'], { transB: { kind: 'int', value: 1n } }),
    ],
  },
};
const images = wave(2 * 3 * 64, 0.37);

beforeAll(() => {
  writeFileSync(at('net.onnx'), encodeModel(network));
  writeFileSync(at('image.npy'), encodeNpy({ data: images, shape: [2, 3, 8, 8] }));
});

interface Inspected {
  readonly inputs: readonly { readonly name: string; readonly type: string; readonly shape: readonly (number | string)[] }[];
  readonly operators: Record<string, number>;
  readonly parameters: { readonly tensors: number; readonly elements: number; readonly bytes: number };
  readonly flops: number;
  readonly values: readonly { readonly name: string; readonly type: string; readonly shape: readonly number[] }[];
  readonly opsets: Record<string, number>;
}

describe('inspect', () => {
  test('tells inputs with open extents, operators, parameters, FLOPs and the shape of every value', async () => {
    const result = await trireme(folder, ['inspect', 'net.onnx', '--dim', 'batch=4', '--json']);
    const found = parsed<Inspected>(result);
    expect(found.inputs).toEqual([{ name: 'image', type: 'float32', shape: ['batch', 3, 8, 8] }]);
    expect(found.opsets).toEqual({ 'ai.onnx': 17 });
    expect(found.operators).toMatchObject({ Conv: 1, Gemm: 1, Reshape: 1 });
    expect(found.parameters).toEqual({ tensors: 5, elements: 432 + 160 + 10 + 2, bytes: 4 * 602 + 16 });
    // Two for each multiply-add: 27 products for 16 maps of 64 places, 16 for each of 10 results.
    expect(found.flops).toBe(4 * 2 * (27 * 16 * 64 + 16 * 10));
    const shapes = Object.fromEntries(found.values.map(({ name, shape }) => [name, shape]));
    expect(shapes).toMatchObject({ map: [4, 16, 8, 8], pooled: [4, 16, 1, 1], extents: [4], features: [4, 16], logits: [4, 10] });
    expect(result.stderr).toMatch(/image {2}float32 {2}batch×3×8×8/);
  });

  test('tells an extent that no input has', async () => {
    const { code, stderr } = await trireme(folder, ['inspect', 'net.onnx', '--dim', 'bacth=4']);
    expect([code, stderr]).toEqual([3, 'trireme: net.onnx: no input has an extent named bacth. Did you mean batch?\n']);
  });

  test('writes a page that holds all it needs and allows no other script', async () => {
    const { code } = await trireme(folder, ['inspect', 'net.onnx', '--html', 'net.html']);
    expect(code).toBe(0);
    const page = readFileSync(at('net.html'), 'utf8');
    const titles = [...page.matchAll(/class="title"[^>]*>([^<]*)</g)].map((match) => match[1]);
    // What only computes the shape for Reshape is not drawn.
    expect(titles).toEqual(['image', 'Conv', 'Relu', 'GlobalAveragePool', 'Reshape', 'Gemm', 'logits']);
    expect(page).not.toMatch(/https?:|<script src|<link/);
    const script = /<script>([\s\S]*)<\/script>/.exec(page)?.[1] ?? '';
    const hash = createHash('sha256').update(script).digest('base64');
    expect(page).toContain(`script-src 'sha256-${hash}'`);
    expect(() => new Function(script)).not.toThrow();
    expect(page).toContain('test &#60;writer&#62;');
    expect(page).toContain('W 16×3×3×3');
  });

  test('lists the tensors of weights', async () => {
    writeFileSync(at('arrays.npz'), await encodeNpz([['a', { data: images, shape: [2, 192] }]]));
    const found = parsed(await trireme(folder, ['inspect', 'arrays.npz', '--json']));
    expect(found).toMatchObject({ format: 'npz', elements: 384, tensors: [{ name: 'a', type: 'float32', shape: [2, 192] }] });
  });

  test('a file that is no model ends with 3', async () => {
    writeFileSync(at('broken.onnx'), 'no model');
    const { code, stderr } = await trireme(folder, ['inspect', 'broken.onnx']);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^trireme: broken\.onnx: /);
  });
});

describe('run', () => {
  test('reads .npy, .npz and .pb, and writes the outputs', async () => {
    writeFileSync(at('inputs.npz'), await encodeNpz([['image', { data: images, shape: [2, 3, 8, 8] }]]));
    writeFileSync(at('image.pb'), encodeTensorFile(TensorValue.ofHost(images, 'float32', [2, 3, 8, 8]), 'image'));
    const runs = await Promise.all([
      trireme(folder, ['run', 'net.onnx', '--input', 'image=image.npy', '--output', 'logits.npy', '--json']),
      trireme(folder, ['run', 'net.onnx', '--input', 'inputs.npz', '--output', 'out.npz']),
      trireme(folder, ['run', 'net.onnx', '--input', 'image.pb', '--output', 'folder']),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(parsed(runs[0])).toMatchObject({ command: 'run', ok: true, outputs: [{ name: 'logits', type: 'float32', shape: [2, 10] }] });
    const [one, archive, inFolder] = [
      decodeNpy(readFileSync(at('logits.npy'))),
      (await readNpz(at('out.npz'))).get('logits'),
      decodeNpy(readFileSync(at('folder/logits.npy'))),
    ];
    expect(archive).toEqual(one);
    expect(inFolder).toEqual(one);
    // The picture's first row of logits by hand.
    const kernel = wave(432, 0.7);
    const pooled = Array.from({ length: 16 }, (_, map) => {
      let sum = 0;
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          let value = 0;
          for (let c = 0; c < 3; c++) {
            for (let i = 0; i < 9; i++) {
              const [row, column] = [y + Math.floor(i / 3) - 1, x + (i % 3) - 1];
              if (row >= 0 && row < 8 && column >= 0 && column < 8)
                value += kernel[(map * 3 + c) * 9 + i] * images[(c * 8 + row) * 8 + column];
            }
          }
          sum += Math.max(0, value);
        }
      }
      return sum / 64;
    });
    const [weight, bias] = [wave(160, 0.9), wave(10, 1.3)];
    const logits = Array.from({ length: 10 }, (_, k) => pooled.reduce((sum, value, j) => sum + value * weight[k * 16 + j], bias[k]));
    logits.forEach((value, k) => {
      expect(Number(one.data[k])).toBeCloseTo(value, 4);
    });
  });

  test('tells wrong names, types and shapes, all at once', async () => {
    writeFileSync(at('double.npy'), encodeNpy({ data: new Float64Array(192), shape: [1, 3, 8, 8] }));
    writeFileSync(at('flat.npy'), encodeNpy({ data: new Float32Array(192), shape: [192] }));
    const [type, shape, name] = await Promise.all(
      ['image=double.npy', 'image=flat.npy', 'picture=image.npy'].map((given) => trireme(folder, ['run', 'net.onnx', '--input', given])),
    );
    expect([type.code, shape.code, name.code]).toEqual([3, 3, 3]);
    expect(type.stderr).toBe(
      "trireme: double.npy: input image is float32, and the array is float64. Convert it, in numpy with .astype('float32').\n",
    );
    expect(shape.stderr).toBe('trireme: flat.npy: input image has shape [batch, 3, 8, 8], and the array [192].\n');
    expect(name.stderr.split('\n').slice(0, 2)).toEqual([
      'trireme: image.npy: the model has no input picture. Known are image.',
      'trireme: net.onnx: input image (float32 [batch, 3, 8, 8]) is missing. Give it with --input image=FILE.npy.',
    ]);
  });
});

interface Verified {
  readonly ok: boolean;
  readonly largest: number;
  readonly verified: boolean;
  readonly comparisons: readonly { readonly name: string; readonly relative: number; readonly mismatch: string | null }[];
}

describe('convert and verify', () => {
  test('smaller weights differ by what they leave out, and verify says how much', async () => {
    const [half, byte] = await Promise.all([
      trireme(folder, ['convert', 'net.onnx', 'half.onnx', '--fp16', '--json']),
      trireme(folder, ['convert', 'net.onnx', 'byte.onnx', '--quantize', '--input', 'image=image.npy', '--json']),
    ]);
    expect([half.code, byte.code]).toEqual([0, 0]);
    const [first, second] = [parsed<Verified>(half), parsed<Verified>(byte)];
    expect([first.verified, second.verified]).toEqual([true, true]);
    expect(first.largest).toBeLessThan(1e-3);
    expect(second.largest).toBeGreaterThan(first.largest);
    expect(second.largest).toBeLessThan(0.05);
    // 432 weights are large enough, 160 are not.
    expect(statSync(at('half.onnx')).size).toBeLessThan(statSync(at('net.onnx')).size - 700);
    expect(statSync(at('byte.onnx')).size).toBeLessThan(statSync(at('half.onnx')).size);

    const strict = await trireme(folder, ['verify', 'net.onnx', 'byte.onnx', '--input', 'image=image.npy', '--json']);
    const loose = await trireme(folder, ['verify', 'net.onnx', 'byte.onnx', '--input', 'image=image.npy', '--tolerance', '0.05']);
    expect([strict.code, loose.code]).toEqual([1, 0]);
    expect(parsed<Verified>(strict).largest).toBeCloseTo(second.largest, 6);
    expect(loose.stdout).toMatch(/the same within 0\.05/);
  });

  test('a model is recorded anew for another opset, with its batch open', async () => {
    const result = await trireme(folder, ['convert', 'net.onnx', 'new.onnx', '--opset', '21', '--json']);
    expect(parsed<Verified>(result)).toMatchObject({ ok: true, verified: true });
    const found = parsed<Inspected>(await trireme(folder, ['inspect', 'new.onnx', '--json']));
    expect(found.opsets).toEqual({ 'ai.onnx': 21 });
    expect(found.inputs[0].shape).toEqual(['batch', 3, 8, 8]);
  });

  test('weights go from a model to safetensors and on to npz in float16', async () => {
    const first = await trireme(folder, ['convert', 'net.onnx', 'net.safetensors']);
    const second = await trireme(folder, ['convert', 'net.safetensors', 'net.npz', '--fp16']);
    expect([first.code, second.code]).toEqual([0, 0]);
    expect(first.stdout).toMatch(/the largest difference is 0/);
    const file = await openWeights(at('net.npz'));
    expect(file.entries.get('kernel')).toMatchObject({ shape: [16, 3, 3, 3], storedAs: 'float16' });
    await file.close();
    const compared = await trireme(folder, ['verify', 'net.safetensors', 'net.npz', '--json']);
    expect(compared.code).toBe(1);
    expect(parsed<Verified>(compared).largest).toBeLessThan(1e-3);
  });

  test('a layers model of TensorFlow.js becomes ONNX with the same numbers', async () => {
    const weights = Float32Array.of(1, -2, 0.5, 3, -1, 0.25, 0.1, 0.2);
    writeFileSync(at('weights.bin'), new Uint8Array(weights.buffer));
    const dense = { name: 'dense', units: 2, activation: 'relu', use_bias: true, batch_input_shape: [null, 3], dtype: 'float32' };
    const document = {
      format: 'layers-model',
      modelTopology: {
        class_name: 'Sequential',
        keras_version: '2.13.0',
        config: { name: 'sequential', layers: [{ class_name: 'Dense', config: dense }] },
      },
      weightsManifest: [
        {
          paths: ['weights.bin'],
          weights: [
            { name: 'dense/kernel', shape: [3, 2], dtype: 'float32' },
            { name: 'dense/bias', shape: [2], dtype: 'float32' },
          ],
        },
      ],
    };
    writeFileSync(at('model.json'), JSON.stringify(document));
    writeFileSync(at('x.npy'), encodeNpy({ data: Float32Array.of(1, 2, 3, -1, 0, 1), shape: [2, 3] }));
    const converted = await trireme(folder, ['convert', 'model.json', 'dense.onnx', '--json']);
    expect(parsed<Verified>(converted)).toMatchObject({ ok: true, verified: true });
    const found = parsed<Inspected>(await trireme(folder, ['inspect', 'dense.onnx', '--json']));
    const [{ name, shape }] = found.inputs;
    expect(shape).toEqual(['batch', 3]);
    const run = await trireme(folder, ['run', 'dense.onnx', '--input', `${name}=x.npy`, '--output', 'y.npy']);
    expect(run.code).toBe(0);
    const y = decodeNpy(readFileSync(at('y.npy')));
    expect(y.shape).toEqual([2, 2]);
    // Rows times the kernel [[1, -2], [0.5, 3], [-1, 0.25]] plus the bias, and nothing below 0.
    [0, 4.95, 0, 2.45].forEach((value, i) => {
      expect(Number(y.data[i])).toBeCloseTo(value, 5);
    });
  });

  test('what cannot be is told before anything is read', async () => {
    const runs = await Promise.all([
      trireme(folder, ['convert', 'net.onnx', 'net.gguf']),
      trireme(folder, ['convert', 'arrays.npz', 'net2.onnx']),
      trireme(folder, ['convert', 'net.onnx', 'x.onnx', '--fp16', '--quantize']),
      trireme(folder, ['verify', 'net.onnx', 'arrays.npz']),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([2, 2, 2, 2]);
    expect(runs[0].stderr).toMatch(
      /net\.gguf is of no format that is written\nWritten are \.onnx, and weights as \.safetensors or \.npz\./,
    );
    expect(existsSync(at('x.onnx'))).toBe(false);
  });
});

describe('FLOPs', () => {
  const of = (
    opType: string,
    inputs: readonly number[][],
    outputs: readonly number[][],
    attributes: Record<string, AttributeModel> = {},
  ): number => flopsOf(node(opType, [], ['y'], attributes), inputs, outputs);

  test('are those of the multiply-adds', () => {
    expect(
      of(
        'MatMul',
        [
          [2, 3, 4],
          [4, 5],
        ],
        [[2, 3, 5]],
      ),
    ).toBe(2 * 2 * 3 * 4 * 5);
    expect(
      of(
        'Conv',
        [
          [1, 8, 5, 5],
          [6, 2, 3, 3],
        ],
        [[1, 6, 5, 5]],
        { group: { kind: 'int', value: 4n } },
      ),
    ).toBe(2 * 6 * 25 * 2 * 9);
    expect(
      of(
        'ConvTranspose',
        [
          [1, 4, 5, 5],
          [4, 6, 3, 3],
        ],
        [[1, 6, 7, 7]],
      ),
    ).toBe(2 * 4 * 25 * 6 * 9);
    expect(
      of(
        'Einsum',
        [
          [2, 3, 4],
          [2, 4, 5],
        ],
        [[2, 3, 5]],
        { equation: { kind: 'string', value: 'bij,bjk->bik' } },
      ),
    ).toBe(2 * 120);
    expect(
      of(
        'Einsum',
        [
          [7, 3, 4],
          [7, 5, 4],
        ],
        [[7, 3, 5]],
        { equation: { kind: 'string', value: '...ij,...kj->...ik' } },
      ),
    ).toBe(2 * 420);
    expect(
      of(
        'LSTM',
        [
          [6, 2, 4],
          [1, 12, 4],
          [1, 12, 3],
        ],
        [[6, 1, 2, 3]],
      ),
    ).toBe(2 * 6 * 2 * (48 + 36));
    expect(of('Relu', [[2, 3]], [[2, 3]])).toBe(0);
  });
});

test('what the models need is loaded by their commands alone', () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    expect(text).not.toMatch(/^(?:import|export) [^;]*from "(?:@trireme\/onnx|@dagrejs\/dagre|trireme)/m);
    for (const [, name] of text.matchAll(/^(?:import|export) (?:[^;]*from )?"(\.\/[^"]+)"/gm)) visit(join(dirname(file), name));
  };
  visit(main);
  expect(seen.size).toBeGreaterThan(1);
});
