import { optim, deterministic } from 'trireme';
import { DataLoader, workerDataset, defaultCollate, withCollate } from 'trireme/data';
import { Model, ProgressBar, fieldTensor, HtmlReport } from 'trireme/train';
import { CellDetector, architecture, type Detections } from './model.js';
import { loadPhotos, plainItems, type Item } from './photos.js';
import { detectionLoss, type Targets } from './targets.js';
import { DetectionScore } from './detect.js';
import type { Tensor } from 'trireme';
const t0 = performance.now();
const epochs = Number(process.argv[2] ?? 10);
const folder = '/work/shared/data/bccd/BCCD';
const val = await loadPhotos(folder, 'val', architecture);
console.log('loaded', performance.now() - t0);
const items = await workerDataset<any>(new URL('./photos.js', import.meta.url), 'makeVariedItems', { folder, set: 'train', settings: { width: 320, height: 240, classNames: [...architecture.classNames] }, plainFrom: Math.floor(epochs * 0.85) });
console.log('loaded', performance.now() - t0);
for (let i = 0; i < 20; i++) { const t = performance.now(); await items.get(i); console.log((performance.now() - t).toFixed(1)); }
const net = new CellDetector();
const collate = defaultCollate as any;
const loader = new DataLoader<Item, any>(items, { batchSize: 8, shuffle: true, dropLast: true, seed: 1, workers: 1, prefetch: 3, collate });
const held = new DataLoader<Item, any>(plainItems(val) as any, { batchSize: 8, collate });
const toTensors = (b: any) => [fieldTensor(b.image), { classes: fieldTensor(b.classes), boxes: fieldTensor(b.boxes), truth: fieldTensor(b.truth) }] as const;
const model = new Model<[Tensor], Detections, Targets>(net).compile({
  optimizer: (p) => new optim.AdamW(p, { lr: 1e-3, weightDecay: 0.05 }),
  loss: detectionLoss, metrics: [new DetectionScore()], ema: { decay: 0.998, warmup: true, buffers: true }, clipGradNorm: 10,
  schedule: (o, { steps }) => new optim.OneCycleLR(o, { maxLr: 3e-3, totalSteps: steps, pctStart: 0.15 }),
});
const h = await model.fit(loader, { epochs, validation: held, validateEvery: 5, toTensors, trainMetrics: false, seed: 1, callbacks: [new ProgressBar({ output: process.stderr })] });
for (const e of h.epochs) console.log(JSON.stringify(e));
await model.save('/tmp/cells/try.safetensors');
process.exit(0);
