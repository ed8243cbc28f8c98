/** Trireme's side of every workload. Threads and tier come from TRIREME_THREADS and TRIREME_TIER. */
import * as tr from 'trireme';
import { Refused } from '../serve.mjs';
import { onnx } from './onnx.mjs';
import { eager, gemm, operation } from './ops.mjs';
import { cnn, embedding, gpt, lstm, mlp, resnet18Train } from './train.mjs';
import { bertInfer, mobilenetV2Infer, resnet18Infer } from './vision.mjs';

/** The tier that really runs, so that a row never claims another one. */
export function tierInUse() {
  const device = tr.defaultDevice();
  return 'tier' in device && typeof device.tier === 'string' ? device.tier : 'wasm';
}

/** @returns {import('../serve.mjs').Prepared} */
export function prepare(/** @type {import('../../workloads.mjs').Workload} */ workload) {
  switch (workload.kind) {
    case 'gemm':
      return gemm(workload.size);
    case 'eager':
      return eager(workload.recorded === true);
    case 'op':
      return operation(workload.name);
    case 'startup':
      return mlp();
    case 'onnx':
      return onnx(workload.name);
    default:
  }
  switch (workload.name) {
    case 'mlp-train':
      return mlp();
    case 'cnn-train':
      return cnn();
    case 'gpt-train':
      return gpt();
    case 'lstm-train':
      return lstm();
    case 'embedding-train':
      return embedding();
    case 'resnet18-train':
      return resnet18Train();
    case 'resnet18-infer-1':
    case 'resnet18-infer-8':
      return resnet18Infer(workload.size);
    case 'mobilenetV2-infer':
      return mobilenetV2Infer();
    case 'bert-base-infer':
      return bertInfer();
    default:
      throw new Refused(`no runner for ${workload.name}`);
  }
}
