#!/usr/bin/env python3
"""Makes small random-weight checkpoints with known answers, from transformers' own classes.

    tools/golden.py OUT [NAME ...]        needs torch, transformers 5.17, safetensors and accelerate

Each OUT/NAME is a checkpoint folder (golden_cases.py lists them) plus golden.safetensors (golden_common.py). Weights
are rounded to bfloat16 (float16 for one) and all arithmetic is float32 without a cache, so that a float32 load must
agree to about 1e-3. Tensor names and config.json are what save_pretrained writes, but for what the case changes. Each
folder is then loaded by transformers; how far its logits are from the stored ones is printed.
"""
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, logging

from golden_cases import cases
from golden_common import TOKENS, prompt, random_weight, settle, write_json, write_weights


PLAIN = dict(attn_implementation="eager", experts_implementation="eager")


def build(config, kind):
    model = kind._from_config(config, **PLAIN) if kind else AutoModelForCausalLM.from_config(config, **PLAIN)
    return model.float().eval()


def randomise(model, generator, dtype):
    """Weights and the buffers that are weights, exact in `dtype`."""
    family = model.config.get_text_config().model_type
    transposed = family in ("gpt_oss", "llama4_text")
    zero_centred = family.startswith("qwen3_next") or family.startswith("qwen3_5")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            plus_one = zero_centred and "linear_attn.norm" not in name and "visual" not in name
            value = random_weight(name, weight.shape, generator, transposed and ".experts." in name, plus_one)
            if family.startswith("gemma") and "embed" in name:  # multiplied by sqrt(hidden_size) at the input
                value /= 3
            weight.copy_(value.to(dtype).float())
        for name, buffer in model.named_buffers():
            if name.endswith(("e_score_correction_bias", "layer_scalar")):
                buffer.copy_(random_weight(name, buffer.shape, generator).to(dtype).float())


def published(model, dtype):
    """config.json and tensors of save_pretrained in `dtype`, but for the buffers that are published in float32."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads(pathlib.Path(folder, "config.json").read_text())
        tensors = load_file(f"{folder}/model.safetensors")
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if "dtype" in part:
            part["dtype"] = str(dtype).removeprefix("torch.")
    wide = ("e_score_correction_bias", "_decay", "slope_rate")
    return config, {name: tensor if name.endswith(wide) else tensor.to(dtype) for name, tensor in tensors.items()}


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=ids[None], use_cache=False).logits[0]


def main():
    logging.disable_progress_bar()
    out, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, case in cases():
        if wanted and name not in wanted:
            continue
        model = build(case.config, case.kind)
        ids = prompt(case.config.get_text_config().vocab_size, TOKENS)
        stored = {}

        def fill(generator):
            randomise(model, generator, case.dtype)
            stored.update(case.pack(model, generator) if case.pack else {})

        golden, line = settle(fill, lambda ids: logits_of(model, ids), ids)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        config, tensors = published(model, case.dtype)
        write_json(folder / "config.json", case.change(config) if case.change else config)
        write_weights(folder, case.rewrite(tensors, stored) if case.rewrite else tensors, case.shards)
        save_file(golden, folder / "golden.safetensors")

        again = type(model).from_pretrained(folder, dtype=torch.float32, **PLAIN)
        difference = (logits_of(again.float().eval(), ids)[-len(golden["logits"]):] - golden["logits"]).abs().max()
        print(f"{name}: {line}; read back {float(difference):.1e}", flush=True)


if __name__ == "__main__":
    main()
