import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('../../../../scripts/conformance.mjs', import.meta.url));
const data = fileURLToPath(new URL('./data', import.meta.url));

function conformance(...args: string[]): { code: number | null; result: unknown; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--suite', 'onnx', '--jobs', '1', '--json', ...args], {
    encoding: 'utf8',
  });
  const lines = stdout.trimEnd().split('\n');
  return { code: status, result: lines.length === 1 && lines[0] !== '' ? JSON.parse(lines[0]) : null, said: stderr };
}

describe('npm run conformance', () => {
  // A sample of the tests of ONNX: operators of several domains, control flow, sequences, optionals, strings, functions, narrow types.
  it('passes the sample of tests, and says so in one line of JSON', () => {
    const { code, result, said } = conformance('--data', data);
    expect(said).toBe('');
    expect(result).toEqual({ suite: 'onnx', total: 18, passed: 18, failed: 0, skipped: 0 });
    expect(code).toBe(0);
  });
  it('fails a test whose expected output is another', () => {
    const folder = mkdtempSync(join(tmpdir(), 'trireme-conformance-'));
    try {
      const test = join(folder, 'test_wrong');
      cpSync(join(data, 'node/test_add_bcast'), test, { recursive: true });
      // The first input as expected output: same shape, other numbers.
      cpSync(join(test, 'test_data_set_0/input_0.pb'), join(test, 'test_data_set_0/output_0.pb'));
      const { code, result, said } = conformance('--data', folder);
      expect(result).toEqual({ suite: 'onnx', total: 1, passed: 0, failed: 1, skipped: 0 });
      expect(said).toMatch(/FAILED {2}test_wrong: .*elements differ/);
      expect(code).toBe(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
  it('says what is wrong with its arguments', () => {
    expect(conformance().said).toMatch(/--data FOLDER is missing/);
    expect(conformance('--data', data, '--tier', 'abacus')).toMatchObject({ code: 2, result: null });
    expect(conformance('--data', data, '--filter', 'no such test').said).toMatch(/no test's name contains/);
  });
});
