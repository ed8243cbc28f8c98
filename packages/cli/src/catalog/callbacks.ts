/** The callbacks that a configuration can name, beside those that every run has. */
import * as train from 'trireme/train';
import { type Catalog, named, optionClass, plainClass } from '../config/named.js';
import { choice, count, flag, notNegative, numberIn, text, whole } from '../config/schema.js';

export const monitored = { monitor: text, mode: choice('min', 'max') };

export const callbackClasses: Catalog<train.Callback> = {
  EarlyStopping: optionClass(train.EarlyStopping, [], { ...monitored, minDelta: notNegative, patience: count, restoreBest: flag }),
  ReduceLROnPlateau: optionClass(train.ReduceLROnPlateau, [], {
    ...monitored,
    minDelta: notNegative,
    factor: numberIn({ above: 0, below: 1 }),
    patience: whole,
    cooldown: whole,
    minLr: notNegative,
  }),
  TerminateOnNaN: plainClass(train.TerminateOnNaN, []),
};

export const callback = named('callback', callbackClasses);
