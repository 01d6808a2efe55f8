#!/usr/bin/env python3
"""Writes a model of random weights that matter: SGLang's own dummy weights are so small that all prompts get nearly the same
scores. Needs torch and safetensors. Norms are 1, all else has the deviation 0.02, and the last layer 0.06.
usage: random_model.py MODEL DIR     MODEL holds config.json of a Qwen2 model and its tokenizer; DIR becomes the model, about 15 GB for 7B
"""
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

source, to = map(pathlib.Path, sys.argv[1:3])
to.mkdir(parents=True, exist_ok=True)
for f in source.iterdir():
    shutil.copyfile(f, to / f.name)
c = json.loads((source / "config.json").read_text())
hidden, inner, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
key_value = hidden // heads * c["num_key_value_heads"]
torch.manual_seed(1)


def normal(*shape, deviation=0.02):
    return (torch.randn(*shape, device="cuda" if torch.cuda.is_available() else "cpu") * deviation).to(torch.bfloat16).cpu()


def layer(i):
    p = f"model.layers.{i}."
    yield p + "input_layernorm.weight", torch.ones(hidden, dtype=torch.bfloat16)
    yield p + "post_attention_layernorm.weight", torch.ones(hidden, dtype=torch.bfloat16)
    for name, rows in [("q", hidden), ("k", key_value), ("v", key_value)]:
        yield f"{p}self_attn.{name}_proj.weight", normal(rows, hidden)
        yield f"{p}self_attn.{name}_proj.bias", normal(rows)
    yield p + "self_attn.o_proj.weight", normal(hidden, hidden)
    yield p + "mlp.gate_proj.weight", normal(inner, hidden)
    yield p + "mlp.up_proj.weight", normal(inner, hidden)
    yield p + "mlp.down_proj.weight", normal(hidden, inner)


n = c["num_hidden_layers"]
files = [dict(layer(i)) for i in range(n)]
files.append({
    "model.embed_tokens.weight": normal(c["vocab_size"], hidden),
    "model.norm.weight": torch.ones(hidden, dtype=torch.bfloat16),
    "lm_head.weight": normal(c["vocab_size"], hidden, deviation=0.06),
})
index = {}
for i, tensors in enumerate(files):
    name = f"model-{i + 1:05d}-of-{len(files):05d}.safetensors"
    save_file(tensors, to / name, metadata={"format": "pt"})
    index.update(dict.fromkeys(tensors, name))
(to / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
