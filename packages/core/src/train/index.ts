/** Training: models, callbacks, checkpoints, summaries, logs. */
export {
  type BatchIterable,
  fieldsToTensors,
  fieldTensor,
  type MemoryData,
  type Pair,
  type TrainData,
} from './batches.js';
export { type Callback, LambdaCallback, type TrainRun, type TrainState } from './callback.js';
export { EarlyStopping, type EarlyStoppingOptions } from './callbacks/early-stopping.js';
export { HtmlReport, type HtmlReportOptions } from './callbacks/html-report.js';
export { CsvLogger, JsonlLogger, type JsonlLoggerOptions } from './callbacks/loggers.js';
export { ModelCheckpoint, type ModelCheckpointOptions } from './callbacks/model-checkpoint.js';
export type { MonitorOptions } from './callbacks/monitor.js';
export { ReduceLROnPlateau, type ReduceLROnPlateauOptions } from './callbacks/plateau.js';
export { formatDuration, formatNumber, ProgressBar, type ProgressBarOptions, type TextOutput } from './callbacks/progress.js';
export { LearningRateLogger, type LearningRateLoggerOptions, TerminateOnNaN } from './callbacks/simple.js';
export { TensorBoard, type TensorBoardOptions } from './callbacks/tensorboard.js';
export { type CheckpointEntry, CheckpointStore, type LoadedCheckpoint, type Retention } from './checkpoint.js';
export { describeMachine, type Machine } from './machine.js';
export {
  type ArrayResult,
  type ArraysOf,
  type CompileOptions,
  type DataOptions,
  type FitOptions,
  Model,
  type PredictOptions,
} from './model.js';
export type { AutocastOption, Precision, PrecisionOptions } from './precision.js';
export type { Chart, Series } from './report/charts.js';
export {
  type ConfusionMatrix,
  type Report,
  type ReportSection,
  renderReport,
  type SampleImage,
  type Table,
} from './report/report.js';
export { type TrainStep, type TrainStepOptions, trainStep } from './step.js';
export { type LayerSummary, type NetSummary, summary } from './summary.js';
export { graphDef } from './tensorboard/graph.js';
export type { Hparams } from './tensorboard/summaries.js';
export { type EventSink, SummaryWriter, type SummaryWriterOptions, type Values } from './tensorboard/writer.js';
export type { ExampleInput, InputSpec } from './trace-net.js';
export * from './types.js';
