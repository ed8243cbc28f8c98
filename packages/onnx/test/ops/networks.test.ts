/** What the conformance tests of ONNX leave open: gradients, training mode, and that fast paths and general ones agree. */
import { add, allClose, checkGrads, grad, mul, sum, type Tensor, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { TensorValue, type Value } from '../../src/engine/value.js';
import { floats, graph, info, ints, model, node } from '../support.js';
import { type Attribute, elements, known, type RunOptions, run, run1 } from './support.js';

/** Numbers without a pattern, the same each time. */
const spread = (n: number, phase = 0): number[] => Array.from({ length: n }, (_, i) => Math.sin(1.7 * i + phase) * 0.8);
const double = (shape: readonly number[], phase = 0): Tensor =>
  tensor(
    Float64Array.from(
      spread(
        shape.reduce((a, b) => a * b, 1),
        phase,
      ),
    ),
    { shape },
  );
const single = (shape: readonly number[], phase = 0): Tensor => double(shape, phase).to('float32');

const wrap = (t: Tensor): TensorValue => TensorValue.ofTensor(t, t.dtype as 'float32' | 'float64');
function expectClose(a: Tensor, b: Tensor, options: { readonly atol?: number } = {}): void {
  expect(a.shape).toEqual(b.shape);
  expect(allClose(a, b, options).item()).toBeTruthy();
}
const unwrap = (value: Value | null): Tensor => {
  if (value?.kind !== 'tensor') throw new Error('no tensor');
  return value.tensor;
};

/** Outputs of an operator of tensors, as many as `count`. */
function apply(
  op: string,
  inputs: readonly (Tensor | TensorValue | null)[],
  attributes: Readonly<Record<string, Attribute>> = {},
  count = 1,
  options: RunOptions = {},
): Tensor[] {
  const values = inputs.map((x) => (x === null || x instanceof TensorValue ? x : wrap(x)));
  return run(op, values, attributes, { wanted: Array<boolean>(count).fill(true), ...options }).map(unwrap);
}

describe('convolutions and pooling', () => {
  const sames = ['SAME_UPPER', 'SAME_LOWER'] as const;
  it.each(sames)('%s with a stride pads as the explicit numbers do, with gradients', (mode) => {
    const [x, w] = [double([1, 2, 5, 4]), double([3, 2, 2, 3], 1)];
    // 5 rows in steps of 2 with a kernel of 2: one more row; 4 columns with a kernel of 3: one more column.
    const pads = mode === 'SAME_UPPER' ? [0, 0, 1, 1] : [1, 1, 0, 0];
    const [auto] = apply('Conv', [x, w], { strides: [2, 2], auto_pad: mode });
    const [explicit] = apply('Conv', [x, w], { strides: [2, 2], pads });
    expect(auto.shape).toEqual([1, 3, 3, 2]);
    expectClose(auto, explicit);
    checkGrads((a, b) => apply('Conv', [a, b], { strides: [2, 2], auto_pad: mode }), [x, w]);
  });
  it('ConvTranspose that pads unevenly has gradients', () => {
    const inputs = [double([1, 2, 3, 3]), double([2, 2, 3, 3], 1), double([2], 2)];
    checkGrads((...t) => apply('ConvTranspose', t, { strides: [2, 2], auto_pad: 'SAME_UPPER' }), inputs);
  });
  it('a deformable convolution without offsets is a convolution, and has gradients towards offsets and mask', () => {
    const [x, w] = [double([1, 4, 5, 5]), double([2, 2, 3, 3], 1)];
    const attributes = { pads: [1, 1, 1, 1], group: 2, offset_group: 2 };
    const [plain] = apply('Conv', [x, w], { pads: [1, 1, 1, 1], group: 2 });
    const [still] = apply('DeformConv', [x, w, mul(double([1, 36, 5, 5]), 0)], attributes);
    expectClose(still, plain, { atol: 1e-9 });
    const offset = double([1, 36, 5, 5], 3);
    const mask = double([1, 18, 5, 5], 4);
    checkGrads((a, b) => apply('DeformConv', [x, w, a, null, b], attributes), [mul(offset, 0.4), mask]);
  });
  it('averages with dilation and uneven padding count what is there', () => {
    const [y] = apply('AveragePool', [tensor([1, 2, 3, 4], { dtype: 'float32', shape: [1, 1, 4] })], {
      kernel_shape: [2],
      dilations: [2],
      pads: [0, 1],
    });
    expect(y.toArray()).toEqual([[[2, 3, 3]]]);
    const lp = [double([1, 1, 4, 4])];
    checkGrads((x) => apply('LpPool', [x], { kernel_shape: [2, 2], pads: [1, 0, 0, 1], p: 3 }), lp);
  });
  it('MaxUnpool puts back what MaxPool took', () => {
    const x = tensor(
      Float32Array.from({ length: 16 }, (_, i) => (i * 7) % 16),
      { shape: [1, 1, 4, 4] },
    );
    const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
    const [values, indices] = run('MaxPool', [wrap(x)], attributes, { wanted: [true, true] });
    const back = run1('MaxUnpool', [values, indices], attributes);
    const [again] = apply('MaxPool', [back.tensor], attributes);
    expect(again.toArray()).toEqual(unwrap(values).toArray());
    expect(back.tensor.sum().item()).toBe(unwrap(values).sum().item());
  });
  it('pooling over regions has gradients towards the image and the regions', () => {
    const indices = known('int64', [0, 0]);
    const rois = tensor(Float64Array.of(0.6, 0.7, 3.1, 3.4, 1.2, 0.3, 4.3, 2.9), { shape: [2, 4] });
    const attributes = { output_height: 2, output_width: 2, sampling_ratio: 2 };
    checkGrads((x, r) => apply('RoiAlign', [x, r, indices], attributes), [double([1, 2, 5, 5]), rois]);
  });
});

describe('Resize', () => {
  const sizes = known('int64', [1, 1, 5, 7]);
  it.each(['nearest', 'linear', 'cubic'])('%s has a gradient of the size of the output', (mode) => {
    const x = double([1, 1, 3, 4]).requiresGrad_();
    const [y] = apply('Resize', [x, null, null, sizes], { mode });
    expect(y.shape).toEqual([1, 1, 5, 7]);
    const [g] = grad([sum(y)], [x]);
    // Weights of each output sum to 1.
    expect(g.sum().item()).toBeCloseTo(35, 9);
  });
  it('shrinks with an antialiased kernel of many elements as with the sum of its parts', () => {
    const x = single([1, 1, 1, 24]);
    const [y] = apply('Resize', [x, null, null, known('int64', [1, 1, 1, 4])], { mode: 'linear', antialias: 1 });
    const data = elements(wrap(x).host) as number[];
    const expected = [0, 1, 2, 3].map((i) => {
      const at = (i + 0.5) * 6 - 0.5;
      const weights = data.map((_, k) => Math.max(0, 1 - Math.abs(k - at) / 6));
      const total = weights.reduce((a, b) => a + b, 0);
      return weights.reduce((a, w, k) => a + w * data[k], 0) / total;
    });
    // The outermost kernels reach over the border, where the outermost element stands for what is not there.
    (y.toArray() as number[][][][])[0][0][0].slice(1, 3).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i + 1], 5);
    });
  });
});

