import file from '../reference/layers-normalization.json' with { type: 'json' };
import { replayLayers } from './layer-replay.js';

replayLayers('normalizations agree with PyTorch', file);
