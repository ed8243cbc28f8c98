// package-lock.json names no registry, so that everyone installs from the one they have set up; and no dependency needs an install
// script of its own, since what such a script downloads is neither in the lock file nor in the registry. The packages of other platforms
// are locked too: `npm ci` refuses a lock file without them, and npm leaves out, in silence, those that a registry does not have.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { root } from './setup.mjs';

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
const { allowScripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const problems = Object.entries(packages).flatMap(([path, entry]) => {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const optional = Object.keys(entry.optionalDependencies ?? {});
  const unlocked = optional.filter(
    (dependency) => !(`node_modules/${dependency}` in packages || `${path}/node_modules/${dependency}` in packages),
  );
  return [
    ...unlocked.map(
      (dependency) => `${dependency}, optional for ${path}, is not locked: choose a version whose platform packages the registry has`,
    ),
    ...(entry.resolved?.includes('://') ? [`${path} is locked to ${new URL(entry.resolved).host}`] : []),
    ...(path && !entry.link && !entry.integrity && path.includes('node_modules/') ? [`${path} has no integrity hash`] : []),
    ...(entry.hasInstallScript && allowScripts[name] !== false ? [`${path} has an install script that package.json does not deny`] : []),
  ];
});
for (const problem of problems) console.error(`check-lockfile: ${problem}`);
console.log(`lock file: ${Object.keys(packages).length} entries`);
process.exitCode = problems.length === 0 ? 0 : 1;
