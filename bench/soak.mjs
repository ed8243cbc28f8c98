/**
 * Does memory stay put without any babysitting? Four loops that never dispose of anything, each in a process of its own:
 *   eager     a million eager steps
 *   jit       a million calls of a compiled function
 *   train     a training loop, forward, backward and update, results dropped
 *   throw     steps that throw half-way: in the forward pass, between backward and update, while a function is traced
 * Each samples its resident memory; after the loop and a collection the live tensors have to be those from before.
 *
 *   node bench/soak.mjs            all of it (many minutes), and the picture docs/soak.svg
 *   node bench/soak.mjs --short    a tenth of it or less, for continuous integration: pass or fail
 *   node bench/soak.mjs --only jit,train
 */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Steps in the long form and in the short one. */
const SCENARIOS = {
  eager: { title: 'eager steps', long: 1_000_000, short: 100_000 },
  jit: { title: 'jit calls', long: 1_000_000, short: 100_000 },
  train: { title: 'training steps', long: 200_000, short: 20_000 },
  throw: { title: 'steps that throw', long: 50_000, short: 24_000 },
};
/** @typedef {keyof typeof SCENARIOS} ScenarioName */

/** Resident memory may grow this much between the second fifth of a run and the last one. */
const GROWTH_MB = 24;
const GROWTH_SHARE = 0.1;
/** Live tensors that may be left over (cached scalars). */
const LEFTOVERS = 16;
const SAMPLES = 200;

const { values: flags } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    scenario: { type: 'string' },
    steps: { type: 'string' },
  },
});

/**
 * The loops. Each gives back a step; nothing in them frees anything.
 * @param {typeof import('trireme')} tr
 * @returns {Record<ScenarioName, () => (i: number) => void>}
 */
function loops(tr) {
  const { jit, matmul, mseLoss, ones, randn, relu, tensor } = tr;

  /** A small regression network, its optimiser and its data. */
  const network = () => {
    tr.manualSeed(1);
    const params = [randn([32, 64]).mul(0.1), randn([64, 1]).mul(0.1)].map((p) =>
      tensor(p.dataSync(), { shape: p.shape, requiresGrad: true }),
    );
    const optimizer = new tr.optim.Adam(params, { lr: 1e-3 });
    const x = randn([64, 32]);
    const y = x.sum(1, true);
    const lossOf = () => mseLoss(matmul(relu(matmul(x, params[0])), params[1]), y);
    return { params, optimizer, x, y, lossOf };
  };

  return {
    eager: () => {
      const a = randn([64, 64]);
      return (i) => {
        const b = a.mul(0.5).add(i % 7);
        if (i % 1000 === 0 && !Number.isFinite(b.sum().item())) throw new Error('not a number');
      };
    },
    jit: () => {
      const a = randn([64, 64]);
      const f = jit((/** @type {import('trireme').Tensor} */ x) => x.mul(0.5).add(1).tanh());
      return (i) => {
        const b = f(a);
        if (i % 1000 === 0 && !Number.isFinite(b.sum().item())) throw new Error('not a number');
      };
    },
    train: () => {
      const { optimizer, lossOf } = network();
      let first = Number.NaN;
      return (i) => {
        optimizer.zeroGrad();
        const loss = lossOf();
        loss.backward();
        optimizer.step();
        if (i === 0) first = loss.item();
        if (i === 1000 && !(loss.item() < first)) throw new Error(`the loss does not fall: ${first}, after 1000 steps ${loss.item()}`);
      };
    },
    throw: () => {
      const { params, optimizer, x, lossOf } = network();
      const wrong = ones([3, 3]);
      let thrown = 0;
      const expectThrow = (/** @type {() => unknown} */ work) => {
        try {
          work();
        } catch {
          thrown++;
        }
      };
      return (i) => {
        // A shape error in the middle of a forward pass.
        expectThrow(() => matmul(relu(matmul(x, params[0])), wrong));
        // An error of the user's between backward and update.
        expectThrow(() => {
          optimizer.zeroGrad();
          lossOf().backward();
          throw new Error('from a callback');
        });
        // An error while a function is recorded: reading a value, then a shape error.
        expectThrow(() => jit((/** @type {import('trireme').Tensor} */ v) => v.add(1).sum().item())(x));
        expectThrow(() => jit((/** @type {import('trireme').Tensor} */ v) => matmul(relu(v), wrong))(x));
        // Inside a scope.
        expectThrow(() => tr.scope(() => matmul(x.mul(2), wrong)));
        if (thrown !== 5 * (i + 1)) throw new Error(`${5 * (i + 1) - thrown} of ${5 * (i + 1)} bad calls went through`);
        // And the good step after them still works.
        optimizer.zeroGrad();
        const loss = lossOf();
        loss.backward();
        optimizer.step();
      };
    },
  };
}

