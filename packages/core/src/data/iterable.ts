/** Datasets that are read from start to end: streams of unknown length, files too large to index. */
import { ArgumentError } from '../errors.js';
import { type ItemContext, itemContext } from './dataset.js';
import { PhiloxStream, philoxDomain } from './philox.js';

/** What a reader of a stream asks for. */
export interface StreamContext {
  readonly epoch: number;
  readonly seed: number;
  /**
   * Whether the item at a position (0, 1, 2, ... in this epoch's stream) is wanted. A worker wants its share of the
   * batches and a resumed run wants what comes after its position; a stage that sees the context may skip the work of
   * making the others, and `stream` filters them out in any case.
   */
  wants(position: number): boolean;
}

const everything = (): boolean => true;

type Source<T> = Iterable<T> | AsyncIterable<T>;

/** The wanted items of a stage whose items are all made. */
async function* wanted<T>(source: Source<T>, wants: (position: number) => boolean): AsyncGenerator<T, void, void> {
  let position = 0;
  for await (const item of source) if (wants(position++)) yield item;
}

function checkCount(op: string, count: number, least: number): void {
  if (!Number.isSafeInteger(count) || count < least) {
    throw new ArgumentError(`the count is ${count}`, { op, received: count, expected: `a whole number, ${least} or more` });
  }
}

/**
 * A stream of items, one after the other, from the start in every epoch. Made by {@link iterable}.
 *
 * The order depends on (seed, epoch) alone. With several workers each makes the batches that are its turn, so the batches
 * come in the same order as from one; only stages before a `filter`, `shuffle`, `batch` or `flatMap` are repeated in all
 * workers, so put `map` (the decoding) after them.
 */
export class IterableDataset<T> implements AsyncIterable<T> {
  private readonly produce: (context: StreamContext) => AsyncIterable<T>;

  constructor(produce: (context: StreamContext) => AsyncIterable<T>) {
    this.produce = produce;
  }

  /** The items that the context wants. */
  iterate(context: StreamContext): AsyncIterable<T> {
    return this.produce(context);
  }

  /** All items of epoch 0 with seed 0. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.iterate({ epoch: 0, seed: 0, wants: everything })[Symbol.asyncIterator]();
  }

  /** All items of the stage before, whichever of this stage's are wanted. */
  private all(context: StreamContext): AsyncIterable<T> {
    return this.iterate({ ...context, wants: everything });
  }

  /** Passes each item through a function; `context.rng` is a function of (seed, epoch, position). */
  map<U>(transform: (item: T, context: ItemContext, position: number) => U | Promise<U>): IterableDataset<U> {
    const iterate = (context: StreamContext): AsyncIterable<T> => this.iterate(context);
    return new IterableDataset(async function* (context) {
      let position = 0;
      for await (const item of iterate(context)) {
        while (!context.wants(position)) position++;
        yield await transform(item, itemContext(context.seed, context.epoch, position), position);
        position++;
      }
    });
  }

  /** The items that a function accepts. */
  filter(accept: (item: T) => boolean | Promise<boolean>): IterableDataset<T> {
    const all = (context: StreamContext): AsyncIterable<T> => this.all(context);
    return new IterableDataset((context) =>
      wanted(
        (async function* () {
          for await (const item of all(context)) if (await accept(item)) yield item;
        })(),
        context.wants,
      ),
    );
  }

  /** Every item gives any number of items. */
  flatMap<U>(expand: (item: T) => Source<U>): IterableDataset<U> {
    const all = (context: StreamContext): AsyncIterable<T> => this.all(context);
    return new IterableDataset((context) =>
      wanted(
        (async function* () {
          for await (const item of all(context)) yield* expand(item);
        })(),
        context.wants,
      ),
    );
  }

  /** The first `count` items. */
  take(count: number): IterableDataset<T> {
    checkCount('take', count, 0);
    const iterate = (context: StreamContext): AsyncIterable<T> => this.iterate(context);
    return new IterableDataset(async function* (context) {
      // Asking for the positions up to the end tells when to stop, also where those near it are not wanted.
      let position = 0;
      if (count === 0) return;
      for await (const item of iterate({ ...context, wants: (at) => at >= count - 1 || context.wants(at) })) {
        while (position < count - 1 && !context.wants(position)) position++;
        if (context.wants(position)) yield item;
        if (++position >= count) return;
      }
    });
  }

