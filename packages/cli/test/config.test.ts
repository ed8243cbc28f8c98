/** What a configuration file may say, and what is told when it says something else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as nn from 'trireme/nn';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { layers } from '../src/catalog/layers.js';
import { losses } from '../src/catalog/losses.js';
import { metricClasses } from '../src/catalog/metrics.js';
import { optimizers } from '../src/catalog/optimizers.js';
import { transformFunctions } from '../src/catalog/transforms.js';
import { definitionOf, plainConfig } from '../src/config/definition.js';
import { ConfigDocument, formatPath, parsePath, parseValue } from '../src/config/document.js';
import { build } from '../src/config/named.js';
import { type Config, configSchema, jsonSchema, readDocument } from '../src/config/read.js';
import { ConfigError, formatProblem } from '../src/errors.js';
import { applyOptions } from '../src/options.js';
import { nearest } from '../src/suggest.js';
import { flowers } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'x.yaml');

function read(text: string, settings: Readonly<Record<string, string>> = {}): { document: ConfigDocument; config: Config } {
  writeFileSync(file, text);
  const document = ConfigDocument.read(file);
  for (const [key, value] of Object.entries(settings)) document.set(parsePath(key), parseValue(value));
  return { document, config: readDocument(document, configSchema) };
}
/** The problems as `line:column: text`. */
function problems(text: string, settings?: Readonly<Record<string, string>>): string[] {
  try {
    const { document, config } = read(text, settings);
    definitionOf(document, config);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((p) => formatProblem(p).replace(`${file}:`, ''));
    throw error;
  }
  return [];
}

/** The configuration with one of its lines replaced. */
const changed = (line: string, by: string): string => {
  expect(flowers).toContain(line);
  return flowers.replace(line, by);
};

