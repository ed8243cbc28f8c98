import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { browserTests, chromium, chromiumArgs } from './scripts/browser-tests.mjs';

/** Milliseconds. Far above what a test takes alone, for machines that do much else at once. */
const testTimeout = 60_000;

/** Tests of what is built on operations and gradients: whether threads share memory makes no difference there, so they run isolated only. */
const aboveTheRuntime = /test\/(nn|optim|amp|metrics|train|linalg|fft|signal|distributions|parity|data\/(vision|audio|text))\//;

const root = fileURLToPath(new URL('.', import.meta.url));

/** The tests that run in any JavaScript engine, in headless Chromium: with cross-origin isolation (shared memory, threads) and without. */
function browserProject(isolated: boolean, executablePath: string): TestProjectConfiguration {
  const name = isolated ? 'isolated' : 'plain';
  const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
  return {
    cacheDir: `node_modules/.vite/${name}`,
    server: isolated ? { headers } : {},
    // Found late, a dependency makes the page load again in the middle of a test.
    optimizeDeps: { include: ['fast-check'] },
    test: {
      name: `browser:${name}`,
      include: browserTests(`${root}packages/core/test`)
        .map((file) => relative(root, file))
        .filter((file) => isolated || !aboveTheRuntime.test(file)),
      provide: { isolated },
      testTimeout,
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({ launchOptions: { executablePath, args: chromiumArgs } }),
        instances: [{ browser: 'chromium' }],
      },
    },
  };
}

if (!chromium) {
  console.warn('No Chromium found: the browser tests are SKIPPED. Install it (Debian: apt-get install chromium) or set CHROME_PATH.');
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'node',
          setupFiles: ['packages/core/test/setup/leaks.ts'],
          // Native code would arrive in the middle of a test and change last bits; its own tests ask for it.
          env: { TRIREME_TIER: process.env.TRIREME_TIER ?? 'wasm' },
          testTimeout,
          include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts'],
          exclude: ['packages/core/test/browser/**'],
        },
      },
      ...(chromium ? [browserProject(true, chromium), browserProject(false, chromium)] : []),
    ],
  },
});
