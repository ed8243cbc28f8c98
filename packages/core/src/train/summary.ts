/** What a network is made of: a table of its layers. */
import { dtypeInfo } from '../dtype.js';
import { lowerProgram } from '../graph/compile.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { Program } from '../graph/program.js';
import type { AnyModule, Module } from '../nn/module.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ExampleInput, isOneInput, traceNet } from './trace-net.js';

export interface LayerSummary {
  /** `encoder.0.linear`; '' for the network itself. */
  readonly path: string;
  /** Name of its class. */
  readonly type: string;
  /** 0 for the network itself. */
  readonly depth: number;
  /** Calls in one forward pass; 0 for modules that it does not use. */
  readonly calls: number;
  /** Shapes of the outputs of the last call. */
  readonly outputShapes: readonly (readonly number[])[];
  /** Elements of the parameters of this module and those below, each counted once. */
  readonly parameters: number;
  /** Multiply-adds of the contractions (matrix products, convolutions) of this module and those below. */
  readonly macs: number;
  /** Two for each multiply-add. */
  readonly flops: number;
  /** Bytes of parameters and buffers of this module and those below. */
  readonly parameterBytes: number;
  /** Bytes of the outputs of all calls of this module. */
  readonly outputBytes: number;
}

export interface NetSummary {
  readonly layers: readonly LayerSummary[];
  readonly parameters: number;
  /** Of these, those that are trained. */
  readonly trainable: number;
  readonly macs: number;
  readonly flops: number;
  readonly inputBytes: number;
  readonly parameterBytes: number;
  /** Outputs of all layers: about what training keeps for the backward pass. */
  readonly activationBytes: number;
  /** Working memory of the compiled forward pass, beside inputs, parameters and outputs. */
  readonly inferenceBytes: number;
  /** The table as text. */
  toString(): string;
}

/** Multiply-adds of the contractions in a Program, by the module path of the nodes; bodies of scans count once for each round. */
function countMacs(program: Program, times: number, outer: string, add: (path: string, macs: number) => void): void {
  for (const { primitive, inputs, attrs, scope, subprograms } of program.nodes) {
    const { lowering } = primitive;
    const path = scope === '' ? outer : scope;
    if (lowering.kind === 'contract') {
      const spec = lowering.spec(
        inputs.map((o) => ({ dtype: o.value.dtype, shape: o.layout.shape })),
        attrs,
      );
      add(path, times * spec.dims.reduce((n, dim) => n * dim.extent, 1));
    }
    const rounds = lowering.kind === 'control' && lowering.control === 'scan' ? Number(attrs.length) : 1;
    for (const body of subprograms) countMacs(body, times * rounds, path, add);
  }
}

const bytesOf = (tensors: Iterable<Tensor>): number => {
  let bytes = 0;
  for (const t of tensors) bytes += t.numel * dtypeInfo[t.dtype].bytes;
  return bytes;
};

/**
 * Shapes, parameters, FLOPs and memory of each layer, for inputs of the given shapes (batch dimension included): one example
 * tensor, shape or `{ shape, dtype }`, or a list with one for each argument of forward(). Nothing is computed: the forward pass
 * is recorded in evaluation mode.
 *
 *   console.log(String(summary(net, [1, 3, 224, 224])));
 */
