/** What scripts for the `trireme` command import. */
export {
  type DataContext,
  type DataPart,
  defineRun,
  type LogOptions,
  type Options,
  type OptionValue,
  type PredictContext,
  type Run,
  type RunData,
  type RunDefinition,
} from './run.js';
