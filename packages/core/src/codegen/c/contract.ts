/** Contractions in C: packed or direct operands, a register block written out in named vectors, the epilogue on each block. */
import type { ContractPart, Kernel } from '../../ir/kernel.js';
import { type Axis, axesOf, type CContractPlan, type CTarget, type LinearOperand, type Padding, planCContract } from './contract-plan.js';
import { renderEpilogue } from './epilogue.js';
import type { CKernel, CPhaseEntry } from './module.js';

/** `NAME(begin, end, args, scratch)`, addresses relative to the heap. */
export function entryHead(name: string): string {
  return `void ${name}(uint32_t begin, uint32_t end, uint32_t argsAt, uint32_t scratchAt)`;
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;
/** Floats behind a copy that a block of columns may read beyond its end. */
const slack = 256;
/** Multiplications along k from which a block asks for the memory of its outputs before it begins. */
const prefetchDepth = 48;

/** Where a part's memory begins in the kernel's workspace and in what its preparation fills, in bytes. */
export interface PartMemory {
  readonly workspace: number;
  readonly prepared: number;
}

/** Renders a contraction, or null where WebAssembly must do it. */
export function renderContract(kernel: Kernel, part: ContractPart, name: string, target: CTarget, memory: PartMemory): CKernel | null {
  const plan = planCContract(part, target);
  return plan === null ? null : new ContractRenderer(kernel, part, name, plan, memory).render();
}

class ContractRenderer {
  private readonly kernel: Kernel;
  private readonly part: ContractPart;
  private readonly name: string;
  private readonly plan: CContractPlan;
  private readonly text: string[] = [];
  private readonly panelColumns: number;
  private readonly rowPanels: number;
  private readonly columnPanels: number;
  /** Byte offsets in the workspace. */
  private readonly rowCopy: number;
  private readonly columnCopy: number;
  private readonly rowPanelsAt: number;
  private readonly columnPanelsAt: number;
  private readonly partialsAt: number;
  private readonly workspaceBytes: number;
  private readonly preparedBytes: number;
  private prefetches = false;
  private readonly rowBatched: boolean;
  private readonly columnBatched: boolean;

  constructor(kernel: Kernel, part: ContractPart, name: string, plan: CContractPlan, memory: PartMemory) {
    this.kernel = kernel;
    this.part = part;
    this.name = name;
    this.plan = plan;
    this.panelColumns = plan.blockVectors * plan.target.lanes;
    this.rowPanels = Math.ceil(plan.rows / plan.blockRows);
    this.columnPanels = Math.ceil(plan.columns / this.panelColumns);
    this.rowBatched = plan.batchDims.some((d) => plan.row.strides[d] !== 0 && plan.dims[d].extent > 1);
    this.columnBatched = plan.batchDims.some((d) => plan.column.strides[d] !== 0 && plan.dims[d].extent > 1);
    const rowFloats = plan.rowsPacked ? (this.rowBatched ? plan.batch : 1) * plan.rows * plan.k : 0;
    const columnFloats = plan.columnsKept ? (this.columnBatched ? plan.batch : 1) * this.columnPanels * this.panelColumns * plan.k : 0;
    let at = memory.workspace;
    const reserve = (floats: number): number => {
      const start = at;
      at += align(4 * floats);
      return start;
    };
    this.rowCopy = reserve(plan.row.padding ? plan.row.padding.elements + slack : 0);
    this.columnCopy = reserve(plan.column.padding ? plan.column.padding.elements + slack : 0);
    this.rowPanelsAt = plan.rowsKept ? memory.prepared : reserve(rowFloats);
    this.columnPanelsAt = memory.prepared + (plan.rowsKept ? align(4 * rowFloats) : 0);
    this.preparedBytes = (plan.rowsKept ? align(4 * rowFloats) : 0) + align(4 * columnFloats);
    this.partialsAt = reserve(plan.slices > 1 ? plan.slices * plan.batch * this.partialFloats() : 0);
    this.workspaceBytes = at - memory.workspace;
  }
  private partialFloats(): number {
    return this.rowPanels * this.columnPanels * this.plan.blockRows * this.panelColumns;
  }

  render(): CKernel {
    const { plan, name } = this;
    const phases: CPhaseEntry[][] = [];
    const copies: CPhaseEntry[] = [];
    const prepared: CPhaseEntry[] = [];
    if (plan.columnsKept) prepared.push(this.packAllColumnsEntry());
    if (plan.row.padding) copies.push(this.copyEntry(`${name}_copyRows`, plan.row, plan.row.padding, this.rowCopy));
    if (plan.column.padding) copies.push(this.copyEntry(`${name}_copyColumns`, plan.column, plan.column.padding, this.columnCopy));
    if (copies.length > 0) phases.push(copies);
    if (plan.rowsPacked) {
      const pack = this.packRowsEntry();
      if (plan.rowsKept) prepared.push(pack);
      // Rows that need no copy are packed while the columns are copied.
      else if (copies.length > 0 && !plan.row.padding) copies.push(pack);
      else phases.push([pack]);
    }
    this.blocks();
    // Worth it where a block multiplies long enough for memory to arrive meanwhile.
    const ahead = plan.slices === 1 && plan.k >= prefetchDepth ? plan.blockVectors : 0;
    const epilogue = renderEpilogue(this.part, plan, plan.target.lanes, name, this.panelColumns, ahead);
    this.text.push(epilogue.text);
    this.prefetches = epilogue.prefetches;
    phases.push([this.mainEntry()]);
    if (plan.slices > 1) phases.push([this.sumEntry()]);
    const scratchFloats = plan.columnsDirect || plan.columnsKept ? 0 : plan.cellColumnPanels * this.panelColumns * this.longestSlice();
    const params = [...(plan.rowsKept ? [plan.row.param] : []), ...(plan.columnsKept ? [plan.column.param] : [])];
    return {
      text: this.text.join('\n'),
      preparation: prepared.length > 0 ? { phases: [prepared], params, bytes: this.preparedBytes } : null,
      phases,
      workspaceBytes: this.workspaceBytes,
      scratchBytes: align(4 * scratchFloats) + 64,
    };
  }
  private longestSlice(): number {
    const [outer] = this.plan.kAxes;
    return (this.plan.k / outer.extent) * this.plan.sliceLength;
  }

  private operandPointer(operand: LinearOperand, copy: number): string {
    return operand.padding
      ? `(const float *)(heap + args[${this.kernel.params.length}] + ${copy}u) + ${operand.base}`
      : `(const float *)(heap + args[${operand.param}]) + (${operand.base})`;
  }
  private workspace(at: number): string {
    return `(float *)(heap + args[${this.kernel.params.length}] + ${at}u)`;
  }
  private prepared(at: number): string {
    return `(float *)(heap + args[${this.kernel.params.length + 1}] + ${at}u)`;
  }
  private get panelsOfRows(): string {
    return this.plan.rowsKept ? this.prepared(this.rowPanelsAt) : this.workspace(this.rowPanelsAt);
  }
  private get head(): string[] {
    return ['  const uint32_t *args = (const uint32_t *)(heap + argsAt);'];
  }

  /** An expression for the offset of the flat index `at` over dimensions. */
  private offset(which: readonly number[], strides: readonly number[], at: string): string {
    const { dims } = this.plan;
    const terms: string[] = [];
    let below = 1;
    for (const d of [...which].reverse()) {
      const { extent } = dims[d];
      if (extent > 1 && strides[d] !== 0) {
        const quotient = below === 1 ? at : `(${at}) / ${below}`;
        terms.push(`(${quotient}) % ${extent} * (${strides[d]})`);
      }
      below *= extent;
    }
    return terms.length === 0 ? '0' : terms.map((t) => `(${t})`).join(' + ');
  }

  /** Copies an operand with its border of zeros: a cell is a line of all but the last two coordinates. */
  private copyEntry(name: string, operand: LinearOperand, padding: Padding, at: number): CPhaseEntry {
    const { extents, low, source } = padding;
    const coordinates = source.coordinates;
    const inner = Math.max(0, extents.length - 2);
    const outer = extents.slice(0, inner);
    const grid = outer.reduce((n, e) => n * e, 1);
    const block = extents.slice(inner).reduce((n, e) => n * e, 1);
    const lines = [
      `${entryHead(name)} {`,
      ...this.head,
      `  const float *source = (const float *)(heap + args[${operand.param}]);`,
      `  float *to = ${this.workspace(at)};`,
      '  for (uint32_t cell = begin; cell < end; cell++) {',
      '    int64_t from = 0; int inside = 1; uint32_t left = cell;',
    ];
    for (let i = inner - 1; i >= 0; i--) {
      lines.push(`    { int32_t c = (int32_t)(left % ${extents[i]}u) + (${low[i]}); left /= ${extents[i]}u;`);
      lines.push(`      inside &= c >= 0 && c < ${coordinates[i].extent}; from += (int64_t)c * ${coordinates[i].stride}; }`);
    }
    lines.push(`    float *out = to + (int64_t)cell * ${block};`);
    lines.push(`    if (!inside) { for (int i = 0; i < ${block}; i++) out[i] = 0; continue; }`);
    let indent = '    ';
    let address = 'from';
    for (let i = inner; i < extents.length - 1; i++) {
      lines.push(`${indent}for (int32_t y = 0; y < ${extents[i]}; y++, out += ${extents[i + 1]}) {`);
      indent += '  ';
      lines.push(`${indent}const int32_t c = y + (${low[i]});`);
      lines.push(
        `${indent}if (c < 0 || c >= ${coordinates[i].extent}) { for (int i = 0; i < ${extents[i + 1]}; i++) out[i] = 0; continue; }`,
      );
      lines.push(`${indent}const float *line = source + from + (int64_t)c * ${coordinates[i].stride};`);
      address = '';
    }
    const last = extents.length - 1;
    if (address !== '') lines.push(`${indent}const float *line = source + ${address};`);
    const { extent, stride } = coordinates[last];
    const first = Math.max(0, -low[last]);
    const end = Math.max(first, Math.min(extents[last], extent - low[last]));
    lines.push(`${indent}for (int x = 0; x < ${first}; x++) out[x] = 0;`);
    lines.push(`${indent}for (int x = ${first}; x < ${end}; x++) out[x] = line[(x + (${low[last]})) * (int64_t)${stride}];`);
    lines.push(`${indent}for (int x = ${end}; x < ${extents[last]}; x++) out[x] = 0;`);
    while (indent.length > 4) {
      indent = indent.slice(2);
      lines.push(`${indent}}`);
    }
    lines.push('  }', '}');
    this.text.push(lines.join('\n'));
    return { symbol: name, grid, chunk: Math.max(1, Math.ceil(16384 / block)) };
  }

  /** Loops over k; `body` gets the offsets of both operands. */
  private overK(
    axes: readonly Axis[],
    indent: string,
    body: (row: string, column: string, indent: string) => string[],
    outerRange?: string,
  ): string[] {
    const lines: string[] = [];
    const rows: string[] = [];
    const columns: string[] = [];
    let at = indent;
    axes.forEach((axis, i) => {
      const range = i === 0 && outerRange ? outerRange : `int32_t k${i} = 0; k${i} < ${axis.extent}`;
      lines.push(`${at}for (${range}; k${i}++) {`);
      at += '  ';
      if (axis.row !== 0) rows.push(`k${i} * (int64_t)${axis.row}`);
      if (axis.column !== 0) columns.push(`k${i} * (int64_t)${axis.column}`);
    });
    lines.push(...body(rows.join(' + ') || '0', columns.join(' + ') || '0', at));
    for (let i = axes.length; i > 0; i--) {
      at = at.slice(2);
      lines.push(`${at}}`);
    }
    return lines;
  }

  /** A cell packs one panel of rows: [k][rows of the panel]. */
  private packRowsEntry(): CPhaseEntry {
    const { plan, name } = this;
    const { blockRows, rows, k } = plan;
    const batches = this.rowBatched ? plan.batch : 1;
    // The order of k alone matters here, not how the other operand steps through it.
    const still = { ...plan.column, strides: plan.dims.map(() => 0) };
    const kDims = plan.dims.flatMap((dim, d) => (dim.role === 'k' ? [d] : []));
    const axes = axesOf(plan.dims, kDims, plan.row, still);
    const line = axes.at(-1);
    const lines = [
      `${entryHead(`${name}_pack`)} {`,
      ...this.head,
      `  const float *source = ${this.operandPointer(plan.row, this.rowCopy)};`,
      `  float *panels = ${this.panelsOfRows};`,
      '  for (uint32_t cell = begin; cell < end; cell++) {',
      `    const int32_t batch = cell / ${this.rowPanels}, panel = cell % ${this.rowPanels};`,
      `    const int64_t base = ${this.rowBatched ? this.offset(plan.batchDims, plan.row.strides, 'batch') : '0'};`,
      `    const int32_t first = panel * ${blockRows}, height = ${rows} - first < ${blockRows} ? ${rows} - first : ${blockRows};`,
      `    float *to = panels + (int64_t)batch * ${rows * k} + (int64_t)first * ${k};`,
    ];
    lines.push(
      `    int64_t rowAt[${blockRows}];`,
      `    for (int32_t r = 0; r < height; r++) rowAt[r] = base + (${this.offset(plan.rowDims, plan.row.strides, '(first + r)')});`,
    );
    if (line !== undefined && line.row === 1 && line.extent >= 8) {
      const [first, last] = [axes.slice(0, -1), line.extent];
      lines.push(
        ...this.overK(first, '    ', (row, _, indent) => [
          `${indent}transpose(source + (${row}), rowAt, height, ${last}, to, height); to += (int64_t)${last} * height;`,
        ]),
      );
    } else {
      // Rows that lie side by side are copied at once.
      const rowAxes = axesOf(plan.dims, plan.rowDims, plan.row, still);
      const together = rowAxes.length === 0 || (rowAxes.length === 1 && rowAxes[0].row === 1);
      const copy = (height: number | string, indent: string, row: string): string[] => [
        `${indent}const float *from = source + (${row})${together ? ' + rowAt[0]' : ''};`,
        together
          ? `${indent}__builtin_memcpy(to, from, 4 * ${height});`
          : `${indent}for (int32_t r = 0; r < ${height}; r++) to[r] = from[rowAt[r]];`,
        `${indent}to += ${height};`,
      ];
      const rest = rows % blockRows;
      lines.push(
        `    if (height == ${blockRows}) {`,
        ...this.overK(axes, '      ', (row, _, indent) => copy(blockRows, indent, row)),
        ...(rest > 0 ? ['    } else {', ...this.overK(axes, '      ', (row, _, indent) => copy(rest, indent, row))] : []),
        '    }',
      );
    }
    lines.push('  }', '}');
    this.text.push(lines.join('\n'));
    return { symbol: `${name}_pack`, grid: batches * this.rowPanels, chunk: Math.max(1, Math.ceil(32768 / (k * blockRows))) };
  }

  /** The register blocks: for full panels of rows and for the last one. */
  private blocks(): void {
    const { plan } = this;
    this.text.push(this.block(plan.blockRows));
    const rest = plan.rows % plan.blockRows;
    if (rest > 0) this.text.push(this.block(rest));
  }

  /**
   * `out[height][panelColumns] = sum over k of rows x columns`. `a`: the packed panel, or the operand at k = 0 with the rows'
   * offsets in `rowAt`. `b`: the packed panel of columns, or the operand at k = 0 and the first column.
   */
  private block(height: number): string {
    const { plan, name } = this;
    const { lanes } = plan.target;
    const vectors = Array.from({ length: plan.blockVectors }, (_, v) => v);
    const rows = Array.from({ length: height }, (_, r) => r);
    const lines = [
      `static __attribute__((noinline)) void ${name}_block${height}(const float *restrict a, const int64_t *restrict rowAt, const float *restrict b, int32_t from, int32_t until, float *restrict out) {`,
    ];
    for (const r of rows) lines.push(`  vf ${vectors.map((v) => `c${r}_${v} = {0}`).join(', ')};`);
    if (!plan.rowsPacked) lines.push(`  const int64_t ${rows.map((r) => `r${r} = rowAt[${r}]`).join(', ')};`);
    const axes = plan.kAxes;
    const last = axes.length - 1;
    const inner = axes[last];
    const outer = axes.slice(0, last);
    const step = (indent: string, rowStep: string, columnStep: string): string[] => {
      const out = vectors.map((v) => `${indent}const vf b${v} = *(const u_float32 *)(pb + ${v * lanes});`);
      for (const r of rows) {
        const element = plan.rowsPacked ? `pa[${r}]` : `pa[r${r}]`;
        out.push(`${indent}{ const vf x = SPLAT(${element}); ${vectors.map((v) => `c${r}_${v} = FMA(x, b${v}, c${r}_${v});`).join(' ')} }`);
      }
      out.push(`${indent}pa += ${rowStep}; pb += ${columnStep};`);
      return out;
    };
    if (plan.rowsPacked) lines.push('  const float *pa = a;');
    if (!plan.columnsDirect) lines.push('  const float *pb = b;');
    // The outermost axis runs over the slice.
    const innerRange = outer.length === 0 ? 'int32_t i = from; i < until; i++' : `int32_t i = 0; i < ${inner.extent}; i++`;
    const range = 'int32_t k0 = from; k0 < until';
    const loop = (row: string, column: string, indent: string): string[] => {
      const start = outer.length === 0 ? 'from' : '0';
      const body: string[] = [];
      if (!plan.rowsPacked) body.push(`${indent}const float *pa = a + (${row}) + ${start} * (int64_t)${inner.row};`);
      if (plan.columnsDirect) body.push(`${indent}const float *pb = b + (${column}) + ${start} * (int64_t)${inner.column};`);
      body.push(`${indent}for (${innerRange}) {`);
      body.push(
        ...step(
          `${indent}  `,
          plan.rowsPacked ? String(height) : String(inner.row),
          plan.columnsDirect ? String(inner.column) : String(this.panelColumns),
        ),
      );
      body.push(`${indent}}`);
      return body;
    };
    if (outer.length === 0) lines.push(...loop('0', '0', '  '));
    else lines.push(...this.overK(outer, '  ', loop, range));
    for (const r of rows) for (const v of vectors) lines.push(`  *(u_float32 *)(out + ${r * this.panelColumns + v * lanes}) = c${r}_${v};`);
    lines.push('}');
    return lines.join('\n');
  }

  private mainEntry(): CPhaseEntry {
    const { plan, name, panelColumns, rowPanels } = this;
    const { k, blockRows, rows, columns } = plan;
    const [outerK] = plan.kAxes;
    const perOuter = k / outerK.extent;
    const rest = rows % blockRows;
    const cells = plan.batch * plan.columnCells * plan.rowCells;
    const lines = [
      `${entryHead(name)} {`,
      ...this.head,
      `  const float *rowSource = ${this.operandPointer(plan.row, this.rowCopy)};`,
      `  const float *columnSource = ${this.operandPointer(plan.column, this.columnCopy)};`,
      ...(plan.rowsPacked ? [`  const float *panels = ${this.panelsOfRows};`] : []),
      ...(plan.columnsKept ? [`  const float *columnPanels = ${this.prepared(this.columnPanelsAt)};`] : []),
      ...(plan.slices > 1 ? [`  float *partials = ${this.workspace(this.partialsAt)};`] : []),
      ...(plan.columnsDirect || plan.columnsKept ? [] : ['  float *packed = (float *)(heap + scratchAt);']),
      `  float sums[${blockRows * panelColumns + plan.target.lanes}] __attribute__((aligned(64)));`,
      '  for (uint32_t cell = begin; cell < end; cell++) {',
      `    const int32_t slice = cell / ${cells}, inner = cell % ${cells};`,
      `    const int32_t from = slice * ${plan.sliceLength}, until = from + ${plan.sliceLength} < ${outerK.extent} ? from + ${plan.sliceLength} : ${outerK.extent};`,
      `    const int32_t rowCell = inner % ${plan.rowCells}, columnCell = inner / ${plan.rowCells} % ${plan.columnCells}, batch = inner / ${plan.rowCells * plan.columnCells};`,
      `    const int32_t firstPanel = columnCell * ${plan.cellColumnPanels}, lastPanel = firstPanel + ${plan.cellColumnPanels} < ${this.columnPanels} ? firstPanel + ${plan.cellColumnPanels} : ${this.columnPanels};`,
      `    const int32_t firstRows = rowCell * ${plan.cellRowPanels}, lastRows = firstRows + ${plan.cellRowPanels} < ${rowPanels} ? firstRows + ${plan.cellRowPanels} : ${rowPanels};`,
      `    const int64_t rowBatch = ${this.offset(plan.batchDims, plan.row.strides, 'batch')}, columnBatch = ${this.offset(plan.batchDims, plan.column.strides, 'batch')};`,
      `    for (int32_t panel = firstPanel; panel < lastPanel; panel++) {`,
      `      const int32_t firstColumn = panel * ${panelColumns}, width = ${columns} - firstColumn < ${panelColumns} ? ${columns} - firstColumn : ${panelColumns};`,
    ];
    if (plan.columnsDirect) lines.push(`      const float *b = columnSource + columnBatch + firstColumn;`);
    else if (plan.columnsKept) {
      const batch = this.columnBatched ? `(int64_t)batch * ${this.columnPanels} + ` : '';
      lines.push(
        `      const float *b = columnPanels + ((${batch}panel) * (int64_t)${k} + (int64_t)from * ${perOuter}) * ${panelColumns};`,
      );
    } else
      lines.push(`      float *b = packed + (int64_t)(panel - firstPanel) * ${panelColumns * this.longestSlice()};`, ...this.packColumns());
    lines.push(
      `      for (int32_t rowPanel = firstRows; rowPanel < lastRows; rowPanel++) {`,
      `        const int32_t firstRow = rowPanel * ${blockRows}, height = ${rows} - firstRow < ${blockRows} ? ${rows} - firstRow : ${blockRows};`,
      ...(plan.slices > 1
        ? [
            `        float *out = partials + ((((int64_t)slice * ${plan.batch} + batch) * ${rowPanels} + rowPanel) * ${this.columnPanels} + panel) * ${blockRows * panelColumns};`,
          ]
        : ['        float *out = sums;']),
    );
    if (plan.rowsPacked) {
      lines.push(
        '        const int64_t *rowAt = 0;',
        `        const float *a = panels + ${this.rowBatched ? `(int64_t)batch * ${rows * k} + ` : ''}(int64_t)firstRow * ${k} + (int64_t)from * ${perOuter} * height;`,
      );
    } else {
      lines.push(
        `        int64_t rowAt[${blockRows}];`,
        `        for (int32_t r = 0; r < height; r++) rowAt[r] = ${this.offset(plan.rowDims, plan.row.strides, '(firstRow + r)')};`,
        '        const float *a = rowSource + rowBatch;',
      );
    }
    if (this.prefetches) lines.push(`        ${name}_prefetch(args, batch, firstRow, height, firstColumn);`);
    lines.push(`        if (height == ${blockRows}) ${name}_block${blockRows}(a, rowAt, b, from, until, out);`);
    if (rest > 0) lines.push(`        else ${name}_block${rest}(a, rowAt, b, from, until, out);`);
    if (plan.slices === 1) lines.push(`        ${name}_epilogue(args, batch, firstRow, height, firstColumn, width, sums);`);
    lines.push('      }', '    }', '  }', '  (void)rowSource; (void)columnSource;', '}');
    this.text.push(lines.join('\n'));
    const cellWork = plan.cellColumnPanels * panelColumns * plan.cellRowPanels * blockRows * k;
    return { symbol: name, grid: cells * plan.slices, chunk: Math.max(1, Math.floor(100_000 / cellWork)) };
  }

  /** A cell packs one panel of columns, for all calls to come. */
  private packAllColumnsEntry(): CPhaseEntry {
    const { plan, name, panelColumns, columnPanels } = this;
    const [outerK] = plan.kAxes;
    const batches = this.columnBatched ? plan.batch : 1;
    const lines = [
      `${entryHead(`${name}_packColumns`)} {`,
      ...this.head,
      '  (void)scratchAt;',
      `  const float *columnSource = ${this.operandPointer(plan.column, this.columnCopy)};`,
      `  float *panels = ${this.prepared(this.columnPanelsAt)};`,
      '  for (uint32_t cell = begin; cell < end; cell++) {',
      `    const int32_t batch = cell / ${columnPanels}, panel = cell % ${columnPanels}, from = 0, until = ${outerK.extent};`,
      `    const int64_t columnBatch = ${this.columnBatched ? this.offset(plan.batchDims, plan.column.strides, 'batch') : '0'}; (void)batch;`,
      `    const int32_t firstColumn = panel * ${panelColumns}, width = ${plan.columns} - firstColumn < ${panelColumns} ? ${plan.columns} - firstColumn : ${panelColumns};`,
      `    float *b = panels + (int64_t)cell * ${panelColumns * plan.k};`,
      ...this.packColumns(),
      '  }',
      '}',
    ];
    this.text.push(lines.join('\n'));
    const chunk = Math.max(1, Math.ceil(65536 / (plan.k * panelColumns)));
    return { symbol: `${name}_packColumns`, grid: batches * columnPanels, chunk };
  }

  /** Packs one panel of columns, [k][panelColumns], to `b`. */
  private packColumns(): string[] {
    const { plan, panelColumns } = this;
    const inner = plan.kAxes[plan.kAxes.length - 1];
    const lines = [
      `      { int64_t columnAt[${panelColumns}];`,
      `        for (int32_t c = 0; c < ${panelColumns}; c++) { const int32_t column = firstColumn + (c < width ? c : 0); columnAt[c] = columnBatch + (${this.offset(plan.columnDims, plan.column.strides, 'column')}); }`,
      `        int contiguous = 1; for (int32_t c = 1; c < ${panelColumns}; c++) contiguous &= columnAt[c] == columnAt[0] + c;`,
      '        float *to = b;',
    ];
    const range = `int32_t k0 = from; k0 < until`;
    lines.push('        if (contiguous) {');
    lines.push(
      ...this.overK(
        plan.kAxes,
        '          ',
        (_, column, indent) => [
          `${indent}const float *at = columnSource + columnAt[0] + (${column});`,
          `${indent}for (int32_t c = 0; c < ${panelColumns}; c += LANES) *(u_float32 *)(to + c) = *(const u_float32 *)(at + c);`,
          `${indent}to += ${panelColumns};`,
        ],
        range,
      ),
    );
    if (inner.column === 1 && inner.extent >= 16 && plan.kAxes.length === 1) {
      lines.push(
        '        } else {',
        `          transpose(columnSource + from, columnAt, ${panelColumns}, until - from, to, ${panelColumns});`,
        '        } }',
      );
      return lines;
    }
    lines.push('        } else {');
    lines.push(
      ...this.overK(
        plan.kAxes,
        '          ',
        (_, column, indent) => [
          `${indent}const float *at = columnSource + (${column});`,
          `${indent}for (int32_t c = 0; c < ${panelColumns}; c++) to[c] = at[columnAt[c]];`,
          `${indent}to += ${panelColumns};`,
        ],
        range,
      ),
    );
    lines.push('        } }');
    return lines;
  }

  /** Adds the slices of k and finishes: a cell is a panel of rows. */
  private sumEntry(): CPhaseEntry {
    const { plan, name, panelColumns, rowPanels } = this;
    const floats = plan.blockRows * panelColumns;
    const perSlice = plan.batch * this.partialFloats();
    this.text.push(
      [
        `${entryHead(`${name}_sum`)} {`,
        ...this.head,
        `  const float *partials = ${this.workspace(this.partialsAt)};`,
        `  float sums[${floats + plan.target.lanes}] __attribute__((aligned(64)));`,
        '  for (uint32_t cell = begin; cell < end; cell++) {',
        `    const int32_t panel = cell % ${this.columnPanels}, rowPanel = cell / ${this.columnPanels} % ${rowPanels}, batch = cell / ${this.columnPanels * rowPanels};`,
        `    const float *from = partials + (int64_t)cell * ${floats};`,
        `    for (int32_t i = 0; i < ${floats}; i++) { float s = from[i]; for (int32_t slice = 1; slice < ${plan.slices}; slice++) s += from[i + (int64_t)slice * ${perSlice}]; sums[i] = s; }`,
        `    const int32_t firstRow = rowPanel * ${plan.blockRows}, firstColumn = panel * ${panelColumns};`,
        `    ${name}_epilogue(args, batch, firstRow, ${plan.rows} - firstRow < ${plan.blockRows} ? ${plan.rows} - firstRow : ${plan.blockRows}, firstColumn, ${plan.columns} - firstColumn < ${panelColumns} ? ${plan.columns} - firstColumn : ${panelColumns}, sums);`,
        '  }',
        '}',
      ].join('\n'),
    );
    return { symbol: `${name}_sum`, grid: plan.batch * rowPanels * this.columnPanels, chunk: 4 };
  }
}