export function summary<Args extends readonly unknown[]>(
  net: Module<Args, unknown>,
  inputs: ExampleInput | readonly ExampleInput[],
): NetSummary {
  const examples = isOneInput(inputs) ? [inputs] : inputs;
  const { program, calls } = traceNet(net, examples);
  const own = new Map<string, number>();
  countMacs(program, 1, '', (path, macs) => own.set(path, (own.get(path) ?? 0) + macs));

  const pathsOf = new Map<AnyModule, Set<string>>();
  for (const { module, path } of calls) {
    const paths = pathsOf.get(module);
    if (paths) paths.add(path);
    else pathsOf.set(module, new Set([path]));
  }
  const layers: LayerSummary[] = [];
  for (const [path, module] of net.namedModules()) {
    const made = calls.filter((call) => call.module === module);
    const below = new Set(module.modules().flatMap((m) => [...(pathsOf.get(m) ?? [])]));
    let macs = 0;
    for (const [where, n] of own) if (below.has(where)) macs += n;
    layers.push({
      path,
      type: module.constructor.name,
      depth: path === '' ? 0 : path.split('.').length,
      calls: made.length,
      outputShapes: made.at(-1)?.outputs.map((o) => o.shape) ?? [],
      parameters: module.parameters().reduce((n, p) => n + p.numel, 0),
      macs,
      flops: 2 * macs,
      parameterBytes: bytesOf(module.parameters()) + bytesOf(module.buffers()),
      outputBytes: made.flatMap((call) => call.outputs).reduce((n, o) => n + sizeOf(o.shape) * dtypeInfo[o.dtype].bytes, 0),
    });
  }
  const [root] = layers;
  const leaves = layers.filter((layer) => !layers.some((other) => other.path !== layer.path && isBelow(other.path, layer.path)));
  const all = Array.from(own.values()).reduce((n, m) => n + m, 0);
  const result = {
    layers,
    parameters: root.parameters,
    trainable: net.parameters().reduce((n, p) => n + (p.requiresGrad ? p.numel : 0), 0),
    macs: all,
    flops: 2 * all,
    inputBytes: program.inputs.slice(0, examples.length).reduce((n, v) => n + sizeOf(v.shape) * dtypeInfo[v.dtype].bytes, 0),
    parameterBytes: root.parameterBytes,
    activationBytes: leaves.reduce((n, layer) => n + layer.outputBytes, 0),
    inferenceBytes: lowerProgram(program).arenaBytes,
  };
  return { ...result, toString: () => table(result) };
}

function isBelow(path: string, parent: string): boolean {
  return parent === '' ? path !== '' : path.startsWith(`${parent}.`);
}

/** Three figures and a unit: `1.25 M`, `12.3 G`; small whole numbers as they are. */
function formatCount(n: number): string {
  if (n < 1000) return String(n);
  const units = ['k', 'M', 'G', 'T', 'P'];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(3)} ${units[unit]}`;
}

/** Decimal units: `1.25 MB`. */
function formatBytes(bytes: number): string {
  return bytes < 1000 ? `${bytes} B` : `${formatCount(bytes)}B`;
}

function table({ layers, ...totals }: Omit<NetSummary, 'toString'>): string {
  const head = ['layer', 'output', 'parameters', 'FLOPs', 'weights', 'output size'];
  const rows = layers.map((layer) => [
    `${'  '.repeat(layer.depth)}${layer.path === '' ? layer.type : `${layer.path.split('.').at(-1)}: ${layer.type}`}${layer.calls > 1 ? ` (${layer.calls} calls)` : ''}`,
    layer.calls === 0 ? 'not used' : layer.outputShapes.map(formatShape).join(' '),
    layer.parameters === 0 ? '-' : layer.parameters.toLocaleString('en'),
    layer.flops === 0 ? '-' : formatCount(layer.flops),
    layer.parameterBytes === 0 ? '-' : formatBytes(layer.parameterBytes),
    formatBytes(layer.outputBytes),
  ]);
  const widths = head.map((title, k) => Math.max(title.length, ...rows.map((row) => row[k].length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((text, k) => (k < 2 ? text.padEnd(widths[k]) : text.padStart(widths[k])))
      .join('  ')
      .trimEnd();
  const rule = '─'.repeat(widths.reduce((n, w) => n + w, 0) + 2 * (widths.length - 1));
  return [
    line(head),
    rule,
    ...rows.map(line),
    rule,
    `parameters ${totals.parameters.toLocaleString('en')}, trained ${totals.trainable.toLocaleString('en')}`,
    `FLOPs ${formatCount(totals.flops)} (${formatCount(totals.macs)} multiply-adds of matrix products and convolutions)`,
    `memory: input ${formatBytes(totals.inputBytes)}, weights ${formatBytes(totals.parameterBytes)}, outputs of all layers ${formatBytes(totals.activationBytes)}, compiled forward pass ${formatBytes(totals.inferenceBytes)}`,
  ].join('\n');
}