  /** Without the first `count` items. */
  skip(count: number): IterableDataset<T> {
    checkCount('skip', count, 0);
    return new IterableDataset((context) =>
      this.iterate({ ...context, wants: (position) => position >= count && context.wants(position - count) }),
    );
  }

  /** This stream, then the others. */
  concat(...others: readonly IterableDataset<T>[]): IterableDataset<T> {
    const parts = [this as IterableDataset<T>, ...others];
    return new IterableDataset((context) =>
      wanted(
        (async function* () {
          for (const part of parts) yield* part.iterate({ ...context, wants: everything });
        })(),
        context.wants,
      ),
    );
  }

  /** Pairs with the items of another stream; ends with the shorter one. */
  zip<U>(other: IterableDataset<U>): IterableDataset<[T, U]> {
    const iterate = (context: StreamContext): AsyncIterable<T> => this.iterate(context);
    return new IterableDataset(async function* (context) {
      const second = other.iterate(context)[Symbol.asyncIterator]();
      try {
        for await (const item of iterate(context)) {
          const { done, value } = await second.next();
          if (done) return;
          yield [item, value] as [T, U];
        }
      } finally {
        await second.return?.();
      }
    });
  }

  /**
   * A random order within a window: `size` items are held, and each next one is a random one of them. A function of
   * (seed, epoch). With a size below the stream's length the order is only locally random.
   */
  shuffle(size: number): IterableDataset<T> {
    checkCount('shuffle', size, 1);
    const all = (context: StreamContext): AsyncIterable<T> => this.all(context);
    return new IterableDataset((context) => wanted(shuffled(all(context), size, context), context.wants));
  }

  /** Arrays of `size` consecutive items; the last may be shorter, or is left out with `dropLast`. */
  batch(size: number, { dropLast = false }: { readonly dropLast?: boolean } = {}): IterableDataset<T[]> {
    checkCount('batch', size, 1);
    const iterate = (context: StreamContext): AsyncIterable<T> => this.iterate(context);
    return new IterableDataset(async function* (context) {
      let items: T[] = [];
      for await (const item of iterate({ ...context, wants: (position) => context.wants(Math.floor(position / size)) })) {
        items.push(item);
        if (items.length < size) continue;
        yield items;
        items = [];
      }
      if (items.length > 0 && !dropLast) yield items;
    });
  }
}

async function* shuffled<T>(source: Source<T>, size: number, { seed, epoch }: StreamContext): AsyncGenerator<T, void, void> {
  const stream = new PhiloxStream(seed, epoch, philoxDomain.buffer);
  const held: T[] = [];
  let drawn = 0;
  for await (const item of source) {
    if (held.length < size) {
      held.push(item);
      continue;
    }
    const place = stream.below(drawn++, size);
    yield held[place];
    held[place] = item;
  }
  while (held.length > 0) {
    const place = stream.below(drawn++, held.length);
    yield held[place];
    held[place] = held[held.length - 1];
    held.pop();
  }
}

/**
 * A stream from a function that starts reading anew at each call: a generator function, or a function that opens a file.
 * The function gives all items; it may look at the epoch.
 * `iterable(() => readLines('big.txt')).shuffle(10_000).map(tokenize)`
 */
export function iterable<T>(open: (context: { readonly epoch: number; readonly seed: number }) => Source<T>): IterableDataset<T> {
  return new IterableDataset((context) => wanted(open({ epoch: context.epoch, seed: context.seed }), context.wants));
}

/** Whether a dataset is read from start to end. By its shape: it may come from another copy of the library. */
export function isIterable(dataset: object): dataset is IterableDataset<unknown> {
  return 'iterate' in dataset && typeof dataset.iterate === 'function';
}

/** Consecutive items in arrays of `size`; the last may be shorter. */
export async function* groups<T>(source: AsyncIterable<T>, size: number): AsyncGenerator<T[], void, void> {
  let items: T[] = [];
  for await (const item of source) {
    items.push(item);
    if (items.length < size) continue;
    yield items;
    items = [];
  }
  if (items.length > 0) yield items;
}
