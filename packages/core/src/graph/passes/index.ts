/** The passes over Programs, in order. Each is a pure function; each is named. */
import type { Program } from '../program.js';
import { cse } from './cse.js';
import { dce } from './dce.js';

export interface Pass {
  readonly name: string;
  run(program: Program): Program;
}

export const passes: readonly Pass[] = [
  { name: 'dce', run: dce },
  { name: 'cse', run: cse },
  { name: 'dce', run: dce },
];

export function runPasses(program: Program): Program {
  if (program.nodes.length < 2) return program;
  return passes.reduce((p, pass) => pass.run(p), program);
}
