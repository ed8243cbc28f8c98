/** TfIdfVectorizer. */
import { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';

/** A tree of n-grams: the words that may follow, and the n-gram that ends here. */
interface Branch {
  /** Position in `ngram_indexes`. */
  ngram: number | null;
  readonly next: Map<string, Branch>;
}

const branch = (): Branch => ({ ngram: null, next: new Map() });

/** The pool lists all 1-grams, then all 2-grams, and so on; `starts[n - 1]` is where those of n words begin. */
function growTree(pool: readonly string[], starts: readonly number[], shortest: number, longest: number): Branch {
  const root = branch();
  let ngram = 0;
  starts.forEach((start, i) => {
    const words = i + 1;
    const end = starts[i + 1] ?? pool.length;
    for (let at = start; at + words <= end; at += words) {
      if (words >= shortest && words <= longest) {
        let node = root;
        for (const word of pool.slice(at, at + words)) {
          let following = node.next.get(word);
          if (following === undefined) {
            following = branch();
            node.next.set(word, following);
          }
          node = following;
        }
        node.ngram = ngram;
      }
      ngram++;
    }
  });
  return root;
}

/** Calls `found` for every n-gram of the tree in the row, whose words stand 1, 2, ... `skips` + 1 places apart. */
function scan(
  row: readonly string[],
  root: Branch,
  shortest: number,
  longest: number,
  skips: number,
  found: (ngram: number) => void,
): void {
  for (let distance = 1; distance <= skips + 1; distance++) {
    // Single words have no distance: they count once.
    const least = distance > 1 ? Math.max(shortest, 2) : shortest;
    if (least > longest) return;
    for (let start = 0; start < row.length; start++) {
      let node = root;
      for (let words = 1, at = start; words <= longest && at < row.length; words++, at += distance) {
        const following = node.next.get(row[at]);
        if (following === undefined) break;
        node = following;
        if (words >= least && node.ngram !== null) found(node.ngram);
      }
    }
  }
}

function poolOf(ctx: OpContext): readonly string[] {
  const { attrs } = ctx;
  if (attrs.has('pool_strings')) return attrs.strings('pool_strings');
  return attrs.has('pool_int64s') ? attrs.ints('pool_int64s').map(String) : ctx.fail('there is no pool', 'pool_strings or pool_int64s');
}

export const ngramOps = {
  TfIdfVectorizer: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    if (x.shape.length > 2) ctx.fail(`shape [${x.shape.join(', ')}]`, 'one or two dimensions');
    const { attrs } = ctx;
    const mode = attrs.string('mode');
    if (mode !== 'TF' && mode !== 'IDF' && mode !== 'TFIDF') ctx.fail(`mode "${mode}"`, 'TF, IDF or TFIDF');
    const [shortest, longest] = [attrs.int('min_gram_length'), attrs.int('max_gram_length')];
    const places = attrs.ints('ngram_indexes');
    const weights = attrs.has('weights') ? attrs.floats('weights') : null;
    const root = growTree(poolOf(ctx), attrs.ints('ngram_counts'), shortest, longest);
    const width = Math.max(-1, ...places) + 1;
    const rows = x.shape.length === 2 ? x.shape[0] : 1;
    const length = rows === 0 ? 0 : sizeOf(x.shape) / rows;
    const words = Array.from(x.host as ArrayLike<string | number | bigint>, String);
    const counts = new Float32Array(rows * width);
    // Runtimes read weight i for place i of the result, which is n-gram i where the places are in order.
    const weightOf = (i: number): number => weights?.[i % width] ?? 1;
    for (let row = 0; row < rows; row++) {
      scan(words.slice(row * length, (row + 1) * length), root, shortest, longest, attrs.int('max_skip_count'), (ngram) => {
        counts[row * width + places[ngram]]++;
      });
    }
    const result = mode === 'TF' ? counts : counts.map((n, i) => (mode === 'IDF' ? Math.min(n, 1) : n) * weightOf(i));
    return TensorValue.ofHost(result, 'float32', x.shape.length === 2 ? [rows, width] : [width]);
  },
} satisfies OpTable;