describe('a configuration', () => {
  test('reads to plain data that reads back to itself', () => {
    const { config } = read(flowers);
    expect(config).toMatchObject({
      epochs: 2,
      data: { type: 'csv', path: join(folder, 'flowers.csv'), batchSize: 16 },
      metrics: [{ name: 'Accuracy' }, { name: 'F1Score' }],
    });
    expect(read(stringify(plainConfig(config))).config).toEqual(config);
  });

  test.each([
    [
      'epochs: 2',
      'epoch: 2',
      ['2:1: epoch: is no key here. Did you mean epochs?', '1:1: the key epochs is missing. Expected a whole number, 1 or more.'],
    ],
    ['epochs: 2', 'epochs: 0.5', ['2:9: epochs: is 0.5. Expected a whole number, 1 or more.']],
    ['  - ReLU', '  - Relu', ['6:5: model[1]: there is no layer "Relu". Did you mean ReLU?']],
    ['  - ReLU', '  - ReLU: 3', ['6:11: model[1].ReLU: is 3. Expected nothing.']],
    [
      '  - ReLU',
      '  - ReLU: {}\n    Tanh: {}',
      ['6:5: model[1]: has the keys ReLU, Tanh. Expected one layer. Write one layer an entry, with its arguments inside: ReLU: { … }.'],
    ],
    ['[4, 16]', '[4, 16, 3]', ['5:13: model[0].Linear: Linear got 3 arguments. Expected at most 2: inFeatures, outFeatures.']],
    ['[4, 16]', '[4, 16, { bais: false }]', ['5:23: model[0].Linear[2].bais: is no argument of Linear. Did you mean bias?']],
    ['[4, 16]', '[4]', ['5:13: model[0].Linear: Linear needs outFeatures. Expected a whole number, 1 or more.']],
    [
      '  - ReLU',
      '  - GRU: [3, 4]',
      [expect.stringContaining('6:5: model[1].GRU: there is no layer "GRU". nn.GRU is not for a plain list of layers')],
    ],
    ['0.1', '1.5', ['7:14: model[2].Dropout: is 1.5. Expected a number, 0 or more, at most 1.']],
    ['type: csv', 'type: cvs', [expect.stringMatching(/^10:9: data\.type: is "cvs"\. Expected csv, .*Did you mean csv\?$/)]],
    ['  batchSize: 16', '  batchsize: 16', ['14:3: data.batchsize: is no key here. Did you mean batchSize?']],
    ['validation: 0.2', 'validation: 20', ['13:24: data.split.validation: is 20. Expected a number, 0 or more, below 1.']],
    ['CrossEntropyLoss', 'CrossEntropy', ['15:7: loss: there is no loss "CrossEntropy". Did you mean CrossEntropyLoss?']],
    [
      'lr: 0.02',
      'beta: 1',
      [
        '16:27: optimizer.beta: is no argument of AdamW. Did you mean betas?',
        '16:12: optimizer: AdamW needs lr. Expected a number, above 0.',
      ],
    ],
    [
      'lr: 0.02',
      'lr: 0.02, betas: [0.9]',
      ['16:44: optimizer.betas: has 1 entries. Expected a list of 2: each a number, 0 or more, below 1.'],
    ],
    ['OneCycleLR: { maxLr: 0.05 }', 'ReduceLROnPlateau: {}', []],
    ['metrics:', 'warmupSteps: 3\nscheduleMonitor: valLoss\nmetrics:', ['19:18: scheduleMonitor: OneCycleLR follows no measure.']],
    [
      'F1Score',
      'F1Score: { average: maco }',
      ['18:41: metrics[1].F1Score.average: is "maco". Expected binary, micro, macro, weighted or none. Did you mean macro?'],
    ],
    [
      'metrics:',
      'checkpoint: { monitor: valAcuracy }\nmetrics:',
      ['18:24: checkpoint.monitor: there is no measure valAcuracy. Did you mean valAccuracy?'],
    ],
    ['seed: 4', 'seed: 4\nseed: 5', ['4:1: Map keys must be unique. Expected YAML 1.2.']],
    ['seed: 4', 'seed: [', [expect.stringMatching(/^\d+:\d+: .*Expected YAML 1\.2\.$/)]],
  ])('%s as %s', (line, by, expected) => {
    const found = problems(changed(line, by));
    if (by.endsWith('[')) expect(found.length).toBeGreaterThan(0);
    else expect(found).toEqual(expected);
  });

  test('tells everything that is wrong at once', () => {
    expect(problems(changed('epochs: 2', 'epochs: x').replace('ReLU', 'ReLUU').replace('lr: 0.02', 'lr: -1'))).toHaveLength(3);
  });

  test('of numbers that a layer refuses names the layer', () => {
    expect(problems(changed('  - ReLU', '  - GroupNorm: [3, 16]'))).toEqual([]);
    const { document, config } = read(changed('  - ReLU', '  - GroupNorm: [3, 16]'));
    expect(() => definitionOf(document, config).net({})).toThrow(/x\.yaml:6:5: model\[1\]: GroupNorm: 16 channels in 3 groups/);
  });

  test('cannot be made endless by aliases', () => {
    expect(problems('a: &a [*a]\nmodel: *a\n').length).toBeGreaterThan(0);
    expect(problems('model: &m\n  - Sequential: *m\n').some((p) => p.includes('nested too deeply'))).toBe(true);
  });

  test('is changed from the command line', () => {
    const settings = {
      'optimizer.lr': '1e-3',
      'model[0].Linear[1]': '8',
      'model.3.Linear.inFeatures': '8',
      schedule: 'null',
      metrics: '[]',
      'log.csv': 'true',
    };
    const { config } = read(flowers, settings);
    expect(config).toMatchObject({ optimizer: { args: { lr: 1e-3 } }, metrics: [], log: { csv: true } });
    expect(config.schedule).toBeUndefined();
    expect(plainConfig(config.model)).toMatchObject([
      { Linear: { inFeatures: 4, outFeatures: 8 } },
      'ReLU',
      {},
      { Linear: { inFeatures: 8 } },
    ]);
    expect(problems(flowers, { 'optimizer.lrr': '1' })[0]).toMatch(
      /with the options of the command line: optimizer\.lrr: is no argument of AdamW/,
    );
    expect(() => read(flowers, { 'epochs.x': '1' })).toThrow(/epochs\.x cannot be set/);
  });
});

test('keys are read as they are written', () => {
  for (const text of ['a', 'a.b', 'model[0].Linear[1]', 'a[0][1].b']) expect(formatPath(parsePath(text))).toBe(text);
  expect(() => parsePath('a..b')).toThrow(/is no key/);
});

