/**
 * Contractions on a GPU: a workgroup computes a square tile of outputs from tiles of both operands in workgroup memory.
 * Operands are read through their coordinates, so convolutions take the same road as matrix products.
 */
import type { BufferRef, Expr, LoopVar } from '../../ir/expr.js';
import type { ContractDim, ContractOperand, ContractPart } from '../../ir/kernel.js';
import { linearGroup, workgroups } from './grid.js';
import type { Helpers } from './helpers.js';
import type { Dispatch } from './render.js';
import { Writer, wgslType } from './writer.js';

/** Side of a tile: outputs (and invocations) of a workgroup along m and n, elements of a step along k. */
const side = 16;

interface Role {
  readonly dims: readonly number[];
  readonly extent: number;
}
function roleOf(part: ContractPart, role: ContractDim['role']): Role {
  const dims = part.dims.flatMap((d, i) => (d.role === role ? [i] : []));
  return { dims, extent: dims.reduce((n, i) => n * (part.dims[i]?.extent ?? 1), 1) };
}

class ContractWriter {
  private readonly w: Writer;
  private readonly part: ContractPart;
  /** Names of this renderer's own; negative ids keep clear of the kernel's. */
  private nextId = -1;

  constructor(w: Writer, part: ContractPart) {
    this.w = w;
    this.part = part;
  }
  variable(name: string, text: string): LoopVar {
    const variable = { id: this.nextId--, name };
    this.w.line(`let ${this.w.nameOf(variable)} = ${text};`);
    return variable;
  }

  /** Writes the index along each dimension of a role, from their common index. `given` are variables the kernel has for them. */
  unflatten(role: Role, flat: string, indices: Map<number, LoopVar>, given?: ReadonlyMap<number, LoopVar>): void {
    let inner = 1;
    for (const d of [...role.dims].reverse()) {
      const extent = this.part.dims[d]?.extent ?? 1;
      const divided = inner === 1 ? flat : `${flat} / ${inner}`;
      const text = inner * extent === role.extent ? divided : `(${divided}) % ${extent}`;
      const known = given?.get(d);
      if (known) this.w.line(`let ${this.w.nameOf(known)} = ${text};`);
      indices.set(d, known ?? this.variable(`d${d}`, text));
      inner *= extent;
    }
  }

  /** The element of an operand, 0 where it does not exist or `inside` does not hold. */
  element(
    operand: ContractOperand,
    indices: ReadonlyMap<number, LoopVar>,
    inside: readonly { readonly at: LoopVar; readonly extent: number }[],
  ): string {
    const { b } = this.w;
    const buffer: BufferRef = operand.buffer;
    let guard: Expr = b.const('bool', true);
    for (const { at, extent } of inside) guard = b.and(guard, b.binary('lt', b.index(at), b.i32(extent)));
    let address: Expr = b.i32(0);
    for (const c of operand.coordinates) {
      let position: Expr = b.i32(c.offset);
      for (const term of c.terms) {
        const variable = indices.get(term.dim);
        if (variable) position = b.add(position, b.mul(b.index(variable), b.i32(term.coefficient)));
      }
      const whole = b.binary('div', position, b.i32(c.dilation));
      if (c.checked) {
        guard = b.and(guard, b.binary('le', b.i32(0), position));
        guard = b.and(guard, b.binary('lt', whole, b.i32(c.extent)));
        if (c.dilation > 1) guard = b.and(guard, b.binary('eq', b.binary('rem', position, b.i32(c.dilation)), b.i32(0)));
      }
      address = b.add(address, b.mul(whole, b.i32(c.stride)));
    }
    return this.w.value(b.load(buffer, this.part.type, address, guard));
  }
}

/** Renders a contraction as one entry point; null when it has no outputs. */
export function renderContract(part: ContractPart, entryPoint: string, helpers: Helpers): { code: string; dispatch: Dispatch } | null {
  const [batch, m, n, k] = (['batch', 'm', 'n', 'k'] as const).map((role) => roleOf(part, role));
  if (!batch || !m || !n || !k || batch.extent * m.extent * n.extent === 0) return null;
  const w = new Writer(helpers);
  const c = new ContractWriter(w, part);
  const type = wgslType(part.type);
  const tiles = (['A', 'B'] as const).map((name) =>
    helpers.define(`tile${name}_${type}`, () => `var<workgroup> tile${name}_${type}: array<array<${type}, ${side}>, ${side}>;`),
  );
  const across = Math.ceil(n.extent / side);
  const down = Math.ceil(m.extent / side);
  const items = batch.extent * down * across;
  const groups = workgroups(items);
  const outputs = part.dims.flatMap((d, i) => (d.role === 'k' ? [] : [i]));
  const given = new Map(part.outputVars.map((v, i) => [outputs[i] ?? -1, v]));

  w.line(`let item = i32(${linearGroup(groups)});`);
  w.line(`if (item >= ${items}) { return; }`);
  w.line('let x = i32(local.x);');
  w.line('let y = i32(local.y);');
  const column = c.variable('column', `(item % ${across}) * ${side} + x`);
  const row = c.variable('row', `(item / ${across}) % ${down} * ${side} + y`);
  const fixed = new Map<number, LoopVar>();
  c.unflatten(batch, `item / ${across * down}`, fixed, given);
  c.unflatten(m, w.nameOf(row), fixed, given);
  c.unflatten(n, w.nameOf(column), fixed, given);
  const sum = w.nameOf(part.result);
  w.line(`var ${sum}: ${type} = ${w.constant(part.type, 0)};`);
  w.block(`for (var start = 0; start < ${k.extent}; start += ${side})`, () => {
    const operand = (
      source: ContractOperand,
      tile: string,
      lane: string,
      other: { readonly at: LoopVar; readonly extent: number },
    ): void => {
      const at = c.variable('k', `start + ${lane}`);
      const indices = new Map(fixed);
      c.unflatten(k, w.nameOf(at), indices);
      w.line(`${tile}[y][x] = ${c.element(source, indices, [other, { at, extent: k.extent }])};`);
    };
    operand(part.a, tiles[0] ?? '', 'x', { at: row, extent: m.extent });
    operand(part.b, tiles[1] ?? '', 'y', { at: column, extent: n.extent });
    w.line('workgroupBarrier();');
    w.block(`for (var i = 0; i < ${side}; i++)`, () => w.line(`${sum} += ${tiles[0]}[y][i] * ${tiles[1]}[i][x];`));
    w.line('workgroupBarrier();');
  });
  w.line(`if (${w.nameOf(row)} >= ${m.extent} || ${w.nameOf(column)} >= ${n.extent}) { return; }`);
  for (const stmt of part.epilogue) {
    if (stmt.kind === 'store') w.store(stmt);
    else if (stmt.kind === 'declare') w.line(`var ${w.nameOf(stmt.local)}: ${wgslType(stmt.local.type)} = ${w.value(stmt.value)};`);
    else if (stmt.kind === 'assign') w.line(`${w.nameOf(stmt.local)} = ${w.value(stmt.value)};`);
  }
  const code = `@compute @workgroup_size(${side}, ${side})
fn ${entryPoint}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
${w}
}`;
  return { code, dispatch: { entryPoint, workgroups: groups } };
}
