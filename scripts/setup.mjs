// Makes a clone ready to run: installs the dependencies and compiles the packages and examples, each only when out of date.
// A package is bundled (esbuild), since starting from some 200 files takes several times as long; tsc checks it and emits its types.
// `npm start` and `npm test` call it, so nothing has to be done before them. Everything it says goes to stderr.
import { Buffer } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

/** Packages others build on come first; one that is not listed, after them. */
const order = ['core', 'onnx'];
const place = (/** @type {string} */ name) => (order.includes(name) ? order.indexOf(name) : order.length);

/** The TypeScript projects that have sources: packages first, since examples import them, and each after those it imports. */
function projects() {
  return ['packages', 'examples'].flatMap((group) => {
    const folder = join(root, group);
    if (!existsSync(folder)) return [];
    const ready = readdirSync(folder).filter(
      (name) => existsSync(join(folder, name, 'tsconfig.json')) && existsSync(join(folder, name, 'src')),
    );
    return ready.sort((a, b) => place(a) - place(b)).map((name) => join(group, name));
  });
}

/** Whether a project is bundled: the packages are, the examples run as tsc emits them. */
const isBundled = (/** @type {string} */ project) => project.startsWith('packages');

/**
 * Outputs whose source is gone would still be found by imports and packed, so they are removed.
 * @param {string} project
 * @param {ReadonlySet<string>} bundles the files that esbuild has written
 */
function removeStaleOutputs(project, bundles) {
  const dist = join(root, project, 'dist');
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const output = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/\.(js|d\.ts)(\.map)?$/.test(entry.name) || bundles.has(output)) continue;
    const source = join(root, project, 'src', relative(dist, output).replace(/\.(js|d\.ts)(\.map)?$/, '.ts'));
    if (!existsSync(source) || (isBundled(project) && !entry.name.includes('.d.ts'))) rmSync(output);
  }
}

/**
 * Bundles a package into its dist folder: one file for each entry of its `exports` and `bin`, the code they share in chunks
 * beside them, and the workers' scripts. All chunks lie in dist itself, so that `new URL('./worker.js', import.meta.url)` in any of them
 * finds the worker. Files that have not changed are left alone; a changed one is replaced in one step, for those who
 * import it meanwhile.
 * @param {string} project
 * @param {boolean} partly leaves out entries that have no source
 * @returns {Promise<Set<string>>} the files
 */
async function bundle(project, partly = false) {
  // Imported here: before the installation there is none.
  const { build } = await import('esbuild');
  const folder = join(root, project);
  const { exports, bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  /** @type {(string | undefined)[]} */
  const files = [...Object.values(exports).map((entry) => entry.default), ...Object.values(bin ?? {})];
  const entryPoints = [...new Set(files)]
    .flatMap((file) => {
      const out = /^\.\/dist\/(.*)\.js$/.exec(file ?? '')?.[1];
      return out === undefined ? [] : [{ in: join(folder, 'src', `${out}.ts`), out }];
    })
    .filter((entry) => !partly || existsSync(entry.in));
  /** @type {import('esbuild').BuildOptions & { write: false }} */
  const options = {
    absWorkingDir: folder,
    outdir: join(folder, 'dist'),
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    packages: 'external',
    external: ['node:*'],
    // Node 20 lacks `using`.
    target: 'es2022',
    // Summaries and errors show the names of classes.
    keepNames: true,
    sourcemap: true,
    write: false,
    logLevel: 'warning',
  };
  // Each worker is alone in its file: a thread starts with one small script.
  const workers = [
    { in: join(folder, 'src/runtime/cpu/worker.ts'), out: 'worker' },
    { in: join(folder, 'src/data/data-worker.ts'), out: 'data-worker' },
    { in: join(folder, 'src/runtime/native/build.ts'), out: 'native-build' },
  ].filter((worker) => existsSync(worker.in));
  const results = await Promise.all([
    build({ ...options, entryPoints, splitting: true, chunkNames: 'chunk-[hash]' }),
    ...workers.map((worker) => build({ ...options, entryPoints: [worker] })),
  ]);
  // esbuild imports every chunk for its effects too; with `sideEffects: false` there are none, and users' bundlers would warn.
  // An empty line in its place keeps the source map right.
  const outputFiles = results.flatMap((result) =>
    result.outputFiles.map(({ path, text, contents }) =>
      path.endsWith('.js') ? { path, contents: Buffer.from(text.replaceAll(/^import "[./]*chunk-\w+\.js";$/gm, '')) } : { path, contents },
    ),
  );
  // Chunks first: an entry in place names chunks that are there.
  for (const { path, contents } of [...outputFiles].sort((a, b) => Number(b.path.includes('chunk-')) - Number(a.path.includes('chunk-')))) {
    if (existsSync(path) && readFileSync(path).equals(contents)) continue;
    mkdirSync(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, contents);
    renameSync(temporary, path);
  }
  return new Set(outputFiles.map((file) => file.path));
}

/** Throws when it fails. */
function install() {
  if (!isInstalled()) {
    console.error('trireme: installing the dependencies (npm ci)');
    // --include=dev: the compiler is a dev dependency, also where NODE_ENV is production.
    // --loglevel: `npm start --silent` would silence the reason of a failure here too.
    run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=warn']);
  }
}

/**
 * Makes packages ready to run without checking their types.
 * @param {readonly string[]} packages such as `packages/core`
 */
export async function bundlePackages(packages) {
  install();
  for (const project of packages) await bundle(project, true);
}

/** Installs and builds what is out of date. Throws when a command fails. */
export async function setup() {
  install();
  const found = projects();
  for (const project of found) removeStaleOutputs(project, isBundled(project) ? await bundle(project) : new Set());
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--build', ...found]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setup();
  } catch (error) {
    console.error(`trireme: set-up failed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
