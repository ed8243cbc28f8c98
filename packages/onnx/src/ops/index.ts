/** All operators, by domain. */

import { activationOps } from './activation.js';
import { arithmeticOps } from './arithmetic.js';
import { attentionOps, previewOps } from './attention.js';
import { bitCastOps } from './bitcast.js';
import { castOps } from './cast.js';
import { controlOps } from './control.js';
import { convOps } from './conv.js';
import { createOps } from './create.js';
import type { OpFunction, OpTable } from './definition.js';
import { detectionOps } from './detection.js';
import { gatherOps } from './gather.js';
import { imageOps } from './image.js';
import { linearOps } from './linear.js';
import { logicOps } from './logic.js';
import { lossOps } from './loss.js';
import { mathOps } from './math.js';
import { microsoftAttentionOps } from './microsoft-attention.js';
import { fusedOps, strayOps } from './microsoft-fused.js';
import { microsoftQuantizedOps } from './microsoft-quantized.js';
import { mlOps } from './ml.js';
import { treeOps } from './ml-trees.js';
import { ngramOps } from './ngrams.js';
import { normalizationOps } from './normalization.js';
import { partOps } from './parts.js';
import { poolOps } from './pool.js';
import { quantizeOps } from './quantize.js';
import { quantizedOps } from './quantized.js';
import { randomOps } from './random.js';
import { recurrentOps } from './recurrent.js';
import { reduceOps } from './reduce.js';
import { resizeOps } from './resize.js';
import { scatterOps } from './scatter.js';
import { selectOps } from './select.js';
import { sequenceOps } from './sequence.js';
import { shapeOps } from './shape.js';
import { signalOps } from './signal.js';
import { stringOps } from './strings.js';
import { trainingOps } from './training.js';

/** Entries of one operator: old forms by the opset they are in force up to, ascending; the present form has Infinity. */
type Forms = readonly { readonly upTo: number; readonly run: OpFunction }[];

/** Finds operators by domain, name and version. */
export class OpRegistry {
  readonly #domains = new Map<string, Map<string, Forms>>();

  /** Adds tables; an entry replaces one of the same name and version from before. */
  register(domain: string, tables: readonly OpTable[]): void {
    const known = this.#domains.get(domain) ?? new Map<string, Forms>();
    this.#domains.set(domain, known);
    for (const table of tables) {
      for (const [key, run] of Object.entries(table)) {
        const at = key.indexOf('@');
        const name = at < 0 ? key : key.slice(0, at);
        const upTo = at < 0 ? Number.POSITIVE_INFINITY : Number(key.slice(at + 1));
        const others = (known.get(name) ?? []).filter((form) => form.upTo !== upTo);
        known.set(
          name,
          [...others, { upTo, run }].sort((a, b) => a.upTo - b.upTo),
        );
      }
    }
  }
  find(domain: string, name: string, opset: number): OpFunction | undefined {
    return this.#domains
      .get(domain)
      ?.get(name)
      ?.find((form) => opset <= form.upTo)?.run;
  }
  /** Names of the operators of a domain, sorted. */
  names(domain: string): readonly string[] {
    return [...(this.#domains.get(domain)?.keys() ?? [])].sort();
  }
  /** The same entries and more. */
  extended(domain: string, tables: readonly OpTable[]): OpRegistry {
    const copy = new OpRegistry();
    for (const [name, entries] of this.#domains) copy.#domains.set(name, new Map(entries));
    copy.register(domain, tables);
    return copy;
  }
}

/** The operators of this package. */
export const operators = new OpRegistry();
operators.register('', [
  activationOps,
  arithmeticOps,
  attentionOps,
  bitCastOps,
  castOps,
  controlOps,
  convOps,
  createOps,
  detectionOps,
  gatherOps,
  imageOps,
  linearOps,
  logicOps,
  lossOps,
  mathOps,
  ngramOps,
  normalizationOps,
  partOps,
  poolOps,
  quantizeOps,
  quantizedOps,
  randomOps,
  recurrentOps,
  reduceOps,
  resizeOps,
  scatterOps,
  selectOps,
  sequenceOps,
  shapeOps,
  signalOps,
  strayOps,
  stringOps,
]);
operators.register('ai.onnx.ml', [mlOps, treeOps]);
operators.register('com.microsoft', [fusedOps, microsoftAttentionOps, microsoftQuantizedOps]);
operators.register('ai.onnx.preview', [previewOps]);
operators.register('ai.onnx.preview.training', [trainingOps]);
