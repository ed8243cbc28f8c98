/** The command itself: usage, help, completion, the state of the machine. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { machineReport } from 'trireme';
import { describe, expect, test } from 'vitest';
import { parse } from '../src/args.js';
import { commands } from '../src/commands/index.js';
import { completion } from '../src/completion.js';
import { UsageError } from '../src/errors.js';
import { commandHelp, overview } from '../src/help.js';
import { flowers, makeFolder, parsed, root, trireme, writeFlowers } from './support.js';

const folder = makeFolder();
const { native } = machineReport();

describe('arguments', () => {
  const flags = commands.find((c) => c.name === 'train')?.flags ?? [];
  const read = (...args: string[]) => parse(args, flags, 'train');

  test('are read in any order', () => {
    const args = read('--seed', '7', 'a.yaml', '--set', 'x=1', '-o', 'out', '--set=y=-2', '--json', '--', '-b');
    expect(args.positionals).toEqual(['a.yaml', '-b']);
    expect([args.number('seed'), args.text('output'), args.all('set'), args.has('json'), args.has('resume')]).toEqual([
      7,
      'out',
      ['x=1', 'y=-2'],
      true,
      false,
    ]);
  });
  test.each([
    [['--epoch', '3'], /no option --epoch/, 'Did you mean --epochs?'],
    [['--zebra'], /no option --zebra/, 'See trireme help train.'],
    [['--seed'], /--seed has no value/, 'Write --seed N.'],
    [['--output', '--json'], /--output has no value/, 'Write --output FOLDER.'],
    [['--seed', '1.5'], /--seed is 1\.5/, 'It takes a whole number, 0 or more.'],
    [['--threads=0'], /--threads is 0/, 'It takes a whole number, 1 or more.'],
    [['--tier', 'natve'], /--tier is natve/, 'Did you mean native?'],
    [['--device', 'cuda'], /--device is cuda/, 'Known are cpu.'],
    [['--json=yes'], /--json takes no value/, 'Write --json alone.'],
    [['--seed', '1', '--seed', '2'], /given twice/, 'Give it once.'],
  ])('%j is told to be wrong', (args, message, fix) => {
    let error: unknown = null;
    try {
      read(...args);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(UsageError);
    expect(error).toMatchObject({ message: expect.stringMatching(message), fix });
  });
});

test('help tells every command, flag and exit code', () => {
  for (const command of commands) {
    expect(overview(commands)).toContain(`  ${command.name} `);
    for (const flag of command.flags) expect(commandHelp(command)).toContain(`--${flag.name}`);
    for (const code of ['0 ', '1 ', '2 ', '3 ', '130']) expect(commandHelp(command)).toMatch(new RegExp(`^  ${code} `, 'm'));
  }
});

test('wrong commands end with 2, help and version with 0', async () => {
  const results = await Promise.all(
    [['trian', 'x.yaml'], ['train'], ['evaluate', '--json'], ['help', 'doctor'], ['--version']].map((args) => trireme(folder, args)),
  );
  expect(results.map((r) => r.code)).toEqual([2, 2, 2, 0, 0]);
  expect(results[0].stderr).toBe('trireme: there is no command trian\nDid you mean train?\nSee trireme help.\n');
  expect(results[1].stderr).toMatch(/train needs an argument\nusage: trireme train <script or configuration>/);
  expect(parsed(results[2])).toMatchObject({ ok: false, exitCode: 2, error: { fix: 'Did you mean eval?' } });
  expect(results[3].stdout).toMatch(/--quick/);
  expect(results[4].stdout).toBe(
    `${(JSON.parse(readFileSync(join(root, 'packages/cli/package.json'), 'utf8')) as { version: string }).version}\n`,
  );
});

test('a wrong configuration ends with 3 and tells file, line and column', async () => {
  writeFlowers(join(folder, 'flowers.csv'));
  writeFileSync(join(folder, 'wrong.yaml'), flowers.replace('epochs: 2', 'epoch: 2').replace('[4, 16]', '[5, 16]'));
  const keys = await trireme(folder, ['train', 'wrong.yaml', '--json']);
  expect(keys.code).toBe(3);
  expect(parsed(keys)).toMatchObject({
    ok: false,
    exitCode: 3,
    error: {
      problems: [
        { file: expect.stringMatching(/wrong\.yaml$/), line: 2, column: 1, key: 'epoch', fix: 'Did you mean epochs?' },
        { line: 1, message: 'the key epochs is missing.' },
      ],
    },
  });
  // The data has four features: the first layer does not fit, and nothing was written.
  const shapes = await trireme(folder, ['train', 'wrong.yaml', '--set', 'epoch=null', '--epochs', '1']);
  expect(shapes.code).toBe(3);
  writeFileSync(join(folder, 'shapes.yaml'), flowers.replace('[4, 16]', '[5, 16]'));
  const { code, stderr } = await trireme(folder, ['train', 'shapes.yaml']);
  expect(code).toBe(3);
  expect(stderr).toMatch(
    /shapes\.yaml:5:5: model\[0\]: .*\[in Sequential\.0\] The data's inputs are float32 \[16, 4\], targets int32 \[16\] \(batch first\)\./,
  );
});

describe('completion', () => {
  test.skipIf(process.platform === 'win32')('of bash offers commands, flags and values', () => {
    const script = join(folder, 'trireme.bash');
    writeFileSync(script, completion('bash', commands));
    const complete = (...words: string[]): string[] =>
      execFileSync(
        'bash',
        [
          '-c',
          `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trireme; printf '%s\\n' "\${COMPREPLY[@]}"`,
          script,
          'trireme',
          ...words,
        ],
        { encoding: 'utf8' },
      )
        .trim()
        .split('\n');
    expect(complete('tr')).toEqual(['train']);
    expect(complete('train', 'a.yaml', '--res')).toEqual(['--resume']);
    expect(complete('train', '--tier', 'n')).toEqual(['native']);
    expect(complete('help', 'doc')).toEqual(['doctor']);
    expect(complete('train', 'x')).toEqual(['']);
  });
  test('of zsh and fish names every command and flag', () => {
    for (const shell of ['zsh', 'fish']) {
      const text = completion(shell, commands);
      for (const command of commands) {
        expect(text).toContain(command.name);
        for (const { name } of command.flags) expect(text).toMatch(new RegExp(`(--|-l )${name}\\b`));
      }
    }
    expect(() => completion('fsh', commands)).toThrow(/no completion for fsh/);
  });
});

describe('doctor', () => {
  interface Report {
    readonly ok: boolean;
    readonly checks: readonly {
      readonly group: string;
      readonly name: string;
      readonly status: string;
      readonly value: string;
      readonly fix?: string;
    }[];
    readonly selfTests: {
      readonly wasm: { readonly error: number; readonly roof: { readonly gflops: number; readonly gbps: number } | null };
      readonly native: { readonly error: number } | null;
    };
    readonly machine: { readonly threads: number };
  }
  const check = (report: Report, name: string) => report.checks.find((c) => c.name === name);

  test('measures what there is', async () => {
    const done = await trireme(folder, ['doctor', '--json'], { env: { TRIREME_TIER: '', TRIREME_CACHE: join(folder, 'cache') } });
    expect(done.code).toBe(0);
    const report = parsed<Report>(done);
    expect(report).toMatchObject({ ok: true, machine: { threads: 2 }, selfTests: { wasm: { roof: { threads: 2 } } } });
    expect(report.selfTests.wasm.error).toBeLessThan(1e-5);
    expect(report.selfTests.wasm.roof?.gflops).toBeGreaterThan(0.1);
    expect(check(report, 'cache')?.value).toMatch(/cache\/native, 0 libraries/);
    if (native.available) expect(report.selfTests.native?.error).toBeLessThan(1e-5);
    for (const name of ['Node.js', 'relaxed SIMD', 'compiler', 'koffi', 'sharp', 'TRIREME_THREADS'])
      expect(check(report, name), name).toBeDefined();
    if (!native.available) return;
    expect(check(report, 'flags')?.value).toMatch(/-march=native/);
    expect(check(report, 'compiler')?.value).toMatch(/version .+, (128|256|512)-bit vectors/);
    const selfTest = report.checks.find((c) => c.group === 'native code' && c.name === 'self-test');
    expect(selfTest).toMatchObject({ status: 'ok', value: expect.stringMatching(/compared with WebAssembly in/) });
  }, 60_000);

  test('says what is missing and what to do about it, and fails for what is broken', async () => {
    writeFileSync(join(folder, 'no-folder'), '');
    const missing = await trireme(folder, ['doctor', '--quick'], {
      env: { TRIREME_TIER: '', TRIREME_CC: 'no-such-cc', TRIREME_THRAEDS: '3' },
    });
    expect(missing.code).toBe(0);
    expect(missing.stdout).toMatch(/warn\s+compiler\s+no C compiler \(no-such-cc: not found\)\n\s+→ TRIREME_CC is no-such-cc/);
    expect(missing.stdout).toMatch(/warn\s+TRIREME_THRAEDS\s+3: no such variable\n\s+→ Did you mean TRIREME_THREADS\?/);
    expect(missing.stdout).toMatch(/\d things could be better\n$/);
    const wrong = await trireme(folder, ['doctor', '--quick'], { env: { TRIREME_TIER: 'fast' } });
    expect(wrong.code).toBe(3);
    expect(wrong.stderr).toMatch(/TRIREME_TIER is fast/);
  }, 60_000);

  test.skipIf(!native.available || process.platform === 'win32')(
    'finds native code that does not work',
    async () => {
      // It answers what it is asked, and fails on every kernel.
      const cc = join(folder, 'cc');
      writeFileSync(cc, '#!/bin/sh\ncase "$*" in *-dM*) exec cc "$@";; *) echo "x.c:1: error: no kernels today" >&2; exit 1;; esac\n', {
        mode: 0o755,
      });
      const { code, stdout } = await trireme(folder, ['doctor', '--quick'], { env: { TRIREME_TIER: '', TRIREME_CC: cc } });
      expect(stdout).toMatch(/FAIL\s+self-test\s+the compiler failed on .*no kernels today\n\s+→ Set TRIREME_TIER=wasm/);
      expect(code).toBe(1);
      // It subtracts where it should add.
      const edit = "sed -i 's/return a + b;/return a - b;/'";
      writeFileSync(
        cc,
        `#!/bin/bash\nargs=("$@"); for i in "\${!args[@]}"; do case "\${args[$i]}" in *.c) ${edit} "\${args[$i]}";; esac; done; exec cc "\${args[@]}"\n`,
      );
      const wrong = await trireme(folder, ['doctor', '--quick'], { env: { TRIREME_TIER: '', TRIREME_CC: cc } });
      expect(wrong.stdout).toMatch(/FAIL\s+self-test\s+\w+: kernel \w+ computes something else than WebAssembly/);
      expect(wrong.code).toBe(1);
    },
    120_000,
  );
});

test('the variables that doctor knows are those of docs/environment.md', async () => {
  const documented = [...readFileSync(join(root, 'docs/environment.md'), 'utf8').matchAll(/^\| `(TRIREME_[A-Z_]+)` \|/gm)].map(
    ([, name]) => name,
  );
  const env = Object.fromEntries(
    documented.map((name) => [
      name,
      ({ TRIREME_THREADS: '1', TRIREME_TIER: 'wasm', TRIREME_CACHE: 'off' } as Record<string, string>)[name] ?? '',
    ]),
  );
  const { stdout } = await trireme(folder, ['doctor', '--quick'], { env });
  expect(stdout).not.toMatch(/no such variable/);
}, 60_000);

test.skipIf(!native.available)(
  'warmup compiles what a training then finds',
  async () => {
    mkdirSync(join(folder, 'warm'));
    const env = { TRIREME_TIER: '', TRIREME_CACHE: join(folder, 'warm') };
    writeFlowers(join(folder, 'few.csv'), 32);
    const tiny = {
      name: 'tiny',
      epochs: 1,
      model: [{ Linear: [4, 3] }],
      data: { type: 'csv', path: 'few.csv', target: 'kind', batchSize: 16 },
      loss: 'CrossEntropyLoss',
      optimizer: { SGD: { lr: 0.1 } },
      log: { tensorBoard: false, report: false },
    };
    writeFileSync(join(folder, 'tiny.yaml'), JSON.stringify(tiny));
    const first = parsed<{ compiled: number; cache: { libraries: number } }>(
      await trireme(folder, ['warmup', 'tiny.yaml', '--json'], { env }),
    );
    expect(first.compiled).toBeGreaterThan(3);
    const trained = await trireme(folder, ['train', 'tiny.yaml', '--tier', 'native', '--json'], { env });
    expect(parsed(trained)).toMatchObject({ ok: true, machine: { tier: 'native' } });
    // Programs of so little work stay WebAssembly when nobody asks for native code: the training waits for no compiler.
    const unused = join(folder, 'unused');
    const small = await trireme(folder, ['train', 'tiny.yaml', '--overwrite', '--json'], { env: { ...env, TRIREME_CACHE: unused } });
    expect(parsed(small)).toMatchObject({ ok: true, machine: { tier: 'native' } });
    expect(existsSync(join(unused, 'native')) ? readdirSync(join(unused, 'native')) : []).toEqual([]);
    const second = parsed<{ compiled: number; cache: { libraries: number } }>(
      await trireme(folder, ['warmup', 'tiny.yaml', '--json'], { env }),
    );
    expect(second).toMatchObject({ compiled: 0, cache: { libraries: first.cache.libraries } });
  },
  90_000,
);
