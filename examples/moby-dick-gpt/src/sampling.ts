/** Writing text, one character after another. */
import { ArgumentError, jit, manualSeed, mul, multinomial, noGrad, softmax, type Tensor, tensor } from 'trireme';
import type { CharTokenizer } from 'trireme/data/text';
import type { Gpt } from './model.js';

export interface SampleOptions {
  readonly prompt: string;
  /** Characters to write. */
  readonly length: number;
  /** Below 1: likely characters become likelier. */
  readonly temperature: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Gets the text as it comes. */
  readonly write?: (text: string) => void;
}

/**
 * Goes on from a prompt. Keys and values of what was read stay in caches, so each character costs one step through the network.
 * When the context is full its newer half is read again and the rest forgotten.
 */
export async function sample(net: Gpt, tokenizer: CharTokenizer, options: SampleOptions): Promise<string> {
  const { prompt, length, temperature, seed, signal, write = () => undefined } = options;
  const { context } = net.options;
  const half = Math.floor(context / 2);
  const known = [...tokenizer.encode(prompt)];
  if (known.length === 0) throw new ArgumentError('the prompt is empty', { op: 'sample', expected: 'at least one character' });
  const caches = net.makeCaches();
  const training = net.training;
  net.eval();
  manualSeed(seed);
  /** The character after `tokens`, drawn by the scores of the last one. */
  const next = jit(
    (tokens: Tensor) =>
      noGrad(() => {
        const scores = net.decode(tokens, caches).select(1, -1);
        return multinomial(softmax(mul(scores, 1 / temperature), -1), 1);
      }),
    { name: 'sample' },
  );
  let unread = known.slice(-half);
  let held = 0;
  try {
    for (let i = 0; i < length; i++) {
      signal?.throwIfAborted();
      if (held + unread.length > context) {
        for (const cache of caches) cache.reset();
        unread = known.slice(-half);
        held = 0;
      }
      using tokens = tensor(Int32Array.from(unread), { shape: [1, unread.length] });
      using drawn = await next.run(tokens);
      const token = Number(drawn.item());
      held += unread.length;
      unread = [token];
      known.push(token);
      write(tokenizer.decode([token]));
    }
  } finally {
    next.dispose();
    for (const cache of caches) cache.dispose();
    net.train(training);
  }
  return tokenizer.decode(known);
}