describe('normalization', () => {
  it('BatchNormalization in training mode has gradients through the statistics of the batch', () => {
    const [x, scale, bias] = [double([4, 2, 3]), double([2], 1), double([2], 2)];
    const center = tensor(Float64Array.of(0, 0));
    const spreads = tensor(Float64Array.of(1, 1));
    checkGrads((a, s, b) => apply('BatchNormalization', [a, s, b, center, spreads], { training_mode: 1 }, 3)[0], [x, scale, bias]);
    const [, mean] = apply('BatchNormalization', [x, scale, bias, center, spreads], { training_mode: 1 }, 3);
    expectClose(mean, mul(x.mean([0, 2]), 0.1), { atol: 1e-6 });
  });
  it('known statistics give the same as those on the device', () => {
    const x = single([2, 3, 4, 4]);
    const given = [
      known('float32', [1, 2, 3]),
      known('float32', [0.5, 0, -1]),
      known('float32', [0.1, 0.2, 0.3]),
      known('float32', [1, 4, 9]),
    ];
    const [folded] = apply('BatchNormalization', [x, ...given]);
    const [general] = apply('BatchNormalization', [x, ...given.map((v) => v.tensor)]);
    expectClose(folded, general, { atol: 1e-6 });
  });
  it('layer normalization with a scale of fewer elements broadcasts it', () => {
    const x = double([2, 3, 4]);
    const scale = double([4], 1);
    const [narrow] = apply('LayerNormalization', [x, scale], { axis: 1 });
    const [wide] = apply('LayerNormalization', [x, scale.expand([3, 4]).contiguous()], { axis: 1 });
    expectClose(narrow, wide);
  });
});

