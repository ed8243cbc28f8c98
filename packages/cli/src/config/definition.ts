/** A configuration file as a run. */
import { pathToFileURL } from 'node:url';
import { type Tensor, TriremeError } from 'trireme';
import * as nn from 'trireme/nn';
import { LinearWarmup } from 'trireme/optim';
import { type CompileOptions, type Schedule, summary, validationName } from 'trireme/train';
import { callbackClasses } from '../catalog/callbacks.js';
import { layers } from '../catalog/layers.js';
import { losses } from '../catalog/losses.js';
import { metricClasses } from '../catalog/metrics.js';
import { optimizers } from '../catalog/optimizers.js';
import { schedules } from '../catalog/schedules.js';
import { ConfigError, reasonOf } from '../errors.js';
import type { AnyDefinition, Options, RunDefinition } from '../run.js';
import { openData, predictFiles } from '../sources/index.js';
import { suggestion } from '../suggest.js';
import type { ConfigDocument, KeyPath } from './document.js';
import { build, isNamed, plainNamed } from './named.js';
import type { Config } from './read.js';

/** A message of the library at a place of the file. */
export function located(document: ConfigDocument, path: KeyPath, error: unknown): unknown {
  if (!(error instanceof TriremeError)) return error;
  return new ConfigError(document.find(path).problem(error.message), error);
}

function at<T>(document: ConfigDocument, path: KeyPath, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw located(document, path, error);
  }
}

