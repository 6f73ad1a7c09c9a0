#!/usr/bin/env python3
"""Writes a checkpoint of Qwen3's form with random bfloat16 weights, to time what reads files: start-up, page cache.

    tools/synthetic_checkpoint.py OUT [--hidden 1024 --layers 24 --heads 16 --kv-heads 8 --inner 3072 --vocab 151936]

The defaults are `heed bench`'s shape qwen3-0.5b, 1.07 GB. Token 7 is the word "t7", and so on.
"""
import argparse
import json
import pathlib
import struct

import numpy as np

BLOCK = 1 << 22  # numbers that repeat


def shapes(o):
    head = 128
    yield "model.embed_tokens.weight", (o.vocab, o.hidden)
    for layer in range(o.layers):
        p = f"model.layers.{layer}."
        yield p + "self_attn.q_proj.weight", (o.heads * head, o.hidden)
        yield p + "self_attn.k_proj.weight", (o.kv_heads * head, o.hidden)
        yield p + "self_attn.v_proj.weight", (o.kv_heads * head, o.hidden)
        yield p + "self_attn.o_proj.weight", (o.hidden, o.heads * head)
        yield p + "self_attn.q_norm.weight", (head,)
        yield p + "self_attn.k_norm.weight", (head,)
        yield p + "mlp.gate_proj.weight", (o.inner, o.hidden)
        yield p + "mlp.up_proj.weight", (o.inner, o.hidden)
        yield p + "mlp.down_proj.weight", (o.hidden, o.inner)
        yield p + "input_layernorm.weight", (o.hidden,)
        yield p + "post_attention_layernorm.weight", (o.hidden,)
    yield "model.norm.weight", (o.hidden,)


def config(o):
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": o.hidden,
        "intermediate_size": o.inner, "num_hidden_layers": o.layers, "num_attention_heads": o.heads,
        "num_key_value_heads": o.kv_heads, "head_dim": 128, "vocab_size": o.vocab, "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": True, "dtype": "bfloat16",
    }


def tokenizer(o):
    return {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {"type": "WordPiece", "unk_token": "t0", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {f"t{i}": i for i in range(o.vocab)}},
    }


def bfloat16(floats):
    return (floats.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, default in [("hidden", 1024), ("layers", 24), ("heads", 16), ("kv-heads", 8), ("inner", 3072),
                          ("vocab", 151936)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    (o.out / "config.json").write_text(json.dumps(config(o), indent=1))
    (o.out / "tokenizer.json").write_text(json.dumps(tokenizer(o)))
    header, offset = {}, 0
    for name, shape in shapes(o):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    normal = bfloat16(np.random.default_rng(1).normal(0, 0.02, BLOCK)).tobytes()
    one = bfloat16(np.ones(max(o.hidden, 128))).tobytes()
    with open(o.out / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for entry in header.values():
            left = entry["data_offsets"][1] - entry["data_offsets"][0]
            source = normal if len(entry["shape"]) == 2 else one
            while left > 0:
                left -= file.write(source[:left])


if __name__ == "__main__":
    main()
