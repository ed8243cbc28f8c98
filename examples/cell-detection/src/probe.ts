import { optim, tensor, generalizedBoxIouLoss, bceWithLogits } from 'trireme';
import { summary, trainStep } from 'trireme/train';
import { CellDetector } from './model.js';
const net = new CellDetector();
const s = summary(net, { shape: [1, 240, 320, 3], dtype: 'uint8' });
console.log(String(s));
const n = Number(process.argv[2] ?? 8);
const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
const step = trainStep({ net, optimizer, loss: (out, _t: unknown) => bceWithLogits(out.logits, out.logits.detach().mul(0)).add(generalizedBoxIouLoss(out.boxes, out.boxes.detach().add(1))) });
net.train();
const x = tensor(Uint8Array.from({ length: n * 240 * 320 * 3 }, (_, i) => (i * 7919) % 251), { shape: [n, 240, 320, 3] });
const y = tensor([0]);
for (let i = 0; i < 40; i++) {
  const t = performance.now(); const c = process.cpuUsage();
  const l = await step.run(x, y); const v = l.item(); l.dispose();
  const u = process.cpuUsage(c);
  if (i % 3 == 0 || i > 30) console.log(i, (performance.now() - t).toFixed(0), 'ms cpu', ((u.user + u.system) / 1000).toFixed(0), v);
}
process.exit(0);
