"""Writes small random models of Hugging Face's transformers, with inputs and outputs, to packages/onnx/test/reference/pretrained.json.

    pip install transformers torch safetensors && python tools/reference/pretrained/models.py
"""

import base64
import io
import json
import tempfile
from pathlib import Path

import torch
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification, BertModel, GPT2Config, GPT2LMHeadModel,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, ResNetConfig, ResNetForImageClassification,
                          ViTConfig, ViTForImageClassification)

OUT = Path(__file__).resolve().parents[3] / "packages" / "onnx" / "test" / "reference" / "pretrained.json"
torch.manual_seed(5)
cases = []


def describe(t):
    return {"shape": list(t.shape), "data": [round(float(v), 7) for v in t.reshape(-1)]}


def add(name, model, inputs, pick="logits", bin=False):
    model.eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "running_var" in key else torch.randn_like(value) * 0.3)
        outputs = model(**inputs)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_text())
        weights = (Path(folder) / "model.safetensors").read_bytes()
        if bin:
            out = io.BytesIO()
            torch.save(model.state_dict(), out)
            weights = out.getvalue()
    picked = [pick] if isinstance(pick, str) else pick
    cases.append({"name": name, "config": config, "file": "pytorch_model.bin" if bin else "model.safetensors", "weights": base64.b64encode(weights).decode(),
                  "inputs": {key: describe(value) for key, value in inputs.items()}, "outputs": {key: describe(outputs[key]) for key in picked}})


ids = torch.tensor([[1, 5, 3, 7, 2, 0], [4, 4, 9, 0, 0, 0]])
mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
types = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
small = dict(vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12)
bert = dict(**small, max_position_embeddings=16)
text = dict(input_ids=ids, attention_mask=mask, token_type_ids=types)
add("bert", BertModel(BertConfig(**bert)), text, ["last_hidden_state", "pooler_output"])
add("bert classification", BertForSequenceClassification(BertConfig(**bert, id2label={0: "no", 1: "yes", 2: "maybe"}, label2id={"no": 0, "yes": 1, "maybe": 2})), text)
add("bert tokens", BertForTokenClassification(BertConfig(**bert, hidden_act="relu")), text)
add("bert masked words", BertForMaskedLM(BertConfig(**bert)), text)
gpt = GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
add("gpt2", GPT2LMHeadModel(gpt), dict(input_ids=ids))
add("gpt2 of torch.save", GPT2LMHeadModel(gpt), dict(input_ids=ids), bin=True)
llama = dict(vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=12, max_position_embeddings=64)
add("llama", LlamaForCausalLM(LlamaConfig(**llama)), dict(input_ids=ids, attention_mask=mask))
add("llama stretched", LlamaForCausalLM(LlamaConfig(**llama, tie_word_embeddings=True, rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
    "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32})), dict(input_ids=ids))
add("mistral", MistralForCausalLM(MistralConfig(**llama, sliding_window=None, head_dim=6)), dict(input_ids=ids))
add("qwen2", Qwen2ForCausalLM(Qwen2Config(**llama)), dict(input_ids=ids))
picture = torch.randn(2, 3, 8, 8)
add("vit", ViTForImageClassification(ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=8, patch_size=4, num_labels=3)), dict(pixel_values=picture))
larger = torch.randn(1, 3, 20, 18)
for kind, extra in (("basic", {}), ("bottleneck", {"downsample_in_bottleneck": True, "downsample_in_first_stage": True})):
    add(f"resnet {kind}", ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[8, 12], depths=[2, 1], layer_type=kind, num_labels=3, **extra)), dict(pixel_values=larger))
text = json.dumps({"family": "pretrained", "reference": "transformers " + __import__("transformers").__version__, "cases": cases}, separators=(",", ":")).replace('{"name":"', '\n{"name":"')
OUT.write_text(text + "\n")
print(len(cases), "cases", len(text) // 1024, "KiB")
