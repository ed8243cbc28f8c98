/** The report page: curves, confusion matrix and the misclassified pictures. */
import type { ClassMetrics } from 'trireme/metrics';
import { type Chart, type EpochRecord, type ReportSection, renderReport, type SampleImage } from 'trireme/train';
import type { Pictures } from './datasets.js';
import type { Predictions } from './training.js';

export interface ReportData {
  readonly title: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly epochs: readonly EpochRecord[];
  readonly classNames: readonly string[];
  readonly matrix: readonly (readonly number[])[];
  readonly classes: readonly ClassMetrics[];
  readonly test: Pictures;
  readonly predictions: Predictions;
}

/** Most misclassified pictures that are shown. */
const mostMistakes = 48;

const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;

function chart(title: string, epochs: readonly EpochRecord[], train: string, test: string, format: (v: number) => string): Chart {
  const points = (name: string): [number, number][] => epochs.map((e) => [e.epoch, e.metrics[name]]);
  return {
    title,
    axis: 'epoch',
    format,
    series: [
      { name: 'train', points: points(train) },
      { name: 'test', points: points(test) },
    ],
  };
}

/** The pictures that the model took for another class, those it was surest of first. */
function mistakes({ test, predictions, classNames }: ReportData): ReportSection {
  const { images, labels, side } = test;
  const { classes, confidence } = predictions;
  const size = side ** 2;
  const wrong = Array.from(classes.keys()).filter((i) => classes[i] !== labels[i]);
  wrong.sort((a, b) => confidence[b] - confidence[a]);
  const shown = wrong.slice(0, mostMistakes).map((i): SampleImage => {
    const data = Uint8Array.from(images.subarray(i * size, (i + 1) * size), (ink) => Math.round(255 * (1 - ink)));
    const caption = `${classNames[labels[i]]} → ${classNames[classes[i]]}, ${percent(confidence[i])}`;
    return { image: { width: side, height: side, channels: 1, data }, caption };
  });
  const most = wrong.length > shown.length ? ` The ${shown.length} the model was surest of:` : '';
  return {
    kind: 'images',
    title: `Misclassified: ${wrong.length} of ${labels.length}`,
    note: `True class → prediction, with its probability.${most}`,
    images: shown,
    size: 72,
  };
}

/** The whole page. */
export function renderPage(data: ReportData): Promise<string> {
  const { title, facts, epochs, classNames, matrix, classes } = data;
  const rows = classes.map((c, k) => [classNames[k], percent(c.precision), percent(c.recall), percent(c.f1), c.support]);
  return renderReport({
    title,
    facts,
    sections: [
      {
        kind: 'charts',
        title: 'Learning curves',
        charts: [
          chart('Loss', epochs, 'loss', 'valLoss', (v) => v.toFixed(2)),
          chart('Accuracy', epochs, 'accuracy', 'valAccuracy', percent),
        ],
        note: 'The loss includes label smoothing, and in training dropout.',
      },
      { kind: 'confusion', title: 'Confusion matrix', matrix: { classNames, counts: matrix } },
      { kind: 'table', title: 'By class', table: { columns: ['Class', 'Precision', 'Recall', 'F1', 'Pictures'], rows } },
      mistakes(data),
    ],
  });
}
