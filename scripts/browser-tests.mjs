// Where the browser tests run, and which they are.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';

const places = [
  process.env.CHROME_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/** The path of Chromium or Chrome on this machine, `undefined` where there is none. CHROME_PATH goes first. */
export const chromium = places.find((place) => place && existsSync(place));

/** Nothing a browser does in the background may reach a network or disturb a timing. */
export const chromiumArgs = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * True if this file, or a file that it imports from the same tests, imports a module of Node.
 * @param {string} file
 * @param {string} folder
 * @param {Set<string>} seen
 * @returns {boolean}
 */
function needsNode(file, folder, seen = new Set()) {
  if (seen.has(file)) return false;
  seen.add(file);
  const imports = [...readFileSync(file, 'utf8').matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]);
  return imports.some((name) => {
    if (name.startsWith('node:')) return true;
    const target = resolve(dirname(file), name.replace(/\.js$/, '.ts'));
    return (
      name.startsWith('.') && name.endsWith('.js') && target.startsWith(folder) && existsSync(target) && needsNode(target, folder, seen)
    );
  });
}

/**
 * The test files of a folder that a browser can run: all that keep clear of `node:` modules.
 * @param {string} folder
 */
export function browserTests(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'));
  return files.map((name) => join(folder, name)).filter((file) => !needsNode(file, folder));
}
