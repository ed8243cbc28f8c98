/** Every primitive there is: what tests and the support matrix go through. */
import type { Primitive } from '../graph/primitive.js';
import { binaryPrimitives } from './binary.js';
import { castPrimitives } from './cast.js';
import { contractPrimitives } from './contract.js';
import { controlPrimitives } from './control-trace.js';
import { convPrimitives } from './conv-primitives.js';
import { createPrimitives } from './create.js';
import { fftPrimitives } from './fft.js';
import { gatherPrimitives } from './gather.js';
import { iotaPrimitives } from './iota.js';
import { joinPrimitives } from './join.js';
import { linalgEigenPrimitives } from './linalg-eigen.js';
import { linalgQrPrimitives } from './linalg-qr.js';
import { linalgSolvePrimitives } from './linalg-solve.js';
import { padPrimitives } from './pad.js';
import { poolPrimitives } from './pool.js';
import { randomPrimitives } from './random-primitives.js';
import { samplerPrimitives } from './random-samplers.js';
import { reducePrimitives } from './reduce.js';
import { rowPrimitives } from './rows.js';
import { scanPrimitives } from './scan.js';
import { scatterPrimitives } from './scatter.js';
import { searchPrimitives } from './search.js';
import { sortPrimitives } from './sort.js';
import { ternaryPrimitives } from './ternary.js';
import { unaryPrimitives } from './unary.js';
import { viewPrimitives } from './view-slice.js';
import { writeViewPrimitive } from './write-view.js';

/** By family; each name occurs once. */
export const allPrimitives: readonly Primitive[] = [
  ...castPrimitives,
  ...unaryPrimitives,
  ...binaryPrimitives,
  ...ternaryPrimitives,
  ...createPrimitives,
  ...randomPrimitives,
  ...samplerPrimitives,
  ...iotaPrimitives,
  ...reducePrimitives,
  ...scanPrimitives,
  ...sortPrimitives,
  ...searchPrimitives,
  ...contractPrimitives,
  ...convPrimitives,
  ...poolPrimitives,
  ...padPrimitives,
  ...gatherPrimitives,
  ...scatterPrimitives,
  ...rowPrimitives,
  ...joinPrimitives,
  ...viewPrimitives,
  ...linalgSolvePrimitives,
  ...linalgQrPrimitives,
  ...linalgEigenPrimitives,
  ...fftPrimitives,
  writeViewPrimitive,
  ...Object.values(controlPrimitives),
];
