/** What the report shows beside the curves: confusions, measures by class, mistakes, training pictures as the network sees them. */
import { type GreyPictures, ItemRandom } from 'trireme/data';
import { invertColors } from 'trireme/data/vision';
import { classMetrics, confusionMatrix } from 'trireme/metrics';
import type { ReportSection, SampleImage } from 'trireme/train';
import { augmentation, samplesOf } from './data.js';
import type { Predictions } from './training.js';

/** Most misclassified pictures that are shown. */
const mostMistakes = 48;
const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;

export interface Results {
  readonly train: GreyPictures;
  readonly test: GreyPictures;
  readonly classNames: readonly string[];
  /** Of the first pictures of the test set. */
  readonly predictions: Predictions;
}

/** The pictures that the model took for another class, those it was surest of first. */
function mistakes({ test, classNames, predictions: { classes, confidence } }: Results): ReportSection {
  const samples = samplesOf(test);
  const labels = test.fields.label.data;
  const wrong = Array.from(classes.keys()).filter((i) => classes[i] !== labels[i]);
  wrong.sort((a, b) => confidence[b] - confidence[a]);
  const shown = wrong.slice(0, mostMistakes);
  return {
    kind: 'images',
    title: `Misclassified: ${wrong.length} of ${classes.length}`,
    note: `True class → prediction, with its probability.${wrong.length > shown.length ? ` The ${shown.length} the model was surest of:` : ''}`,
    images: shown.map((i) => ({
      image: invertColors(samples.get(i).image),
      caption: `${classNames[labels[i]]} → ${classNames[classes[i]]}, ${percent(confidence[i])}`,
    })),
    size: 84,
  };
}

/** The first picture of each class in three epochs. */
function variations({ train, classNames }: Results): ReportSection {
  const samples = samplesOf(train);
  const labels = train.fields.label.data;
  const images = classNames.flatMap((name, c): SampleImage[] => {
    const index = labels.indexOf(c);
    if (index < 0) return [];
    return [1, 2, 3].map((epoch) => ({
      image: invertColors(augmentation(samples.get(index), new ItemRandom(0, index, epoch)).image),
      caption: name,
    }));
  });
  return {
    kind: 'images',
    title: 'Training pictures, varied',
    note: 'Mirrored, moved, partly covered: one picture of each class in three epochs.',
    images,
    size: 84,
  };
}

export function sections(results: Results): ReportSection[] {
  const { test, classNames, predictions } = results;
  const labels = test.fields.label.data.subarray(0, predictions.classes.length);
  const counts = confusionMatrix(labels, predictions.classes, classNames.length);
  const rows = classMetrics(counts).map((c, k) => [classNames[k], percent(c.precision), percent(c.recall), percent(c.f1), c.support]);
  return [
    { kind: 'confusion', title: 'Confusion matrix', matrix: { classNames, counts } },
    { kind: 'table', title: 'By class', table: { columns: ['Class', 'Precision', 'Recall', 'F1', 'Pictures'], rows } },
    mistakes(results),
    variations(results),
  ];
}
