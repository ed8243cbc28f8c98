/** From scores of characters at each step to text: connectionist temporal classification, the best path. */

export interface Decoded {
  readonly text: string;
  /** Mean probability of its characters; 0 without any. */
  readonly score: number;
}

/** Class 0 is the blank; the file's characters follow, then the space. */
export function alphabetOf(file: string): readonly string[] {
  return ['', ...file.replace(/\n$/, '').split(/\r?\n/), ' '];
}

/** Probabilities [steps, classes] of one line, from element `start` on: repeats count once, blanks separate. */
export function decodeLine(values: Float32Array, start: number, steps: number, alphabet: readonly string[]): Decoded {
  const classes = alphabet.length;
  let text = '';
  let [sum, count, last] = [0, 0, 0];
  for (let t = 0; t < steps; t++) {
    const row = start + t * classes;
    let best = 0;
    for (let c = 1; c < classes; c++) if (values[row + c] > values[row + best]) best = c;
    if (best !== 0 && best !== last) {
      text += alphabet[best];
      sum += values[row + best];
      count++;
    }
    last = best;
  }
  return { text, score: count === 0 ? 0 : sum / count };
}
