// Holds the package to its size: bundled for a browser, minified and gzipped, and unpacked in node_modules.
// A static import of a Node module would break the browser bundle, so it fails here too.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { root } from './setup.mjs';

const maxBundle = 300 * 1024;
const maxPackage = 10 * 1024 * 1024;

const core = join(root, 'packages/core');
// The worker is fetched as a second script, so it is a second bundle, and both count.
const { outputFiles } = await build({
  entryPoints: [join(core, 'dist/index.js'), join(core, 'dist/worker.js')],
  outdir: join(core, 'dist'),
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2023',
  write: false,
  logLevel: 'warning',
});
const bundle = outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);

const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: core,
  encoding: 'utf8',
  shell: process.platform === 'win32',
});
/** @type {{ unpackedSize: number, entryCount: number }[] | Record<string, { unpackedSize: number, entryCount: number }>} */
const report = JSON.parse(packed);
const [{ unpackedSize, entryCount }] = Object.values(report);

const kib = (/** @type {number} */ bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
console.log(`browser bundle, gzip: ${kib(bundle)} of ${kib(maxBundle)}`);
console.log(`package, unpacked:    ${kib(unpackedSize)} of ${kib(maxPackage)} in ${entryCount} files`);
if (bundle > maxBundle || unpackedSize > maxPackage) {
  console.error('check-size: too big. See what grew with `npx esbuild packages/core/dist/index.js --bundle --minify --analyze`.');
  process.exitCode = 1;
}