describe('recurrent layers', () => {
  const [steps, batch, size, hidden] = [3, 2, 3, 2];
  const weights = (gates: number): Tensor[] => [
    double([steps, batch, size]),
    double([1, gates * hidden, size], 1),
    double([1, gates * hidden, hidden], 2),
    double([1, 2 * gates * hidden], 3),
  ];
  const lengths = known('int32', [3, 2]);
  const kinds = [
    ['LSTM', 4, {}],
    ['GRU', 3, { linear_before_reset: 1 }],
    ['GRU', 3, { linear_before_reset: 0 }],
    ['RNN', 1, {}],
    ['LSTM', 4, { clip: { float: 0.5 } }],
  ] as const;
  it.each(kinds)('%s with %i gates and %o has gradients, with sequences of different lengths', (op, gates, attributes) => {
    const all = { hidden_size: hidden, ...attributes } as Readonly<Record<string, Attribute>>;
    checkGrads((...t) => apply(op, [...t, lengths], { ...all, direction: 'reverse' }, 2), weights(gates));
  });
  it('peepholes of 0 change nothing: the general LSTM is the one of the library', () => {
    const [x, w, r, b] = weights(4);
    const inputs = [x, w, r, b, lengths, null, null];
    const library = apply('LSTM', inputs, { hidden_size: hidden }, 3);
    const general = apply('LSTM', [...inputs, mul(double([1, 3 * hidden]), 0)], { hidden_size: hidden }, 3);
    library.forEach((t, k) => {
      expectClose(t, general[k], { atol: 1e-12 });
    });
  });
  it('weights that are put in order beforehand give what weights on the device give', () => {
    const parts = weights(4).map((t) => t.to('float32'));
    const constants = parts.slice(1).map((t) => TensorValue.ofHost(wrap(t).host, 'float32', t.shape));
    const [fixed] = apply('LSTM', [parts[0], ...constants], { hidden_size: hidden });
    const [moving] = apply('LSTM', parts, { hidden_size: hidden });
    expectClose(fixed, moving, { atol: 1e-6 });
  });
  it('takes the batch first where layout says so', () => {
    const [x, w, r, b] = weights(3);
    const [y, h] = apply('GRU', [x, w, r, b], { hidden_size: hidden }, 2);
    const [first, state] = apply('GRU', [x.transpose(0, 1), w, r, b], { hidden_size: hidden, layout: 1 }, 2);
    expectClose(first, y.permute([2, 0, 1, 3]));
    expectClose(state, h.transpose(0, 1));
  });
});

describe('Attention', () => {
  it('a query that sees no key gives zeros and finite gradients', () => {
    const [q, k, v] = [single([1, 1, 2, 4]), single([1, 1, 3, 4], 1), single([1, 1, 3, 4], 2)];
    q.requiresGrad_();
    const mask = tensor(Float32Array.of(0, 0, 0, -Infinity, -Infinity, -Infinity), { shape: [2, 3] });
    const [y] = apply('Attention', [q, k, v, mask], {}, 1, { opset: 24 });
    expect((y.toArray() as number[][][][])[0][0][1]).toEqual([0, 0, 0, 0]);
    const [g] = grad([sum(y)], [q]);
    expect(g.isfinite().all().item()).toBeTruthy();
  });
  it('keys of the past and of now are those of one call, and shared heads count as repeated ones', () => {
    const [q, k, v] = [double([1, 4, 3, 2]), double([1, 2, 3, 2], 1), double([1, 2, 3, 2], 2)];
    const [whole] = apply('Attention', [q, k, v], { is_causal: 1 }, 1, { opset: 24 });
    const cut = (t: Tensor, from: number, n: number): Tensor => t.narrow(2, from, n).contiguous();
    const inputs = [cut(q, 2, 1), cut(k, 2, 1), cut(v, 2, 1), null, cut(k, 0, 2), cut(v, 0, 2)];
    const [last, present] = apply('Attention', inputs, { is_causal: 1 }, 3, { opset: 24 });
    expectClose(last, cut(whole, 2, 1));
    expect(present.shape).toEqual([1, 2, 3, 2]);
    checkGrads((a, b, c) => apply('Attention', [a, b, c], { softcap: { float: 2 } }, 1, { opset: 24 }), [q, k, v]);
  });
  it('LinearAttention has gradients through its state', () => {
    const inputs = [double([1, 3, 4]), double([1, 3, 2], 1), double([1, 3, 2], 2)];
    const rest = [null, mul(double([1, 3, 1], 3), 0.1), double([1, 3, 1], 4)];
    const attributes = { q_num_heads: 2, kv_num_heads: 1, update_rule: 'gated_delta' };
    checkGrads((q, k, v) => apply('LinearAttention', [q, k, v, ...rest], attributes, 2, { opset: 27 }), inputs);
  });
});

