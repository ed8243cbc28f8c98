/** From what the network says to boxes, and how good they are. */
import { batchedNms, scope, tensor } from 'trireme';
import { type DetectionPrediction, MeanAveragePrecision } from 'trireme/metrics';
import type { ArrayResult, MetricLike } from 'trireme/train';
import type { Detections } from './model.js';
import type { Targets } from './targets.js';

/** What is in a photo, best first. */
export interface Found extends DetectionPrediction {
  /** [n, 4] left, top, right, bottom. */
  readonly boxes: Float32Array;
  readonly scores: Float32Array;
  readonly labels: Int32Array;
}

export interface DetectOptions {
  readonly scoreThreshold?: number;
  readonly iouThreshold?: number;
  readonly maxDetections?: number;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Candidates above the threshold, and of those that overlap within a class the best. */
export function findBoxes(
  logits: ArrayResult,
  boxes: ArrayResult,
  { scoreThreshold = 0.02, iouThreshold = 0.5, maxDetections = 100 }: DetectOptions = {},
): Found[] {
  const [photos, cells, classes] = logits.shape;
  const least = Math.log(scoreThreshold / (1 - scoreThreshold));
  return Array.from({ length: photos }, (_, n): Found => {
    const candidates: { readonly box: readonly number[]; readonly score: number; readonly label: number }[] = [];
    for (let i = 0; i < cells * classes; i++) {
      const logit = Number(logits.data[n * cells * classes + i]);
      if (logit < least) continue;
      const at = 4 * (n * cells + Math.floor(i / classes));
      candidates.push({ box: Array.from(boxes.data.subarray(at, at + 4), Number), score: sigmoid(logit), label: i % classes });
    }
    const kept = scope(() => {
      const all = tensor(Float32Array.from(candidates.flatMap(({ box }) => box)), { shape: [candidates.length, 4] });
      const scores = tensor(Float32Array.from(candidates, ({ score }) => score));
      const labels = tensor(Int32Array.from(candidates, ({ label }) => label));
      return Array.from(batchedNms(all, scores, labels, { iouThreshold, maxDetections }).dataSync(), (i) => candidates[Number(i)]);
    });
    return {
      boxes: Float32Array.from(kept.flatMap(({ box }) => box)),
      scores: Float32Array.from(kept, ({ score }) => score),
      labels: Int32Array.from(kept, ({ label }) => label),
    };
  });
}

/** Mean average precision of the network's outputs, at an overlap of 0.5 and after COCO. */
export class DetectionScore implements MetricLike<Detections, Targets> {
  readonly name = 'map';
  private readonly measure = new MeanAveragePrecision();

  update({ logits, boxes }: Detections, { truth }: Targets): void {
    const found = findBoxes({ data: logits.dataSync(), shape: logits.shape }, { data: boxes.dataSync(), shape: boxes.shape });
    const [photos, most] = truth.shape;
    const rows = truth.dataSync();
    const targets = Array.from({ length: photos }, (_, n) => {
      const objects: number[][] = [];
      for (let i = 0; i < most; i++) {
        const row = Array.from(rows.subarray(5 * (n * most + i), 5 * (n * most + i + 1)), Number);
        if (row[0] >= 0) objects.push(row);
      }
      return { labels: objects.map(([label]) => label), boxes: objects.flatMap(([, ...box]) => box) };
    });
    this.measure.update(found, targets);
  }
  compute(): Readonly<Record<string, number>> {
    const { map, map50, map75 } = this.measure.compute();
    return { map50, map75, map };
  }
  reset(): void {
    this.measure.reset();
  }
}
