/** What runs in C once sums are complete: the epilogue's statements, along the lanes where it can. */
import { CompilerError } from '../../errors.js';
import { type Expr, type LoopVar, operands } from '../../ir/expr.js';
import type { ContractDim, ContractPart, Stmt } from '../../ir/kernel.js';
import { slope } from '../wasm/contract-epilogue.js';
import { normalize } from '../wasm/normalize.js';
import { CWriter } from './writer.js';

/** How the output's dimensions are counted. */
export interface OutputShape {
  readonly dims: readonly ContractDim[];
  readonly batchDims: readonly number[];
  readonly rowDims: readonly number[];
  readonly columnDims: readonly number[];
  /** Columns lie `pitch` apart from one line of `width` to the next, those between are not columns; both 0: there are none between. */
  readonly pitch: number;
  readonly width: number;
}

/** Whether every address moves by `extent` steps of `inner` with each step of `outer`, and nothing else depends on them. */
function runsOn(statements: readonly Stmt[], outer: LoopVar, inner: LoopVar, extent: number): boolean {
  const seen = new Set<Expr>();
  const address = (e: Expr): boolean => {
    const [a, b] = [slope(e, outer), slope(e, inner)];
    return a !== null && b !== null && a === b * extent;
  };
  const value = (e: Expr): boolean => {
    if (seen.has(e)) return true;
    seen.add(e);
    if (e.kind === 'index') return e.variable !== outer && e.variable !== inner;
    if (e.kind === 'load') return address(e.index) && (e.guard === null || value(e.guard));
    return operands(e).every(value);
  };
  return statements.every((s) => {
    switch (s.kind) {
      case 'declare':
      case 'assign':
      case 'accumulate':
        return value(s.value);
      case 'store':
        return address(s.index) && value(s.value);
      case 'if':
        return value(s.condition) && runsOn([...s.then, ...s.otherwise], outer, inner, extent);
      case 'for':
      case 'while':
        return false;
      default:
        return s satisfies never;
    }
  });
}

/**
 * `NAME_epilogue(args, batch, firstRow, height, firstColumn, width, sums)`: finishes a block whose sums lie in `sums`, `rowStride`
 * floats from one row to the next. With `vectors`, where it can: `NAME_prefetch(args, batch, firstRow, height, firstColumn)` asks for the memory of so many vectors
 * of each row.
 */
