/** Mixed precision, and the search for numbers that are none. */
export { type AnomalyDetails, AnomalyError, type AnomalyOptions, detectAnomaly } from './anomaly.js';
export { type AutocastOptions, autocast } from './autocast.js';
export { GradScaler, type GradScalerOptions, type GradScalerState } from './grad-scaler.js';
