export { memoryPlot } from './memory-plot.js';
export { type KernelRow, type LayerRow, type MemoryPoint, Profile, type ProfileRow } from './profile.js';
export { measureRoof, type Roof } from './roof.js';
export {
  type KernelEvent,
  type OpShare,
  type ProfileEvent,
  type ProfileOptions,
  profile,
  type RegionEvent,
  recordFunction,
} from './session.js';
