/**
 * Contractions with very few rows whose other operand slides a window (depthwise convolution), in C: a cell copies what its
 * outputs see into scratch memory with zeros around it, then multiplies blocks of lines and vectors, each tap written out.
 */
import type { ContractPart, Coordinate } from '../../ir/kernel.js';
import { type Access, axesOf, innermost } from '../wasm/contract-access.js';
import type { WindowPlan } from '../wasm/contract-window.js';
import { entryHead } from './contract.js';
import type { CTarget } from './contract-plan.js';
import { renderEpilogue } from './epilogue.js';
import type { CKernel } from './module.js';

/** Multiplications in one block of code; beyond, the taps are a loop. */
const maxUnrolled = 160;
const cellWork = 200_000;

/** Renders a contraction that {@link planWindow} accepted. */
export function renderWindow(part: ContractPart, plan: WindowPlan, name: string, target: CTarget): CKernel {
  const { dims } = part;
  const { axes } = plan;
  const { lanes } = target;
  const extent = (d: number): number => dims[d].extent;
  const count = (list: readonly number[]): number => list.reduce((n, d) => n * extent(d), 1);
  const moves = (c: Coordinate, d: number): number => c.terms.reduce((sum, t) => sum + (t.dim === d ? t.coefficient : 0), 0);
  const boxStep = (d: number): number => axes.reduce((sum, axis) => sum + moves(axis.coordinate, d) * axis.stride, 0);

  const lane = plan.windowDims[plan.windowDims.length - 1];
  const width = extent(lane);
  const outerWindow = plan.windowDims.slice(0, -1).filter((d) => extent(d) > 1);
  const outermost = plan.windowDims.length > 1 ? plan.windowDims[0] : undefined;
  const bands = outermost === undefined ? 1 : Math.ceil(extent(outermost) / plan.band);
  const columnStride = new Map<number, number>();
  let stride = 1;
  for (const d of [...plan.columnDims].reverse()) {
    columnStride.set(d, stride);
    stride *= extent(d);
  }
  // Lines that follow one another in box and output are computed together and finished together.
  const run = outerWindow[outerWindow.length - 1];
  const runs = run !== undefined && columnStride.get(run) === width;
  const runExtent = runs ? extent(run) : 1;
  const runStep = runs ? boxStep(run) : 0;
  const runIsBand = runs && run === outermost;
  const others = outerWindow.filter((d) => d !== outermost && !(runs && d === run));
  const tileLines = Math.min(runIsBand ? plan.band : runExtent, Math.max(1, Math.floor(4096 / width)));
  const tileStride = tileLines * width + 2 * lanes;

  const vectors = Math.ceil(width / lanes);
  const accumulators = target.registers === 32 ? 14 : 6;
  const blockVectors = Math.max(1, Math.min(vectors, Math.floor(accumulators / plan.rows), 4));
  const blockLines = Math.max(1, Math.min(tileLines, Math.floor(accumulators / plan.rows / blockVectors)));
  const kDims = dims.flatMap((dim, d) => (dim.role === 'k' ? [d] : []));
  const rowStep = innermost(axesOf(plan.weights, dims, plan.rowDims)).stride;
  const kStep = innermost(axesOf(plan.weights, dims, kDims)).stride;

  const text: string[] = [renderEpilogue(part, { ...plan, dims, pitch: 0, width: 0 }, lanes, name, tileStride).text];
  const blockName = (lines: number, columns: number): string => `${name}_${lines}x${columns}`;
  const block = (lines: number, columns: number): void => {
    const cells = Array.from({ length: plan.rows }, (_, r) => r).flatMap((r) =>
      Array.from({ length: lines }, (_, y) => y).flatMap((y) => Array.from({ length: columns }, (_, v) => ({ r, y, v }))),
    );
    const c = ({ r, y, v }: { r: number; y: number; v: number }): string => `c${r}_${y}_${v}`;
    const out = [
      `static __attribute__((noinline)) void ${blockName(lines, columns)}(const float *restrict w, const float *restrict line, float *restrict tile) {`,
      `  vf ${cells.map((cell) => `${c(cell)} = {0}`).join(', ')};`,
    ];
    const tap = (weight: (r: number) => string, at: string, indent: string): void => {
      for (let r = 0; r < plan.rows; r++) {
        const own = cells.filter((cell) => cell.r === r);
        const terms = own.map((cell) => {
          const source = `*(const u_float32 *)(line + ${at} + ${cell.y * runStep + cell.v * lanes})`;
          return `${c(cell)} = FMA(x, ${source}, ${c(cell)});`;
        });
        out.push(`${indent}{ const vf x = SPLAT(${weight(r)}); ${terms.join(' ')} }`);
      }
    };
    if (plan.taps.length * cells.length <= maxUnrolled)
      plan.taps.forEach((offset, t) => {
        tap((r) => `w[${r * rowStep + t * kStep}]`, String(offset), '  ');
      });
    else {
      out.push(`  static const int32_t taps[${plan.taps.length}] = {${plan.taps.join(', ')}};`);
      out.push(`  for (int32_t t = 0; t < ${plan.taps.length}; t++) {`);
      tap((r) => `w[${r * rowStep} + t * ${kStep}]`, 'taps[t]', '    ');
      out.push('  }');
    }
    // In the order of the addresses: what a line writes beyond its end, the next one overwrites.
    for (const cell of cells) out.push(`  *(u_float32 *)(tile + ${cell.r * tileStride + cell.y * width + cell.v * lanes}) = ${c(cell)};`);
    text.push([...out, '}'].join('\n'));
  };
  // A block of several lines writes whole lines alone: beyond its last vector lies the next line, not the next vector.
  const wholeLines = blockVectors === vectors ? blockLines : 1;
  const columnBlocks = wholeLines > 1 ? [vectors] : split(vectors, Math.max(1, Math.min(vectors, Math.floor(accumulators / plan.rows), 8)));
  const lineBlocks = [...new Set([wholeLines, ...(wholeLines > 1 ? [1] : [])])];
  for (const lines of lineBlocks) for (const columns of new Set(columnBlocks)) block(lines, columns);
  if (wholeLines > 3) block(2, vectors);

  const origin = (access: Access, base: number): string => {
    const terms = [...unflat(plan.batchDims, 'batch'), ...unflat(plan.freeDims, 'free')].flatMap(([d, index]) =>
      access.strides[d] === 0 ? [] : [`(int64_t)(${index}) * ${access.strides[d]}`],
    );
    return [String(base), ...terms].join(' + ');
  };
  function unflat(list: readonly number[], flat: string): [number, string][] {
    const found: [number, string][] = [];
    let below = 1;
    for (const d of [...list].reverse()) {
      if (extent(d) > 1) found.push([d, below === 1 ? `${flat} % ${extent(d)}` : `${flat} / ${below} % ${extent(d)}`]);
      below *= extent(d);
    }
    return found;
  }
  const boxBase = axes.reduce((sum, axis) => sum + axis.coordinate.offset * axis.coordinate.stride, 0);
  const boxFloats = Math.ceil((plan.boxElements + 8 * lanes) / 16) * 16;
  const out = [
    `${entryHead(name)} {`,
    '  const uint32_t *args = (const uint32_t *)(heap + argsAt);',
    '  float *box = (float *)(heap + scratchAt);',
    `  float *tile = box + ${boxFloats};`,
    // What the copy never writes stays zero from cell to cell.
    `  for (int32_t i = 0; i < ${boxFloats}; i++) box[i] = 0;`,
    '  for (uint32_t cell = begin; cell < end; cell++) {',
    `    const int32_t band = cell % ${bands} * ${plan.band}, free = cell / ${bands} % ${count(plan.freeDims)}, batch = cell / ${bands * count(plan.freeDims)};`,
    `    const float *weights = (const float *)(heap + args[${plan.weights.buffer.param}]) + ${origin(plan.weights, plan.weights.base)};`,
    `    const float *source = (const float *)(heap + args[${plan.source.buffer.param}]) + ${origin(plan.source, plan.source.base - boxBase)};`,
    ...copyBox(),
  ];
  const columnsOf = unflat(plan.freeDims, 'free').map(([d, index]) => `${index} * ${columnStride.get(d) ?? 0}`);
  out.push(`    const int32_t firstColumn = ${columnsOf.join(' + ') || '0'}; (void)free; (void)band;`);
  const otherCount = count(others);
  out.push(`    for (int32_t other = 0; other < ${otherCount}; other++) {`);
  const otherTerms = unflat(others, 'other');
  out.push(`      const float *lines = box + ${otherTerms.map(([d, index]) => `${index} * ${boxStep(d)}`).join(' + ') || '0'};`);
  out.push(
    `      const int32_t column0 = firstColumn + ${otherTerms.map(([d, index]) => `${index} * ${columnStride.get(d) ?? 0}`).join(' + ') || '0'};`,
  );
  // The band's own lines, when they are not the run.
  const bandLines = outermost === undefined || runIsBand || extent(outermost) <= 1;
  if (!bandLines) {
    out.push(
      `      const int32_t lastBand = ${extent(outermost ?? 0)} - band < ${plan.band} ? ${extent(outermost ?? 0)} - band : ${plan.band};`,
    );
    out.push('      for (int32_t own = 0; own < lastBand; own++) {');
    out.push(`      const float *first = lines + own * ${boxStep(outermost ?? 0)};`);
    out.push(`      const int32_t columnAt = column0 + (band + own) * ${columnStride.get(outermost ?? 0) ?? 0};`);
  } else {
    out.push('      { const float *first = lines;');
    out.push(`      const int32_t columnAt = column0${runIsBand ? ` + band * ${width}` : ''};`);
  }
  out.push(
    runIsBand
      ? `      const int32_t lineCount = ${runExtent} - band < ${plan.band} ? ${runExtent} - band : ${plan.band};`
      : `      const int32_t lineCount = ${runExtent};`,
    `      for (int32_t from = 0; from < lineCount; from += ${tileLines}) {`,
    `        const int32_t until = lineCount - from < ${tileLines} ? lineCount - from : ${tileLines};`,
    '        int32_t y = 0;',
  );
  const rows = (lines: number): void => {
    out.push(`        for (; y + ${lines} <= until; y += ${lines}) {`);
    let v = 0;
    for (const columns of wholeLines > 1 ? [vectors] : columnBlocks) {
      out.push(
        `          ${blockName(lines, columns)}(weights, first + (int64_t)(from + y) * ${runStep} + ${v * lanes}, tile + y * ${width} + ${v * lanes});`,
      );
      v += columns;
    }
    out.push('        }');
  };
  if (wholeLines > 1) rows(wholeLines);
  if (wholeLines > 3) rows(2);
  rows(1);
  out.push(
    `        ${name}_epilogue(args, batch, 0, ${plan.rows}, columnAt + from * ${width}, until * ${width}, tile);`,
    '      }',
    '      }',
    '    }',
    '  }',
    '}',
  );
  text.push(out.join('\n'));

  /** Fills the box for the outputs from index `band` of the outermost window dimension on. */
  function copyBox(): string[] {
    const lines: string[] = [];
    const outer = axes.slice(0, -1);
    const inner = axes[axes.length - 1];
    let indent = '    ';
    outer.forEach((axis, i) => {
      const { coordinate } = axis;
      const step = outermost === undefined || extent(outermost) <= 1 ? 0 : moves(coordinate, outermost);
      lines.push(`${indent}for (int32_t i${i} = 0; i${i} < ${axis.length}; i${i}++) {`);
      indent += '  ';
      lines.push(`${indent}const int32_t p${i} = i${i} + (${axis.start})${step === 0 ? '' : ` + band * ${step}`};`);
    });
    const to = outer.map((axis, i) => `i${i} * ${axis.stride}`).join(' + ') || '0';
    const from = outer.map((axis, i) => `(int64_t)p${i} * ${axis.coordinate.stride}`).join(' + ') || '0';
    const exists = outer.map((axis, i) => `(uint32_t)p${i} < ${Math.max(0, axis.limit)}u`).join(' && ') || '1';
    const low = inner.coordinate.checked ? Math.max(0, -inner.start) : 0;
    const high = inner.coordinate.checked ? Math.min(inner.length, inner.coordinate.extent - inner.start) : inner.length;
    lines.push(`${indent}float *to = box + ${to};`);
    lines.push(`${indent}if (!(${exists})) { for (int32_t x = 0; x < ${plan.phaseLength * plan.laneStep}; x++) to[x] = 0; continue; }`);
    lines.push(`${indent}const float *from = source + ${from} + (${inner.start});`);
    for (let phase = 0; phase < plan.laneStep; phase++) {
      const first = low + ((((phase - low) % plan.laneStep) + plan.laneStep) % plan.laneStep);
      if (first >= high) continue;
      const length = Math.ceil((high - first) / plan.laneStep);
      const target = phase * plan.phaseLength + Math.floor(first / plan.laneStep);
      lines.push(...copyLine(indent, `to + ${target}`, `from + (${first})`, length));
    }
    for (let i = 0; i < outer.length; i++) {
      indent = indent.slice(2);
      lines.push(`${indent}}`);
    }
    // Without outer axes `continue` would skip the cell; a line alone always exists.
    return outer.length === 0 ? lines.filter((line) => !line.includes('continue;')) : lines;
  }
  function copyLine(indent: string, to: string, from: string, length: number): string[] {
    const step = plan.laneStep;
    // Two vectors hold a vector of every second element; the last one read must exist.
    const whole = step === 1 ? Math.floor(length / lanes) : step === 2 ? Math.floor((length - 1) / lanes) : 0;
    const lines = [`${indent}{ float *t = ${to}; const float *f = ${from}; int32_t x = 0; (void)x;`];
    if (whole > 0) {
      const value =
        step === 1 ? '*(const u_float32 *)(f + x)' : `EVEN(*(const u_float32 *)(f + 2 * x), *(const u_float32 *)(f + 2 * x + ${lanes}))`;
      lines.push(`${indent}  for (; x < ${whole * lanes}; x += ${lanes}) *(u_float32 *)(t + x) = ${value};`);
    }
    if (whole * lanes < length) lines.push(`${indent}  for (; x < ${length}; x++) t[x] = f[x * ${step}];`);
    lines.push(`${indent}}`);
    return lines;
  }

  const grid = count(plan.batchDims) * count(plan.freeDims) * bands;
  const perCell = (plan.rows * plan.taps.length * count(plan.windowDims)) / bands;
  const chunk = Math.max(1, Math.min(Math.ceil(grid / 16), Math.floor(cellWork / perCell)));
  return {
    text: text.join('\n'),
    preparation: null,
    phases: [[{ symbol: name, grid, chunk }]],
    workspaceBytes: 0,
    scratchBytes: 4 * (boxFloats + plan.rows * tileStride + 8 * lanes) + 64,
  };
}

/** A number as a sum of nearly equal parts of at most `most`. */
function split(total: number, most: number): number[] {
  const parts = Math.ceil(total / most);
  return Array.from({ length: parts }, (_, i) => Math.floor(((i + 1) * total) / parts) - Math.floor((i * total) / parts));
}
