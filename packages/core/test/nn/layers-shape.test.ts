import file from '../reference/layers-shape.json' with { type: 'json' };
import { replayLayers } from './layer-replay.js';

replayLayers('padding, pooling and resampling agree with PyTorch', file);
