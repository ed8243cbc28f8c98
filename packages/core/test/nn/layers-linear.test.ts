import file from '../reference/layers-linear.json' with { type: 'json' };
import { replayLayers } from './layer-replay.js';

replayLayers('linear layers and parametrized weights agree with PyTorch', file);
