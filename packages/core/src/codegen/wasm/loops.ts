/** Functions for the loop parts of kernels. */
import type { Expr } from '../../ir/expr.js';
import { operands } from '../../ir/expr.js';
import type { LoopPart, Stmt } from '../../ir/kernel.js';
import type { KernelEntry, WasmFeatures } from '../compiled.js';
import type { ModuleBuilder } from './asm.js';
import { normalize } from './normalize.js';
import { StatementEmitter } from './statements.js';

/** Scalar operations a thread should claim at a time, so that claiming costs little. */
const claimedWork = 16384;

/** Emits one loop part as an exported function. */
export function compileLoops(module: ModuleBuilder, part: LoopPart, exportName: string, features: WasmFeatures): KernelEntry {
  const fn = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const normal = normalize({ body: part.body, outer: [{ variable: part.cell, extent: part.grid }] });
  const cell = normal.variables.get(part.cell);
  const [begin, end, args] = fn.params;
  if (cell && begin && end && args && normal.body.length > 0) {
    const statements = new StatementEmitter(fn, module, normal, features.relaxedSimd);
    statements.em.enter();
    statements.loadPointers(args);
    statements.range(cell, begin, end, normal.body);
    statements.em.leave();
  }
  return { exportName, grid: part.grid, chunk: loopChunk(part) };
}

/** Cells of a loop nest that a thread should claim at a time. */
export function loopChunk(part: LoopPart): number {
  const chunk = Math.ceil(claimedWork / Math.max(1, workOf(part.body)));
  return Math.max(1, Math.min(chunk, part.grid));
}

/** Rough number of instructions a body runs; loops of unknown length count as 64 rounds. */
function workOf(body: readonly Stmt[]): number {
  let work = 0;
  const seen = new Set<Expr>();
  const count = (e: Expr): number => {
    if (seen.has(e)) return 0;
    seen.add(e);
    return operands(e).reduce((sum, o) => sum + count(o), 1);
  };
  for (const stmt of body) {
    switch (stmt.kind) {
      case 'for': {
        const rounds = typeof stmt.extent === 'number' ? stmt.extent : 64;
        work += (workOf(stmt.body) * rounds) / (stmt.mode === 'vector' ? 4 : 1) + 4;
        break;
      }
      case 'while':
        work += workOf(stmt.body) * 64 + count(stmt.condition);
        break;
      case 'if':
        work += count(stmt.condition) + Math.max(workOf(stmt.then), workOf(stmt.otherwise));
        break;
      case 'store':
        work += count(stmt.index) + count(stmt.value) + 1;
        break;
      default:
        work += count(stmt.value) + 1;
    }
  }
  return work;
}
