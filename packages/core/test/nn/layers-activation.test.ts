import file from '../reference/layers-activation.json' with { type: 'json' };
import { replayLayers } from './layer-replay.js';

replayLayers('activations agree with PyTorch', file);
