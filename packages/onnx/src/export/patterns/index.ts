/** Operators of ONNX in the place of what the library composes them of. */
import type { GraphNode, Program } from 'trireme/graph';
import type { Emitter, Replacement } from '../emitter.js';
import type { Matcher } from '../match.js';
import { activationPatterns, shrinkPatterns } from './activations.js';
import { normalizationPatterns } from './normalizations.js';
import type { Pattern } from './pattern.js';
import { productPatterns } from './products.js';
import { recurrentPatterns } from './recurrent.js';
import { reductionPatterns } from './reductions.js';
import { resizePatterns } from './resize.js';

/** By the primitive that ends them; the first that fits is taken. */
const byRoot = new Map<string, Pattern[]>();
for (const pattern of [
  ...normalizationPatterns,
  ...resizePatterns,
  ...recurrentPatterns,
  ...reductionPatterns,
  ...activationPatterns,
  ...shrinkPatterns,
  ...productPatterns,
]) {
  for (const root of pattern.roots) byRoot.set(root, [...(byRoot.get(root) ?? []), pattern]);
}

/** What is written in the place of which nodes. */
export function recognise(program: Program, em: Emitter, matcher: Matcher): Map<GraphNode, Replacement> {
  const replaced = new Map<GraphNode, Replacement>();
  for (const node of program.nodes) {
    for (const pattern of byRoot.get(node.primitive.name) ?? []) {
      const found = pattern.find(node, matcher, em);
      if (found === null) continue;
      replaced.set(node, found);
      break;
    }
  }
  return replaced;
}
