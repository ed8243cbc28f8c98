/** Operators of com.microsoft and ai.onnx.ml give what onnxruntime gives (tools/reference/onnx/microsoft.py). */
import { readFileSync } from 'node:fs';
import { scope } from 'trireme';
import { describe, expect, it } from 'vitest';
import type { ElementType } from '../../src/engine/element-type.js';
import { type Attribute, elements, known, run } from './support.js';

interface StoredTensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}
interface Case {
  readonly op: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly inputs: readonly (StoredTensor | null)[];
  readonly outputs: readonly (StoredTensor | null)[];
}

function casesOf(name: string): readonly Case[] {
  return JSON.parse(readFileSync(new URL(`../reference/${name}.json`, import.meta.url), 'utf8')).cases;
}

/** Operators of the standard domain that only onnxruntime has. */
const stray = ['SimplifiedLayerNormalization'];

function check({ op, attributes, inputs, outputs }: Case, domain: string): void {
  const made = run(
    op,
    inputs.map((input) => (input === null ? null : known(input.type, input.data, input.shape))),
    attributes,
    { domain: stray.includes(op) ? '' : domain, wanted: outputs.map((output) => output !== null) },
  );
  for (const [k, wanted] of outputs.entries()) {
    if (wanted === null) continue;
    const value = made[k];
    if (value?.kind !== 'tensor') throw new Error(`output ${k} is missing`);
    expect([value.type, value.shape]).toEqual([wanted.type, wanted.shape]);
    if (wanted.type === 'string') {
      expect(value.host).toEqual(wanted.data);
      continue;
    }
    // Results that were quantized may be rounded to the other side of a half.
    const tolerance = wanted.type.startsWith('float') ? 2e-5 : op.startsWith('Q') ? 1 : 0;
    for (const [i, x] of elements(value.host).map(Number).entries()) {
      const y = Number(wanted.data[i]);
      if (Number.isNaN(y)) expect(x).toBeNaN();
      else expect(Math.abs(x - y), `output ${k}[${i}]: ${x} for ${y}`).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(y)));
    }
  }
}

for (const [file, domain] of [
  ['microsoft', 'com.microsoft'],
  ['ml', 'ai.onnx.ml'],
] as const) {
  describe(domain, () => {
    it.each(casesOf(file).map((entry, i) => [`${i} ${entry.op}`, entry] as const))('%s', (_, entry) => {
      scope(() => check(entry, domain));
    });
  });
}
