/** What the page was served as: the runs of all other browser tests mean nothing unless this holds. */
import { expect, inject, test } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** True where the server sends the headers that make a page cross-origin isolated. */
    isolated: boolean;
  }
}

test('the page is cross-origin isolated exactly when served as such', () => {
  expect(crossOriginIsolated).toBe(inject('isolated'));
});

test('shared WebAssembly memory can be posted to a worker exactly when isolated', async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const source = 'onmessage = ({ data }) => { new Int32Array(data.buffer)[0] = 42; postMessage(0); }';
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url);
  try {
    const answered = new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => reject(new Error(event.message));
    });
    if (inject('isolated')) {
      worker.postMessage(memory);
      await answered;
      expect(new Int32Array(memory.buffer)[0]).toBe(42);
    } else {
      expect(() => worker.postMessage(memory)).toThrow(DOMException);
    }
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
});
