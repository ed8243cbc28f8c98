/** What the kernels of matrices share: one cell a matrix, elements by row and column. */
import { ShapeError } from '../errors.js';
import { formatShape, type Shape, sizeOf } from '../graph/layout.js';
import type { LoopsContext, TensorType } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import { computeType } from './define.js';
import { Arithmetic, LoopWriter } from './loop-writer.js';
import type { Stage } from './statements.js';
import { unravel } from './statements.js';

/** Rows and columns of a matrix or a batch of them. @throws ShapeError */
export function matrixSize(type: { readonly shape: Shape }, op: string): readonly [rows: number, columns: number] {
  const { shape } = type;
  if (shape.length < 2) {
    throw new ShapeError(`shape ${formatShape(shape)}`, {
      op,
      received: shape,
      expected: 'a matrix [..., rows, columns] or a batch of them',
    });
  }
  return [shape[shape.length - 2], shape[shape.length - 1]];
}
/** Extent of a square matrix. @throws ShapeError */
export function squareSize(type: { readonly shape: Shape }, op: string): number {
  const [rows, columns] = matrixSize(type, op);
  if (rows !== columns) {
    throw new ShapeError(`matrices of ${rows} rows and ${columns} columns`, { op, received: type.shape, expected: 'square matrices' });
  }
  return rows;
}
/** The dimensions in front of the matrices. */
export function batchShape(type: { readonly shape: Shape }): Shape {
  return type.shape.slice(0, -2);
}

/** Writes the kernel of one matrix of a batch. */
export class MatrixWriter extends LoopWriter {
  readonly a: Arithmetic;
  /** Number of the cell. */
  readonly cell: Expr;
  /** Indices of the matrix in its batch. */
  readonly lead: readonly Expr[];
  private readonly ctx: LoopsContext;

  constructor(ctx: LoopsContext, cell: Expr, lead: readonly Expr[]) {
    super(ctx.b);
    this.ctx = ctx;
    this.cell = cell;
    this.lead = lead;
    this.a = new Arithmetic(ctx.b, computeType(ctx.inputs[0].dtype));
  }
  /** Element of input `k` of this matrix. */
  input(k: number, ...indices: readonly Expr[]): Expr {
    return this.ctx.load(k, [...this.lead, ...indices]);
  }
  /** Element of output `k` that was written before. */
  get(k: number, ...indices: readonly Expr[]): Expr {
    return this.ctx.loadOutput(k, [...this.lead, ...indices]);
  }
  put(k: number, indices: readonly Expr[], value: Expr): void {
    this.push(this.ctx.store(k, [...this.lead, ...indices], value));
  }
  i(value: number): Expr {
    return this.b.i32(value);
  }
}

/** The stage that runs `write` for every matrix of input 0's batch. */
export function perMatrix(ctx: LoopsContext, work: number, write: (w: MatrixWriter) => void): readonly Stage[] {
  const lead = batchShape(ctx.inputs[0]);
  const count = sizeOf(lead);
  if (count === 0) return [];
  const cell = ctx.b.loopVar('matrix');
  const index = ctx.b.index(cell);
  const writer = new MatrixWriter(ctx, index, unravel(ctx.b, index, lead));
  write(writer);
  return writer.statements.length === 0 ? [] : [{ grid: count, cell, body: writer.statements, work: count * Math.max(1, work) }];
}

/** A type with the batch dimensions of `like`. */
export function typeLike(like: TensorType, tail: readonly number[], dtype = like.dtype): TensorType {
  return { dtype, shape: [...batchShape(like), ...tail] };
}