export function renderEpilogue(
  part: ContractPart,
  shape: OutputShape,
  lanes: number,
  name: string,
  rowStride: number,
  vectors = 0,
): { readonly text: string; readonly prefetches: boolean } {
  const { dims } = shape;
  const outputs = dims.flatMap((dim, d) => (dim.role === 'k' ? [] : [d]));
  // The last dimension of the columns runs along the lanes, and with it those that follow on it in every address.
  const wide = shape.columnDims.filter((d) => dims[d].extent > 1);
  const laneDim = wide[wide.length - 1];
  const merged: number[] = [];
  let laneExtent = laneDim === undefined ? 1 : dims[laneDim].extent;
  for (let i = wide.length - 2; i >= 0 && shape.pitch === 0; i--) {
    const [outer, inner] = [wide[i], laneDim].map((d) => part.outputVars[outputs.indexOf(d)]);
    if (!runsOn(part.epilogue, outer, inner, laneExtent)) break;
    merged.push(wide[i]);
    laneExtent *= dims[wide[i]].extent;
  }
  const extentOf = (d: number): number => (d === laneDim ? laneExtent : merged.includes(d) ? 1 : dims[d].extent);
  const normal = normalize({
    body: part.epilogue,
    outer: part.outputVars.map((variable, i) => ({ variable, extent: extentOf(outputs[i]) })),
    given: [part.result],
  });
  const result = normal.locals.get(part.result);
  if (!result) throw new CompilerError('an epilogue lost its result');
  const variableOf = (d: number): LoopVar => {
    const variable = normal.variables.get(part.outputVars[outputs.indexOf(d)]);
    if (!variable) throw new CompilerError('an epilogue lost its variables');
    return variable;
  };
  const unflatten = (w: CWriter, which: readonly number[], flat: string): void => {
    let below = 1;
    for (const d of [...which].reverse()) {
      const variable = variableOf(d);
      const { extent } = dims[d];
      const text = extent === 1 ? '0' : below === 1 ? `(${flat}) % ${extent}` : `(${flat}) / ${below} % ${extent}`;
      const own = `d${d}`;
      w.line(`const int32_t ${own} = ${text};`);
      w.bind(variable, own);
      w.changed(variable);
      below *= extent;
    }
  };
  const others = shape.columnDims.filter((d) => d !== laneDim && !merged.includes(d));
  const outerColumns = others.reduce((n, d) => n * dims[d].extent, 1);
  const prefetch = new CWriter(normal, lanes);
  let places = 0;
  if (laneDim !== undefined && outerColumns === 1 && shape.pitch === 0 && vectors > 0) {
    prefetch.pointers('args');
    unflatten(prefetch, shape.batchDims, 'batch');
    prefetch.block('for (int32_t r = 0; r < height; r++)', () => {
      prefetch.line('const int32_t row = firstRow + r;');
      unflatten(prefetch, shape.rowDims, 'row');
      for (const d of [...merged, ...others]) prefetch.bind(variableOf(d), '0');
      prefetch.bind(variableOf(laneDim), 'firstColumn');
      places = prefetch.prefetch(normal.body, variableOf(laneDim), result, vectors);
    });
  }
  const w = new CWriter(normal, lanes);
  w.pointers('args');
  unflatten(w, shape.batchDims, 'batch');
  w.block('for (int32_t r = 0; r < height; r++)', () => {
    w.line('const int32_t row = firstRow + r;');
    unflatten(w, shape.rowDims, 'row');
    w.line(`const float *line = sums + r * ${rowStride};`);
    const scalar = (): void => {
      w.line(`const float acc = line[c];`);
      w.bind(result, 'acc');
      w.changed(result);
      w.body(normal.body);
    };
    if (laneDim === undefined) {
      for (const d of shape.columnDims) {
        w.bind(variableOf(d), '0');
        w.changed(variableOf(d));
      }
      w.line('const int32_t c = 0;');
      scalar();
      return;
    }
    const lane = variableOf(laneDim);
    for (const d of merged) {
      w.bind(variableOf(d), '0');
      w.changed(variableOf(d));
    }
    const extent = extentOf(laneDim);
    w.block('for (int32_t c = 0; c < width;)', () => {
      w.line('const int32_t column = firstColumn + c;');
      if (shape.pitch > 0) {
        // Columns between the lines were computed in vain.
        w.line(`const int32_t y = column / ${shape.pitch}, x = column % ${shape.pitch};`);
        w.line(`if (x >= ${shape.width}) { c += ${shape.pitch} - x; continue; }`);
        w.line(`const int32_t flat = y * ${shape.width} + x;`);
        w.line(`const int32_t lane0 = x % ${extent};`);
      } else {
        w.line('const int32_t flat = column;');
        w.line(`const int32_t lane0 = flat % ${extent};`);
      }
      if (outerColumns > 1) w.line(`const int32_t outer = flat / ${extent};`);
      if (outerColumns > 1) unflatten(w, others, 'outer');
      else
        for (const d of others) {
          w.bind(variableOf(d), '0');
          w.changed(variableOf(d));
        }
      w.line(`int32_t run = ${extent} - lane0; if (run > width - c) run = width - c;`);
      w.line('const int32_t stop = c + run;');
      w.line('int32_t at = lane0;');
      const vector = (rest: { count: string; mask: string } | null): void => {
        w.line('const vf acc = *(const u_float32 *)(line + c);');
        w.bind(lane, 'at');
        w.changed(lane);
        w.vectorBody(normal.body, lane, new Map([[result, 'acc']]), rest);
      };
      w.block('for (; c + LANES <= stop; c += LANES, at += LANES)', () => vector(null));
      w.changed(lane);
      w.block('if (c < stop)', () => {
        w.line('const int left = stop - c;');
        w.line('const vi mask = RAMP < left; (void)mask;');
        vector({ count: 'left', mask: 'mask' });
        w.line('c = stop;');
      });
    });
  });
  const text = [
    `static void ${name}_epilogue(const uint32_t *args, int32_t batch, int32_t firstRow, int32_t height, int32_t firstColumn, int32_t width, const float *restrict sums) {`,
    ...w.lines,
    '}',
  ];
  if (places > 0)
    text.push(
      `static void ${name}_prefetch(const uint32_t *args, int32_t batch, int32_t firstRow, int32_t height, int32_t firstColumn) {`,
      ...prefetch.lines,
      '}',
    );
  return { text: text.join('\n'), prefetches: places > 0 };
}
