import file from '../reference/layers-convolution.json' with { type: 'json' };
import { replayLayers } from './layer-replay.js';

replayLayers('convolutions agree with PyTorch', file);
