/** The losses that a configuration can name: those of `trireme/nn` that compare an output with a target. */
import { type Tensor, tensor } from 'trireme';
import * as nn from 'trireme/nn';
import { type Catalog, type Entry, named, optionClass } from '../config/named.js';
import { choice, flag, integer, list, notNegative, nullable, number, positive, type Schema, share } from '../config/schema.js';

const reduced = { reduction: choice('mean', 'sum') };
const overlap = {
  ...reduced,
  activation: choice('softmax', 'sigmoid', 'none'),
  smooth: notNegative,
  batch: flag,
  includeBackground: flag,
  ignoreIndex: integer,
};

/** Numbers in a configuration that the loss takes as a tensor. */
const vector = list(notNegative, { min: 1 }) as unknown as Schema<Tensor | null>;
function withTensors<T>(entry: Entry<T>, ...names: readonly string[]): Entry<T> {
  const convert = ([name, value]: [string, unknown]): [string, unknown] => [name, names.includes(name) ? tensor(value as number[]) : value];
  return { ...entry, make: (args) => entry.make(Object.fromEntries(Object.entries(args).map(convert))) };
}

export const losses: Catalog<nn.Module<[Tensor, Tensor]>> = {
  CrossEntropyLoss: withTensors(
    optionClass(nn.CrossEntropyLoss, [], { ...reduced, labelSmoothing: share, ignoreIndex: integer, weight: vector }),
    'weight',
  ),
  NLLLoss: withTensors(optionClass(nn.NLLLoss, [], { ...reduced, ignoreIndex: integer, weight: vector }), 'weight'),
  FocalLoss: withTensors(optionClass(nn.FocalLoss, [], { ...reduced, gamma: notNegative, ignoreIndex: integer, alpha: vector }), 'alpha'),
  SigmoidFocalLoss: optionClass(nn.SigmoidFocalLoss, [], { ...reduced, alpha: nullable(share), gamma: notNegative }),
  BCELoss: optionClass(nn.BCELoss, [], { ...reduced, weight: null }),
  BCEWithLogitsLoss: withTensors(optionClass(nn.BCEWithLogitsLoss, [], { ...reduced, weight: null, posWeight: vector }), 'posWeight'),
  MultiLabelSoftMarginLoss: optionClass(nn.MultiLabelSoftMarginLoss, [], { ...reduced, weight: null }),
  KLDivLoss: optionClass(nn.KLDivLoss, [], { reduction: choice('mean', 'sum', 'batchmean'), logTarget: flag }),
  L1Loss: optionClass(nn.L1Loss, [], reduced),
  MSELoss: optionClass(nn.MSELoss, [], reduced),
  SmoothL1Loss: optionClass(nn.SmoothL1Loss, [], { ...reduced, beta: notNegative }),
  HuberLoss: optionClass(nn.HuberLoss, [], { ...reduced, delta: positive }),
  LogCoshLoss: optionClass(nn.LogCoshLoss, [], reduced),
  QuantileLoss: optionClass(nn.QuantileLoss, [], { ...reduced, quantile: share }),
  PoissonNLLLoss: optionClass(nn.PoissonNLLLoss, [], { ...reduced, logInput: flag, full: flag, eps: positive }),
  DiceLoss: optionClass(nn.DiceLoss, [], overlap),
  TverskyLoss: optionClass(nn.TverskyLoss, [], { ...overlap, alpha: notNegative, beta: notNegative, gamma: positive }),
  JaccardLoss: optionClass(nn.JaccardLoss, [], overlap),
  SoftMarginLoss: optionClass(nn.SoftMarginLoss, [], reduced),
  MultiMarginLoss: optionClass(nn.MultiMarginLoss, [], { ...reduced, p: null, margin: number, weight: null }),
};

export const loss = named('loss', losses, (name) => (Object.hasOwn(losses, `${name}Loss`) ? `Did you mean ${name}Loss?` : undefined));
