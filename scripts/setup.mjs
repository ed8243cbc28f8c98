// Makes a clone ready to run: installs the dependencies and compiles the packages and examples, each only when out of date.
// `npm start` and `npm test` call it, so nothing has to be done before them. Everything it says goes to stderr.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a command in the root with its output on stderr and throws when it fails.
 * @param {string} command
 * @param {readonly string[]} args
 */
function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32' && command === 'npm',
  });
  if (status !== 0)
    throw new Error(`\`${[command, ...args].join(' ')}\` failed${error ? `: ${error.message}` : ` with exit code ${status}`}`);
}

/** True if every package that package-lock.json asks for is in node_modules, in its version. */
function isInstalled() {
  const installed = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  const [want, have] = [join(root, 'package-lock.json'), installed].map((file) => JSON.parse(readFileSync(file, 'utf8')).packages);
  return Object.entries(want).every(([path, entry]) => {
    // Packages of other platforms are optional; workspaces and the root are not installed but linked.
    if (!path.includes('node_modules/') || entry.optional || entry.devOptional) return true;
    return path in have && have[path].version === entry.version;
  });
}

/** The TypeScript projects that have sources: packages first, since examples import them. */
function projects() {
  return ['packages', 'examples'].flatMap((group) => {
    const folder = join(root, group);
    if (!existsSync(folder)) return [];
    const ready = readdirSync(folder).filter(
      (name) => existsSync(join(folder, name, 'tsconfig.json')) && existsSync(join(folder, name, 'src')),
    );
    return ready.map((name) => join(group, name));
  });
}

/** Outputs whose source is gone would still be found by imports and packed, so they are removed. */
function removeStaleOutputs(/** @type {string} */ project) {
  const dist = join(root, project, 'dist');
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const output = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/\.(js|d\.ts)(\.map)?$/.test(entry.name)) continue;
    const source = join(root, project, 'src', relative(dist, output).replace(/\.(js|d\.ts)(\.map)?$/, '.ts'));
    if (!existsSync(source)) rmSync(output);
  }
}

/** Installs and builds what is out of date. Throws when a command fails. */
export function setup() {
  if (!isInstalled()) {
    console.error('trireme: installing the dependencies (npm ci)');
    // --include=dev: the compiler is a dev dependency, also where NODE_ENV is production.
    // --loglevel: `npm start --silent` would silence the reason of a failure here too.
    run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=warn']);
  }
  const found = projects();
  for (const project of found) removeStaleOutputs(project);
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--build', ...found]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    setup();
  } catch (error) {
    console.error(`trireme: set-up failed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