/** The child: one loop, a JSON line a sample. */
async function runScenario(/** @type {ScenarioName} */ name, /** @type {number} */ steps) {
  const tr = await import('trireme');
  const step = loops(tr)[name]();
  const say = (/** @type {unknown} */ message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  const settle = async () => {
    for (let i = 0; i < 5; i++) {
      tr.collectGarbage();
      await nextTurn();
    }
    return tr.memoryInfo().storages;
  };
  step(0);
  const before = await settle();
  const begin = performance.now();
  let highStorages = 0;
  for (let i = 1; i < steps; i++) {
    step(i);
    if (i % 500 === 0) highStorages = Math.max(highStorages, tr.memoryInfo().storages);
    if (i % Math.ceil(steps / SAMPLES) === 0) {
      say({ step: i, rss: process.memoryUsage.rss(), live: tr.memoryInfo().bytes });
      // Only here does the event loop turn; in between tens of thousands of steps run in one go.
      await nextTurn();
    }
  }
  const seconds = (performance.now() - begin) / 1000;
  const after = await settle();
  say({ done: true, before, after, highStorages, seconds, peak: process.resourceUsage().maxRSS * 1024 });
}

/**
 * @typedef {{ step: number, rss: number, live: number }} Sample
 * @typedef {{ name: ScenarioName, steps: number, samples: Sample[], problems: string[], end: any }} Outcome
 */

/** The parent's view of one loop. */
async function watch(/** @type {ScenarioName} */ name, /** @type {number} */ steps) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--scenario', name, '--steps', String(steps)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  /** @type {Outcome} */
  const outcome = { name, steps, samples: [], problems: [], end: undefined };
  const closed = new Promise((resolve) => child.on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const message = JSON.parse(line);
    if (message.done) outcome.end = message;
    else outcome.samples.push(message);
  }
  const code = await closed;
  if (code !== 0 || outcome.end === undefined) {
    outcome.problems.push(`ended with code ${code}`);
    return outcome;
  }
  const { before, after } = outcome.end;
  if (after > before + LEFTOVERS) outcome.problems.push(`${after - before} tensors were left over (${before} before, ${after} after)`);
  const [early, late] = [0.2, 0.8].map((from) => middle(outcome.samples, from));
  const growth = late - early;
  if (growth > Math.max(GROWTH_MB * 1e6, GROWTH_SHARE * early)) {
    outcome.problems.push(
      `resident memory grew by ${(growth / 1e6).toFixed(0)} MB (from ${(early / 1e6).toFixed(0)} to ${(late / 1e6).toFixed(0)})`,
    );
  }
  return outcome;
}

/** Median resident memory over a fifth of a run. */
function middle(/** @type {Sample[]} */ samples, /** @type {number} */ from) {
  const part = samples.slice(Math.floor(from * samples.length), Math.floor((from + 0.2) * samples.length)).map((s) => s.rss);
  return part.sort((a, b) => a - b)[part.length >> 1] ?? 0;
}

