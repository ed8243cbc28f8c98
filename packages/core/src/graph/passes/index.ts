/** The passes over Programs, in order. Each is a pure function; each is named. */
import type { Program } from '../program.js';
import { algebraic } from './algebraic.js';
import { cse } from './cse.js';
import { dce } from './dce.js';
import { fold } from './fold.js';
import { elideCopies } from './layout.js';
import { splitReductions } from './split-reduce.js';

export interface Pass {
  readonly name: string;
  run(program: Program): Program;
}

export const passes: readonly Pass[] = [
  { name: 'dce', run: dce },
  { name: 'fold', run: fold },
  { name: 'cse', run: cse },
  { name: 'algebraic', run: algebraic },
  { name: 'layout', run: elideCopies },
  { name: 'dce', run: dce },
  { name: 'splitReductions', run: splitReductions },
];

export function runPasses(program: Program): Program {
  return passes.reduce((p, pass) => pass.run(p), program);
}
