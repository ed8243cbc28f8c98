/** The Python peers: which interpreter has which of them, as `npm run bench:setup` left it in bench/.venv/peers.json. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

export const VENV = at('../.venv');
export const RECORD = at('../.venv/peers.json');
export const VENV_PYTHON = at(process.platform === 'win32' ? '../.venv/Scripts/python.exe' : '../.venv/bin/python');

/**
 * What a Python peer needs: the modules that must import, what pip is asked for, and the Debian package that may stand in.
 * @typedef {{ modules: string[], pip: string[], debian?: string }} PythonNeed
 */
/** @type {Record<string, PythonNeed>} */
export const NEEDS = {
  torch: { modules: ['torch', 'numpy'], pip: ['torch>=2.5,<3', 'numpy'], debian: 'python3-torch' },
  paddle: { modules: ['paddle', 'numpy'], pip: ['paddlepaddle>=3.0,<4', 'numpy'] },
  onnxruntime: { modules: ['onnxruntime', 'onnx', 'numpy'], pip: ['onnxruntime>=1.20,<2', 'onnx>=1.17,<2', 'numpy'] },
  openblas: { modules: ['numpy'], pip: ['numpy'] },
};

/**
 * Where a need is met, or why it is not.
 * @typedef {{ python: string, version: string, note?: string } | { reason: string }} Found
 */

const PROBE = `
import importlib, json, sys
modules = [importlib.import_module(name) for name in sys.argv[1:]]
print(json.dumps({'version': modules[0].__version__}))
`;

/**
 * Whether an interpreter imports all modules; the first one's version, or the error.
 * @param {string} python
 * @param {readonly string[]} modules
 * @returns {{ version: string } | { error: string }}
 */
export function probe(python, modules) {
  const done = spawnSync(python, ['-c', PROBE, ...modules], { encoding: 'utf8', timeout: 300_000 });
  const last = (/** @type {string} */ text) => text.trim().split('\n').at(-1) ?? '';
  if (done.status === 0) return JSON.parse(last(done.stdout));
  return { error: done.error?.message ?? last(done.stderr) };
}

/** What the last setup found; empty before the first. @returns {Record<string, Found>} */
export function found() {
  return existsSync(RECORD) ? JSON.parse(readFileSync(RECORD, 'utf8')) : {};
}

/** Every cache of compiled code, ours and the peers', in a folder. */
export const cachesIn = (/** @type {string} */ folder) => ({
  TRIREME_CACHE: `${folder}/trireme`,
  TORCHINDUCTOR_CACHE_DIR: `${folder}/inductor`,
  XDG_CACHE_HOME: `${folder}/xdg`,
});

/**
 * The environment of a Python peer: every setting of a BLAS or of OpenMP that the shell happens to have is taken away, then the
 * thread count is set the same for all of them. glibc keeps freed memory instead of giving megabytes back at each call, which
 * costs the peers page faults at every large result.
 * @param {number} threads
 * @returns {Record<string, string | undefined>}
 */
export function pythonEnv(threads) {
  const count = String(threads);
  /** @type {Record<string, string | undefined>} */
  const env = {};
  for (const name of Object.keys(process.env)) {
    if (/^(OPENBLAS|GOTO|MKL|BLIS|NVPL|OMP|KMP|GOMP|DNNL|ONEDNN|ATEN|TORCH|FLAGS|PYTHON)/.test(name)) env[name] = undefined;
  }
  return {
    ...env,
    OMP_NUM_THREADS: count,
    MKL_NUM_THREADS: count,
    OPENBLAS_NUM_THREADS: count,
    MALLOC_MMAP_THRESHOLD_: String(2 ** 30),
    MALLOC_TRIM_THRESHOLD_: String(2 ** 32),
    TORCHINDUCTOR_CACHE_DIR: at('../.venv/inductor'),
    // Compiles in its own process: no idle workers beside the one that is timed.
    TORCHINDUCTOR_COMPILE_THREADS: '1',
    PYTHONUNBUFFERED: '1',
    PYTHONDONTWRITEBYTECODE: '1',
  };
}