describe('training mode of a module', () => {
  const layers = () =>
    model(
      graph(
        [node('BatchNormalization', 'x s b m v', 'n'), node('Dropout', 'n ratio', 'y')],
        [info('x', [8, 2, 32])],
        ['y'],
        [
          floats('s', [2], [1, 1]),
          floats('b', [2], [3, 3]),
          floats('m', [2], [0, 0]),
          floats('v', [2], [1, 1]),
          floats('ratio', [], [0.5]),
        ],
      ),
    );
  it('Dropout drops and scales, BatchNormalization keeps statistics; outside of training neither happens', () => {
    using loaded = new OnnxModel(layers());
    const net = loaded.toModule();
    const x = add(single([8, 2, 32]), 5);
    const trained = net.train().call(x);
    const zeros = trained.eq(0).sum().item() as number;
    expect(zeros).toBeGreaterThan(150);
    expect(zeros).toBeLessThan(362);
    const running = net.stateDict().get('m')?.toArray() as number[];
    expect(running).toEqual((x.mean([0, 2]).toArray() as number[]).map((mean) => expect.closeTo(0.1 * mean, 5)));
    const before = net.eval().call(x);
    expect(before.eq(0).sum().item()).toBe(0);
    expectClose(before, net.call(x));
    net.dispose();
  });
});

describe('Gradient', () => {
  it('runs again what leads to y, also where its inputs had no later use', () => {
    const training = 'ai.onnx.preview.training';
    const main = graph(
      [
        node('Mul', 'w w', 'squared'),
        node('Mul', 'x squared', 'y'),
        node('Gradient', 'x', 'dx', { xs: { kind: 'strings', value: ['x'] }, y: 'y' }, { domain: training }),
        node('Reshape', 'dx shape', 'flat'),
      ],
      [info('x', [1, 2]), info('w', [1, 2])],
      ['flat'],
      [ints('shape', [-1])],
    );
    const base = model(main);
    using loaded = new OnnxModel({ ...base, opsetImports: new Map([...base.opsetImports, [training, 1]]) });
    const inputs = { x: single([1, 2]), w: tensor(Float32Array.of(2, 3), { shape: [1, 2] }) };
    expect([...(loaded.runSync(inputs).data('flat') as Float32Array)]).toEqual([4, 9]);
    expect([...(loaded.runEagerly(inputs).data('flat') as Float32Array)]).toEqual([4, 9]);
  });
});

describe('signals and pictures', () => {
  it('the inverse transform of a transform is the signal, and both have gradients', () => {
    const x = double([1, 6, 1]);
    const [spectrum] = apply('DFT', [x], { onesided: 1 }, 1, { opset: 20 });
    expect(spectrum.shape).toEqual([1, 4, 2]);
    const [back] = apply('DFT', [spectrum], { onesided: 1, inverse: 1 }, 1, { opset: 20 });
    expectClose(back, x);
    const window = double([4], 1);
    checkGrads((s) => apply('STFT', [s, known('int64', [2], []), window], {}, 1, { opset: 17 }), double([1, 8, 1]));
  });
  it('ImageDecoder reads PPM and BMP by itself', () => {
    const text = new TextEncoder().encode('P6 # two pixels\n2 1\n255\n');
    const ppm = known('uint8', [...text, 255, 0, 10, 1, 2, 3]);
    expect(elements(run1('ImageDecoder', [ppm], { pixel_format: 'BGR' }).host)).toEqual([10, 0, 255, 3, 2, 1]);
    const bmp = new Uint8Array(14 + 40 + 8);
    const view = new DataView(bmp.buffer);
    bmp.set([0x42, 0x4d]);
    view.setUint32(10, 54, true);
    view.setUint32(14, 40, true);
    view.setInt32(18, 1, true);
    view.setInt32(22, 2, true);
    view.setUint16(28, 24, true);
    // Rows go upwards, pixels are blue, green, red.
    bmp.set([3, 2, 1, 0, 6, 5, 4, 0], 54);
    const read = run1('ImageDecoder', [known('uint8', [...bmp])]);
    expect(read.shape).toEqual([2, 1, 3]);
    expect(elements(read.host)).toEqual([4, 5, 6, 1, 2, 3]);
  });
});
