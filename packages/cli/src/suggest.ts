/** The known name that a misspelt one was probably meant to be. */

/** Insertions, deletions, replacements and exchanges of neighbours (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = last[j - 1] + Number(a[i - 1] !== b[j - 1]);
      let best = Math.min(replace, last[j] + 1, row[j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2] + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length];
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');

/** The nearest name, null when none is near: at most a third of the letters differ, or one is the beginning of the other. */
export function nearest(name: string, known: Iterable<string>): string | null {
  const wanted = plain(name);
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const other = plain(candidate);
    const shorter = Math.min(wanted.length, other.length);
    const begins = shorter >= 3 && (other.startsWith(wanted) || wanted.startsWith(other));
    const d = begins ? Math.min(distance(wanted, other), 1.5) : distance(wanted, other);
    const longer = Math.max(wanted.length, other.length);
    if (d < least && (begins || d <= (longer < 3 ? 0 : Math.max(1, Math.floor(longer / 3))))) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

/** `Did you mean "epochs"?`, or the known names where there are few; undefined when nothing helps. */
export function suggestion(name: string, known: readonly string[]): string | undefined {
  const near = nearest(name, known);
  if (near !== null) return `Did you mean ${near}?`;
  return known.length > 0 && known.length <= 40 ? `Known are ${known.join(', ')}.` : undefined;
}
