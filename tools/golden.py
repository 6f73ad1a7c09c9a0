#!/usr/bin/env python3
"""Makes small random-weight checkpoints with known answers, from transformers' own classes.

    tools/golden.py OUT [NAME ...]        needs torch, transformers 5.17 and safetensors

Each OUT/NAME is a checkpoint folder plus golden.safetensors: `input_ids` [T], `logits` [96, V] of the last positions,
`greedy` [48] continuation tokens and `margin` [48], top-1 minus top-2 logit at each greedy step. Weights are rounded to
bfloat16 (float16 for one) and all arithmetic is float32 without a cache, so that a float32 load must agree to about
1e-3. Checkpoints vary in what a loader must cope with: stored dtype, shards, older forms of config.json.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, MistralConfig, Qwen2Config
from transformers import AutoModelForCausalLM

TOKENS, LAST, GREEDY = 180, 96, 48
SMALL = dict(hidden_size=64, intermediate_size=144, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=512, initializer_range=0.02)


def rope(kind, theta=10000.0, **values):
    return {"rope_type": kind, "rope_theta": theta, **values}


def cases():
    """name -> (config, dtype of the stored weights, shards, change to config.json or None)"""
    yield "qwen2", Qwen2Config(**SMALL, vocab_size=311, tie_word_embeddings=True, use_sliding_window=True,
                               sliding_window=40, max_window_layers=1), torch.bfloat16, 1, None
    yield "mistral", MistralConfig(**SMALL, vocab_size=307, sliding_window=50, head_dim=24), torch.bfloat16, 2, None
    yield "llama_linear", LlamaConfig(**SMALL, vocab_size=313, attention_bias=True, mlp_bias=True,
                                      rope_parameters=rope("linear", factor=4.0)), torch.bfloat16, 1, old_form
    yield "llama_yarn", LlamaConfig(**SMALL, vocab_size=317, rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=64, truncate=False, mscale=0.9, mscale_all_dim=0.6)), \
        torch.float16, 1, None


def old_form(config):
    """The form of config.json before transformers 5."""
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = {"type": parameters.pop("rope_type"), **parameters}
    config["torch_dtype"] = config.pop("dtype")
    return config


def randomise(model, dtype):
    """Weights large enough that attention is far from uniform, and exact in `dtype`."""
    generator = torch.Generator().manual_seed(1234)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.2 * torch.randn(weight.shape, generator=generator))
            else:
                scale = 0.3 if "bias" in name else 3.0 if "embed" in name or "lm_head" in name else 1.6
                width = 1 if "bias" in name else weight.shape[-1]
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale / width ** 0.5)
            weight.copy_(weight.to(dtype).float())


@torch.no_grad()
def answers(model, vocab):
    ids = torch.randint(0, vocab, (TOKENS,), generator=torch.Generator().manual_seed(5))
    logits = model(input_ids=ids[None], use_cache=False).logits[0, -LAST:].float()
    tokens, greedy, margin = ids.clone(), [], []
    for _ in range(GREEDY):
        top = model(input_ids=tokens[None], use_cache=False).logits[0, -1].topk(2)
        greedy.append(int(top.indices[0]))
        margin.append(float(top.values[0] - top.values[1]))
        tokens = torch.cat([tokens, top.indices[:1]])
    return {"input_ids": ids, "logits": logits.contiguous(), "greedy": torch.tensor(greedy),
            "margin": torch.tensor(margin)}


def write_weights(folder, model, dtype, shards):
    tied = model.config.tie_word_embeddings
    tensors = {name: weight.to(dtype).contiguous() for name, weight in model.state_dict().items()
               if not (tied and name == "lm_head.weight")}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def main():
    out, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, config, dtype, shards, change in cases():
        if wanted and name not in wanted:
            continue
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomise(model, dtype)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        document = config.to_dict()
        document["architectures"] = [type(model).__name__]
        document["dtype"] = str(dtype).removeprefix("torch.")
        (folder / "config.json").write_text(json.dumps(change(document) if change else document, indent=1))
        write_weights(folder, model, dtype, shards)
        save_file(answers(model, config.vocab_size), folder / "golden.safetensors")
        print(name, "done", flush=True)


if __name__ == "__main__":
    main()
