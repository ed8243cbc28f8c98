/** Writes TensorBoard event files. */

import type { ImageData8 } from '../../data/vision/image.js';
import { encodePng } from '../../data/vision/png.js';
import { ArgumentError } from '../../errors.js';
import type { Program } from '../../graph/program.js';
import { nodeModule } from '../../io/node.js';
import { builtin } from '../../runtime/cpu/environment.js';
import { TensorBase } from '../../tensor/base.js';
import { readSync } from '../../tensor/data.js';
import type { Tensor } from '../../tensor/tensor.js';
import { picturesOf } from '../pictures.js';
import { graphDef } from './graph.js';
import { Message } from './protobuf.js';
import { frameRecord } from './records.js';
import {
  type Hparams,
  histogramValue,
  hparamsEnd,
  hparamsExperiment,
  hparamsStart,
  imagesValue,
  prCurveValue,
  scalarValue,
  textValue,
} from './summaries.js';

/** Values of a tensor or on the host. */
export type Values = Tensor | ArrayLike<number>;

export interface SummaryWriterOptions {
  /** Milliseconds for which events may wait in memory. Default 5000. */
  readonly flushInterval?: number;
  /** Events from this step on of earlier files in the directory are dropped by TensorBoard: for resumed runs. */
  readonly purgeStep?: number;
}

/** Where the bytes of an event file go, for environments without files. */
export type EventSink = (bytes: Uint8Array) => void | Promise<void>;

let files = 0;

const hostArray = (values: Values): ArrayLike<number | bigint> => (values instanceof TensorBase ? readSync(values as Tensor) : values);
const numbers = (values: Values): ArrayLike<number> => {
  const host = hostArray(values);
  return host instanceof BigInt64Array ? Array.from(host, Number) : (host as ArrayLike<number>);
};

/**
 * An event file for TensorBoard: `tensorboard --logdir DIR` shows it while it grows. Methods only gather; bytes go out now and
 * then, at flush() and at close(). PyTorch's SummaryWriter has the same methods.
 */
export class SummaryWriter {
  private readonly target: string | EventSink;
  private readonly interval: number;
  private path: string | null = null;
  private waiting: (Uint8Array | Promise<Uint8Array>)[] = [];
  private flushing: Promise<void> = Promise.resolve();
  private flushedAt = performance.now();
  private closed = false;

  /** A directory, made when needed (Node), or a function that takes the bytes. */
  constructor(target: string | EventSink, { flushInterval = 5000, purgeStep }: SummaryWriterOptions = {}) {
    this.target = target;
    this.interval = flushInterval;
    this.event(0, (event) => event.string(3, 'brain.Event:2'));
    // SessionLog.START
    if (purgeStep !== undefined) this.event(purgeStep, (event) => event.message(7, new Message().int(1, 1)));
  }

  private event(step: number, fill: (event: Message) => void): void {
    if (!Number.isSafeInteger(step) || step < 0) {
      throw new ArgumentError(`the step is ${step}`, { op: 'SummaryWriter', received: step, expected: 'a whole number, 0 or more' });
    }
    this.add(frameRecord(encodeEvent(step, fill)));
  }
  private add(record: Uint8Array | Promise<Uint8Array>): void {
    if (this.closed) throw new ArgumentError('the writer is closed', { op: 'SummaryWriter', fix: 'Make another one.' });
    this.waiting.push(record);
    if (performance.now() - this.flushedAt > this.interval) void this.flush().catch(() => undefined);
  }
  private summary(step: number, value: Message): void {
    this.event(step, (event) => event.message(5, new Message().message(1, value)));
  }

  addScalar(tag: string, value: number, step: number): void {
    this.summary(step, scalarValue(tag, value));
  }
  /** Any number of values, in buckets. */
  addHistogram(tag: string, values: Values, step: number, { buckets = 30 }: { readonly buckets?: number } = {}): void {
    this.summary(step, histogramValue(tag, hostArray(values), buckets));
  }
  /** Markdown. */
  addText(tag: string, text: string, step: number): void {
    this.summary(step, textValue(tag, text));
  }
  /** Pictures: [C, H, W] or [N, C, H, W] with C = 1, 3 or 4, floats from 0 to 1 or uint8; or pixels. All of one size. */
  addImage(tag: string, image: Tensor | ImageData8 | readonly ImageData8[], step: number): void {
    const pictures = picturesOf(image);
    const { width, height } = pictures[0];
    const encode = async (): Promise<Uint8Array> => {
      const value = imagesValue(tag, width, height, await Promise.all(pictures.map(encodePng)));
      return frameRecord(encodeEvent(step, (event) => event.message(5, new Message().message(1, value)), time));
    };
    const time = Date.now() / 1000;
    const made = encode();
    made.catch(() => undefined);
    this.add(made);
  }
  /** Precision over recall. Labels are 0 or 1, predictions probabilities. */
  addPrCurve(
    tag: string,
    labels: Values,
    predictions: Values,
    step: number,
    { thresholds = 127 }: { readonly thresholds?: number } = {},
  ): void {
    this.summary(step, prCurveValue(tag, numbers(labels), numbers(predictions), thresholds));
  }
  /** The graph of a Program, for example `jitted.programs[0].program`. `names` names its inputs by place. */
  addGraph(program: Program, names?: ReadonlyMap<number, string>): void {
    this.event(0, (event) => event.bytes(4, graphDef(program, names)));
  }
  /**
   * A row of the hyperparameter table: the run's hyperparameters, and the tags of scalars that are its results. Call
   * endHparams() at the end of the run.
   */
  addHparams(hparams: Hparams, metrics: readonly string[], { group = '' }: { readonly group?: string } = {}): void {
    const seconds = Date.now() / 1000;
    this.summary(0, hparamsExperiment(hparams, metrics, seconds));
    this.summary(0, hparamsStart(hparams, seconds, group));
  }
  endHparams(success: boolean): void {
    this.summary(0, hparamsEnd(success, Date.now() / 1000));
  }

  /** Writes what waits. */
  flush(): Promise<void> {
    this.flushedAt = performance.now();
    this.flushing = this.flushing.then(async () => {
      const waiting = await Promise.all(this.waiting.splice(0));
      if (waiting.length > 0) await this.write(waiting);
    });
    return this.flushing;
  }
  private async write(records: readonly Uint8Array[]): Promise<void> {
    const bytes = new Uint8Array(records.reduce((n, record) => n + record.length, 0));
    let position = 0;
    for (const record of records) {
      bytes.set(record, position);
      position += record.length;
    }
    if (typeof this.target !== 'string') {
      await this.target(bytes);
      return;
    }
    const fs = await nodeModule('node:fs/promises', 'SummaryWriter');
    if (this.path === null) {
      const { join } = await nodeModule('node:path', 'SummaryWriter');
      await fs.mkdir(this.target, { recursive: true });
      const host = (builtin('node:os')?.hostname() ?? 'localhost').replace(/[^A-Za-z0-9.-]/g, '_');
      this.path = join(this.target, `events.out.tfevents.${Math.floor(Date.now() / 1000)}.${host}.${process.pid}.${files++}`);
    }
    await fs.appendFile(this.path, bytes);
  }
  /** Writes what waits; nothing can be added after it. */
  async close(): Promise<void> {
    this.closed = true;
    await this.flush();
  }
}

/** event.proto */
function encodeEvent(step: number, fill: (event: Message) => void, seconds = Date.now() / 1000): Uint8Array {
  const event = new Message().double(1, seconds);
  if (step > 0) event.int(2, step);
  fill(event);
  return event.finish();
}