/** Resident memory over time, a panel a loop, on a common scale. */
function picture(/** @type {Outcome[]} */ outcomes) {
  const [panelWidth, panelHeight, margin, gap] = [380, 170, 52, 46];
  const columns = 2;
  const rows = Math.ceil(outcomes.length / columns);
  const width = margin + columns * (panelWidth + gap);
  const height = 40 + rows * (panelHeight + gap + 16);
  const top = Math.max(...outcomes.flatMap((o) => o.samples.map((s) => s.rss / 1e6)), 50) * 1.1;
  const grid = niceStep(top / 4);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#1f2933">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${margin}" y="22" font-size="15" font-weight="600">Resident memory (MB) of loops that dispose of nothing</text>`,
  ];
  for (const [k, { name, samples, steps, end }] of outcomes.entries()) {
    const x0 = margin + (k % columns) * (panelWidth + gap);
    const y0 = 56 + Math.floor(k / columns) * (panelHeight + gap + 16);
    const y = (/** @type {number} */ mb) => y0 + panelHeight - (mb / top) * panelHeight;
    parts.push(
      `<text x="${x0}" y="${y0 - 6}" font-weight="600">${steps.toLocaleString('en')} ${SCENARIOS[name].title}, ${Math.round(end?.seconds ?? 0)} s</text>`,
    );
    for (let mb = 0; mb <= top; mb += grid) {
      parts.push(`<line x1="${x0}" x2="${x0 + panelWidth}" y1="${y(mb).toFixed(1)}" y2="${y(mb).toFixed(1)}" stroke="#d9e0e6"/>`);
      parts.push(`<text x="${x0 - 6}" y="${(y(mb) + 4).toFixed(1)}" text-anchor="end" fill="#5c6b78">${mb}</text>`);
    }
    const line = (/** @type {(s: Sample) => number} */ value) =>
      samples.map((s) => `${(x0 + (s.step / steps) * panelWidth).toFixed(1)},${y(value(s) / 1e6).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${line((s) => s.live)}" fill="none" stroke="#e08a2e" stroke-width="1.2"/>`);
    parts.push(`<polyline points="${line((s) => s.rss)}" fill="none" stroke="#1d6fb8" stroke-width="1.8"/>`);
    parts.push(`<text x="${x0}" y="${y0 + panelHeight + 16}" fill="#5c6b78">0</text>`);
    parts.push(
      `<text x="${x0 + panelWidth}" y="${y0 + panelHeight + 16}" text-anchor="end" fill="#5c6b78">step ${steps.toLocaleString('en')}</text>`,
    );
  }
  parts.push(
    `<text x="${margin}" y="${height - 8}"><tspan fill="#1d6fb8">■</tspan> process <tspan fill="#e08a2e">■</tspan> tensors</text>`,
    '</svg>',
  );
  return `${parts.join('\n')}\n`;
}

/** The next of 1, 2, 5 times a power of ten. */
function niceStep(/** @type {number} */ raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10);
}

if (flags.scenario !== undefined) {
  await runScenario(/** @type {ScenarioName} */ (flags.scenario), Number(flags.steps));
} else {
  const known = /** @type {ScenarioName[]} */ (Object.keys(SCENARIOS));
  const asked = flags.only?.split(',') ?? known;
  const unknown = asked.find((name) => !known.includes(/** @type {ScenarioName} */ (name)));
  if (unknown !== undefined) {
    process.stderr.write(`--only: "${unknown}" is not known. There are: ${known.join(', ')}.\n`);
    process.exit(2);
  }
  /** @type {Outcome[]} */
  const outcomes = [];
  for (const name of known.filter((n) => asked.includes(n))) {
    const outcome = await watch(name, SCENARIOS[name][flags.short ? 'short' : 'long']);
    outcomes.push(outcome);
    const { samples, end, problems, steps } = outcome;
    const mb = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(0);
    const numbers = end
      ? `${mb(middle(samples, 0.2))} -> ${mb(middle(samples, 0.8))} MB, peak ${mb(end.peak)} MB, live tensors ${end.before} -> ${end.after} (at most ${end.highStorages}), ${end.seconds.toFixed(1)} s`
      : '';
    process.stdout.write(
      `${problems.length === 0 ? 'pass' : 'FAIL'}  ${name}: ${steps} ${SCENARIOS[name].title}: ${[numbers, ...problems].filter((t) => t !== '').join('; ')}\n`,
    );
  }
  if (!flags.short && flags.only === undefined) {
    const docs = fileURLToPath(new URL('../docs/', import.meta.url));
    mkdirSync(docs, { recursive: true });
    writeFileSync(`${docs}soak.svg`, picture(outcomes));
  }
  process.exitCode = outcomes.every((o) => o.problems.length === 0) ? 0 : 1;
}