async function importedNet(
  document: ConfigDocument,
  { script, export: name, options }: Extract<Config['model'], { readonly script: string }>,
): Promise<nn.Module> {
  const wrong = (key: string, message: string, expected?: string): ConfigError =>
    new ConfigError(document.find(['model', key]).problem(message, expected));
  let exports: Readonly<Record<string, unknown>>;
  try {
    exports = (await import(pathToFileURL(script).href)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw new ConfigError(document.find(['model', 'script']).problem(`${script} could not be loaded: ${reasonOf(error)}`), error);
  }
  const made = Object.hasOwn(exports, name) ? exports[name] : undefined;
  if (made === undefined) throw wrong('export', `${script} exports no ${name}.`, Object.keys(exports).join(', '));
  const isClass = typeof made === 'function' && made.prototype instanceof nn.Module;
  const net: unknown = isClass
    ? new (made as unknown as new (o: unknown) => unknown)(options)
    : typeof made === 'function'
      ? await (made as (o: unknown) => unknown)(options)
      : made;
  if (net instanceof nn.Module) return net as nn.Module;
  throw wrong(
    'export',
    `${name} of ${script} gave no module of this copy of trireme.`,
    'a function that returns an nn.Module, or a class of one',
  );
}

/** A network with its loss, to follow shapes through both before anything runs. */
class WithLoss extends nn.Module<[input: Tensor, target: Tensor]> {
  private readonly net: nn.Module;
  private readonly loss: nn.Module<[Tensor, Tensor]>;
  constructor(net: nn.Module, loss: nn.Module<[Tensor, Tensor]>) {
    super();
    this.net = net;
    this.loss = loss;
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return this.loss.call(this.net.call(input), target);
  }
}

/** Follows a batch's shapes through the network and the loss. @throws ConfigError at the layer that does not fit */
export function checkShapes(
  document: ConfigDocument,
  config: Config,
  net: nn.Module,
  batch: readonly [input: Tensor, target: Tensor],
): void {
  const spec = ({ shape, dtype }: Tensor) => ({ shape, dtype });
  const [input, target] = batch;
  const explain = (error: unknown, fallback: KeyPath): unknown => {
    if (!(error instanceof TriremeError)) return error;
    // `Sequential.3`, and `WithLoss.net.3`.
    const index = /\.(\d+)/.exec(error.layer)?.[1];
    const path = index === undefined || !Array.isArray(config.model) ? fallback : ['model', Number(index)];
    const shapes = `inputs are ${input.dtype} [${input.shape.join(', ')}], targets ${target.dtype} [${target.shape.join(', ')}]`;
    return new ConfigError({ ...document.find(path).problem(error.message), fix: `The data's ${shapes} (batch first).` }, error);
  };
  try {
    summary(net, spec(input));
  } catch (error) {
    throw explain(error, ['model']);
  }
  try {
    summary(new WithLoss(net, build(losses, config.loss)), [spec(input), spec(target)]);
  } catch (error) {
    throw explain(error, ['loss']);
  }
}

function compileOptions(document: ConfigDocument, config: Config): CompileOptions<[Tensor], Tensor, Tensor> {
  const { clipGradNorm, clipGradValue, accumulate, autocast, ema, jit } = config;
  const given = Object.fromEntries(
    Object.entries({ clipGradNorm, clipGradValue, accumulate, autocast, ema, jit }).filter(([, v]) => v !== undefined),
  );
  return {
    loss: at(document, ['loss'], () => build(losses, config.loss)),
    optimizer: (parameters) => at(document, ['optimizer'], () => build(optimizers, config.optimizer)(parameters)),
    metrics: config.metrics.map((metric, i) => at(document, ['metrics', i], () => build(metricClasses, metric))),
    ...(config.schedule === undefined ? {} : { schedule: scheduleOf(document, config, config.schedule) }),
    ...given,
  };
}

function scheduleOf(document: ConfigDocument, config: Config, named: NonNullable<Config['schedule']>): Schedule {
  const { warmupSteps = 0, scheduleMonitor: monitor } = config;
  const plateau = named.name === 'ReduceLROnPlateau';
  const interval = config.scheduleEvery ?? (plateau ? 'epoch' : 'step');
  return {
    interval,
    ...(plateau ? { monitor: monitor ?? 'loss' } : {}),
    scheduler: (optimizer, plan) =>
      at(document, ['schedule'], () => {
        const length = (): number => Math.max(1, (interval === 'step' ? plan.steps : plan.epochs) - warmupSteps);
        const schedule = build(schedules, named)(optimizer, length);
        return warmupSteps === 0 ? schedule : new LinearWarmup(schedule, { steps: warmupSteps });
      }),
  };
}

/** The measures that are followed are there. */
function checkMonitors(document: ConfigDocument, config: Config): void {
  const { data, checkpoint, callbacks, scheduleMonitor } = config;
  const own = ['loss', ...config.metrics.map((metric) => build(metricClasses, metric).name)];
  const held = data.validation !== undefined || (data.split?.validation ?? 0) > 0;
  const known = [...own, ...(held ? own.map(validationName) : [])];
  const followed: (readonly [KeyPath, unknown])[] = [
    [['checkpoint', 'monitor'], checkpoint?.monitor],
    [['scheduleMonitor'], scheduleMonitor],
    ...callbacks.map(({ name, args }, i) => [['callbacks', i, name, 'monitor'], args.monitor] as const),
  ];
  for (const [path, name] of followed) {
    // Measures with several values are told apart by a dot: f1.0, f1.1.
    if (typeof name !== 'string' || known.includes(name.split('.')[0])) continue;
    const fix =
      !held && name.startsWith('val') ? 'There is no validation data: data.split.validation or data.validation.' : suggestion(name, known);
    throw new ConfigError(document.find(path).problem(`there is no measure ${name}.`, undefined, fix));
  }
}

/** What does not follow from single keys. */
function checkTogether(document: ConfigDocument, config: Config): void {
  const problem = (path: KeyPath, message: string, expected?: string): never => {
    throw new ConfigError(document.find(path).problem(message, expected));
  };
  if (config.schedule === undefined) {
    for (const key of ['scheduleEvery', 'scheduleMonitor', 'warmupSteps'] as const) {
      if (config[key] !== undefined) problem([key], 'is given without a schedule.', 'the key schedule');
    }
  } else if (config.schedule.name === 'ReduceLROnPlateau') {
    if (config.scheduleEvery === 'step') problem(['scheduleEvery'], 'ReduceLROnPlateau follows a measure of the epochs.', 'epoch');
  } else if (config.scheduleMonitor !== undefined) problem(['scheduleMonitor'], `${config.schedule.name} follows no measure.`);
  const names = config.callbacks.map((c) => c.name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0) problem(['callbacks', twice], `${names[twice]} is there twice.`);
  const { data } = config;
  checkMonitors(document, config);
  if ('text' in data && (data.text === undefined) !== (data.tokenizer === undefined)) {
    problem(['data'], 'text and tokenizer belong together.', 'both of them, or none');
  }
}

/** The run of a checked configuration. */
export function definitionOf(document: ConfigDocument, config: Config): AnyDefinition {
  checkTogether(document, config);
  const { model, data, input } = config;
  const definition: RunDefinition<Options, [Tensor], Tensor, Tensor, unknown> = {
    name: config.name,
    epochs: config.epochs,
    seed: config.seed,
    output: config.output,
    validateEvery: config.validateEvery,
    checkpoint: config.checkpoint,
    log: config.log,
    deterministic: config.deterministic,
    net: () =>
      Array.isArray(model)
        ? new nn.Sequential(...model.map((layer, i) => at(document, ['model', i], () => build(layers, layer))))
        : importedNet(document, model),
    data: async (context) => {
      try {
        return (await openData(data, context, config.loss.name)) as never;
      } catch (error) {
        if (!(error instanceof ConfigError) || error.problems.some((p) => p.line !== undefined)) throw located(document, ['data'], error);
        // The keys are known, the place in the file follows from them.
        throw new ConfigError(
          error.problems.map((p) => {
            const { file, line, column } = document.find((p.key ?? 'data').split('.')).problem('');
            const where = p.file === undefined || p.file === document.file ? '' : `${p.file}: `;
            return { ...p, file, line, column, key: p.key ?? 'data', message: `${where}${p.message}` };
          }),
          error,
        );
      }
    },
    compile: () => compileOptions(document, config),
    callbacks: () => config.callbacks.map((one, i) => at(document, ['callbacks', i], () => build(callbackClasses, one))),
    predict: (context) => predictFiles(data, config.loss.name, context as never),
    ...(input === undefined ? {} : { example: () => [1, ...input] }),
  };
  // The network checks its own losses once here, so that a wrong one is told before any data is read.
  at(document, ['optimizer'], () => build(optimizers, config.optimizer));
  compileOptions(document, config);
  return Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== undefined)) as unknown as AnyDefinition;
}

/** The configuration as plain data that reads back to itself. */
export function plainConfig(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainConfig);
  if (typeof value !== 'object' || value === null) return value;
  if (isNamed(value)) return plainNamed(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainConfig(item)]));
}