test('options keep the type of their defaults', () => {
  const defaults = { lr: 0.1, name: 'a', deep: { on: true, sizes: [1, 2] }, free: null };
  const change = (key: string, text: string): unknown =>
    applyOptions(defaults, [{ path: parsePath(key), value: parseValue(text), from: 'test' }]);
  expect(change('lr', '1e-3')).toEqual({ ...defaults, lr: 1e-3 });
  expect(change('name', '1.10')).toEqual({ ...defaults, name: '1.1' });
  expect(change('deep', '{ on: false }')).toEqual({ ...defaults, deep: { on: false, sizes: [1, 2] } });
  expect(change('deep.sizes', '[3]')).toEqual({ ...defaults, deep: { on: true, sizes: [3] } });
  expect(change('deep.sizes[1]', '5')).toEqual({ ...defaults, deep: { on: true, sizes: [1, 5] } });
  expect(change('free', '[1, x]')).toEqual({ ...defaults, free: [1, 'x'] });
  expect(() => change('deep.on', 'yes')).toThrow(/deep\.on: is "yes"\. Expected true or false/);
  expect(() => change('deep.sizes', '[a]')).toThrow(/Expected a list/);
  expect(() => change('deep.size', '1')).toThrow(/Did you mean sizes\?/);
});

test('suggestions are near, or none', () => {
  expect(nearest('optimzer', ['optimizer', 'output'])).toBe('optimizer');
  expect(nearest('CrossEntropy', ['MSELoss', 'CrossEntropyLoss'])).toBe('CrossEntropyLoss');
  expect(nearest('zebra', ['optimizer', 'output'])).toBeNull();
});

describe('what can be named', () => {
  /** An argument by its name. */
  const samples: Readonly<Record<string, unknown>> = {
    layers: [{ name: 'ReLU', args: {} }],
    shape: [2, 2],
    outputSize: 2,
    dim: 1,
    value: 0,
    bits: 4,
    degrees: 10,
    p: 2,
  };
  test('every layer is the class of that name', () => {
    for (const [name, entry] of Object.entries(layers)) {
      const needed = entry.positional.filter((p) => p.needed).map((p) => [p.name, samples[p.name] ?? 2] as const);
      const layer = build(layers, {
        name,
        args: { ...Object.fromEntries(needed), ...(name.startsWith('Upsampl') ? { scaleFactor: 2 } : {}) },
      });
      expect(layer).toBeInstanceOf(nn.Module);
      // A bundler may put a mark before the name.
      expect(layer.constructor.name.replace(/^_/, '')).toBe(name);
      expect(Object.hasOwn(nn, name)).toBe(true);
      for (const t of [...layer.parameters(), ...layer.buffers()]) t.dispose();
    }
  });
  test('losses, metrics and transforms are made without arguments where none is needed', () => {
    for (const name of Object.keys(losses)) expect(build(losses, { name, args: {} }).constructor.name).toBe(name);
    for (const name of Object.keys(metricClasses)) expect(build(metricClasses, { name, args: {} }).constructor.name).toBe(name);
    for (const [name, { positional }] of Object.entries(transformFunctions)) {
      const args = Object.fromEntries(positional.map((p) => [p.name, samples[p.name] ?? 2]));
      expect(build(transformFunctions, { name, args })).toBeTypeOf('function');
    }
    expect(Object.keys(optimizers)).toContain('Adafactor');
  });
  test('class weights become a tensor', () => {
    const loss = build(losses, { name: 'CrossEntropyLoss', args: { weight: [1, 2, 3] } }) as nn.CrossEntropyLoss;
    expect(loss.buffers()[0]?.toArray() ?? (loss as unknown as { weight: { toArray(): unknown } }).weight.toArray()).toEqual([1, 2, 3]);
    for (const t of loss.buffers()) t.dispose();
  });
  test('the JSON Schema knows every key and layer', () => {
    const text = JSON.stringify(jsonSchema());
    for (const key of configSchema.keys) expect(text).toContain(`"${key}":`);
    for (const name of Object.keys(layers)) expect(text).toContain(`"${name}"`);
    expect(JSON.parse(text)).toHaveProperty(['$defs', 'layers', 'items']);
  });
});
