/** How each primitive is written. */
import type { Mapper } from '../emitter.js';
import { contractMappers } from './contract.js';
import { controlMappers } from './control.js';
import { elementwiseMappers } from './elementwise.js';
import { fftMappers } from './fft.js';
import { indexMappers } from './index-ops.js';
import { reduceMappers } from './reduce.js';
import { spatialMappers } from './spatial.js';

const all = new Map<string, Mapper>(
  [elementwiseMappers, reduceMappers, contractMappers, spatialMappers, indexMappers, fftMappers, controlMappers].flatMap((table) =>
    Object.entries(table),
  ),
);

/** What writes a primitive; undefined where nothing does. */
export function mapperOf(primitive: string): Mapper | undefined {
  return all.get(primitive);
}
