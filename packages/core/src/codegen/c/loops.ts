/** Loop nests in C. */
import type { LoopPart } from '../../ir/kernel.js';
import { loopChunk } from '../wasm/loops.js';
import { normalize } from '../wasm/normalize.js';
import { entryHead } from './contract.js';
import type { CTarget } from './contract-plan.js';
import type { CKernel } from './module.js';
import { CWriter } from './writer.js';

export function renderLoops(part: LoopPart, name: string, target: CTarget): CKernel {
  const normal = normalize({ body: part.body, outer: [{ variable: part.cell, extent: part.grid }] });
  const w = new CWriter(normal, target.lanes);
  const cell = normal.variables.get(part.cell);
  w.line('const uint32_t *args = (const uint32_t *)(heap + argsAt);');
  w.line('(void)args; (void)scratchAt;');
  w.pointers('args');
  w.block('for (uint32_t cell = begin; cell < end; cell++)', () => {
    w.line('const int32_t cell0 = (int32_t)cell;');
    if (cell) w.bind(cell, 'cell0');
    w.body(normal.body);
  });
  return {
    text: [`${entryHead(name)} {`, ...w.lines, '}'].join('\n'),
    preparation: null,
    phases: [[{ symbol: name, grid: part.grid, chunk: loopChunk(part) }]],
    workspaceBytes: 0,
    scratchBytes: 0,
  };
}
