// docs/environment.md lists exactly the environment variables that the packages name.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { root } from './setup.mjs';

const used = new Set();
for (const name of readdirSync(join(root, 'packages'))) {
  const folder = join(root, 'packages', name, 'src');
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))) {
    for (const [variable] of readFileSync(join(folder, file), 'utf8').matchAll(/TRIREME_[A-Z]+(?:_[A-Z]+)*/g)) used.add(variable);
  }
}
const table = readFileSync(join(root, 'docs/environment.md'), 'utf8');
const documented = new Set([...table.matchAll(/^\| `(TRIREME_[A-Z_]+)` \|/gm)].map((match) => match[1]));

const missing = [...used].filter((variable) => !documented.has(variable));
const stale = [...documented].filter((variable) => !used.has(variable));
for (const variable of missing) console.error(`check-environment: ${variable} is used in the packages but is not in docs/environment.md`);
for (const variable of stale) console.error(`check-environment: ${variable} is in docs/environment.md but no package names it`);
console.log(`environment variables: ${[...documented].sort().join(', ')}`);
process.exitCode = missing.length + stale.length === 0 ? 0 : 1;
