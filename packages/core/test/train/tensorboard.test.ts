/** TensorBoard's encoding, byte for byte as its own protocol buffers write it (tools/reference/tensorboard_fixtures.py). */
import { describe, expect, test } from 'vitest';
import { denseLayout } from '../../src/graph/layout.js';
import { primitiveNamed } from '../../src/graph/primitive.js';
import type { Program } from '../../src/graph/program.js';
import { makeNode, newValue } from '../../src/graph/trace.js';
import { Linear, Sequential } from '../../src/nn/index.js';
import { rand } from '../../src/ops/random.js';
import { SummaryWriter, summary } from '../../src/train/index.js';
import { graphDef } from '../../src/train/tensorboard/graph.js';
import { Message } from '../../src/train/tensorboard/protobuf.js';
import { crc32c, frameRecord } from '../../src/train/tensorboard/records.js';
import {
  histogramValue,
  hparamsEnd,
  hparamsExperiment,
  hparamsStart,
  imagesValue,
  prCurveValue,
  scalarValue,
  textValue,
} from '../../src/train/tensorboard/summaries.js';
import reference from '../reference/tensorboard.json' with { type: 'json' };

const bytesOf = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a summary', () => {
  const { labels, predictions, values, buckets, hparams, seconds, summaries } = reference;
  test.each<[keyof typeof summaries, Message]>([
    ['scalar', scalarValue('loss', 0.1)],
    ['text', textValue('note', '**bold** é')],
    ['images', imagesValue('picture', 3, 2, [utf8('first'), utf8('second')])],
    ['histogram', histogramValue('w', values, buckets)],
    ['prCurve', prCurveValue('pr', labels, predictions, 11)],
    ['experiment', hparamsExperiment(hparams, ['loss/train'], seconds)],
    ['start', hparamsStart(hparams, seconds, 'g')],
    ['end', hparamsEnd(true, seconds + 1)],
  ])('of kind %s has the bytes of TensorBoard', (name, message) => {
    expect([...message.finish()]).toEqual([...bytesOf(summaries[name])]);
  });
  test('has the same histogram for one value, none, and values that are not finite', () => {
    expect(histogramValue('w', [2, 2, Number.NaN]).finish()).toEqual(histogramValue('w', [2, 2]).finish());
    expect(histogramValue('w', []).finish()).toEqual(histogramValue('w', [Number.POSITIVE_INFINITY]).finish());
  });
  test('of predictions that are no probabilities is refused', () => {
    expect(() => prCurveValue('pr', [1], [1.5])).toThrow(/from 0 to 1/);
    expect(() => prCurveValue('pr', [1, 0], [0.5])).toThrow(/2 labels and 1 predictions/);
  });
});

test('varints, also beyond 32 bits, are those of the wire format', () => {
  expect([...new Message().int(1, 300).finish()]).toEqual([0x08, 0xac, 0x02]);
  expect([...new Message().int(16, 2 ** 40).finish()]).toEqual([0x80, 0x01, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
});

describe('a record', () => {
  test('is framed with masked checksums', () => {
    expect([...frameRecord(bytesOf(reference.recordContent))]).toEqual([...bytesOf(reference.record)]);
  });
  test('has CRC-32C, with the check value of its definition', () => {
    expect(crc32c(utf8('123456789'))).toBe(0xe3069283);
  });
});

describe('a graph', () => {
  test('of a Program has the bytes of TensorFlow', () => {
    const mul = primitiveNamed('mul')!;
    const x = newValue({ dtype: 'float32', shape: [2, 3] });
    const w = newValue({ dtype: 'float32', shape: [3] });
    const wide = { value: w, layout: { shape: [2, 3], strides: [0, 1], offset: 0 } };
    const dense = denseLayout([2, 3]);
    const first = makeNode(mul, [{ value: x, layout: dense }, wide], { a: 1 }, 'Net.lin 1');
    const second = makeNode(mul, [{ value: first.outputs[0], layout: dense }, wide], {}, 'Net.lin 1');
    const program: Program = {
      name: 'p',
      inputs: [x, w],
      nodes: [first, second],
      outputs: [{ value: second.outputs[0], layout: dense }],
      updates: [],
    };
    const names = new Map([
      [0, 'input0'],
      [1, 'weight'],
    ]);
    expect([...graphDef(program, names)]).toEqual([...bytesOf(reference.graph)]);
  });
});

describe('a writer', () => {
  test('without files hands its bytes to a function, framed events one after the other', async () => {
    const parts: Uint8Array[] = [];
    const writer = new SummaryWriter((bytes) => void parts.push(bytes), { purgeStep: 7 });
    writer.addScalar('a', 1, 0);
    using picture = rand([3, 4, 5]);
    writer.addImage('p', picture, 2);
    writer.addHistogram('h', picture, 2);
    await writer.close();
    const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
    const view = new DataView(bytes.buffer);
    let events = 0;
    for (let at = 0; at < bytes.length; events++) {
      const length = view.getUint32(at, true);
      const record = bytes.subarray(at, at + 16 + length);
      expect(frameRecord(record.subarray(12, 12 + length))).toEqual(record);
      at += 16 + length;
    }
    expect(events).toBe(5);
    expect(() => writer.addScalar('a', 1, 1)).toThrow(/closed/);
  });
  test('refuses pictures and steps that are none', () => {
    const writer = new SummaryWriter(() => undefined);
    using flat = rand([4, 5]);
    expect(() => writer.addImage('p', flat, 0)).toThrow(/\[C, H, W\]/);
    expect(() => writer.addScalar('a', 1, -1)).toThrow(/step/);
  });
});

test('the graph of a network names its parameters and groups its nodes by layer', async () => {
  const net = new Sequential(new Linear(3, 4), new Linear(4, 2));
  const { traceNet } = await import('../../src/train/trace-net.js');
  const { program, names } = traceNet(net, [[5, 3]]);
  const text = new TextDecoder('latin1').decode(graphDef(program, names));
  for (const name of ['input0', '0/weight', '1/bias', 'Sequential/0/', 'Sequential/1/', 'output_0']) expect(text).toContain(name);
  expect(summary(net, [5, 3]).macs).toBe(5 * 3 * 4 + 5 * 4 * 2);
  net.dispose();
});
