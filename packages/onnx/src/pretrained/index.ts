/** Pretrained models of Hugging Face's hub in Trireme. */
export {
  BertForMaskedLM,
  BertForSequenceClassification,
  BertForTokenClassification,
  type BertInputs,
  BertModel,
  type BertOutput,
} from './bert.js';
export { fromPretrained, modelTypes, type Pretrained, type PretrainedModel, type PretrainedOptions } from './from-pretrained.js';
export { type DecoderInputs, Gpt2ForCausalLM } from './gpt2.js';
export { type HubModel, type HubOptions, openHub } from './hub.js';
export { LlamaForCausalLM } from './llama.js';
export { ResNetForImageClassification, VitForImageClassification } from './vit.js';
