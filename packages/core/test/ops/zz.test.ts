import { test } from 'vitest';
import { allPrimitives } from '../../src/ops/table.js';
test('x', () => { console.log(allPrimitives.map((p) => `${p.name}${p.vjp === null ? '-' : ''}`).join(' '), allPrimitives.length, new Set(allPrimitives.map(p=>p.name)).size); });
