#!/usr/bin/env python3
"""Plain-torch reference of EAGLE-3 drafters, and its goldens (reference_drafts.py).

    tools/reference_eagle3.py GOLDENS OUT [NAME ...]        needs torch, transformers 5.17 and safetensors

OUT/<name> gets a drafter of random weights for GOLDENS/<target>.

    eagle3_authors        for qwen3: the authors' config and names; the usual taps; a head for 120 tokens
    eagle3_speculators    for gemma3_text: two layers with norms of q and k; taps out of order, normed before they are
                          joined; the first layer gets the normed feature; embedding and head of the target
"""
import pathlib
import sys

import torch

from reference_common import causal_attention, gated_mlp, rms_norm
from reference_drafts import make, rotate

STACK = dict(hidden_size=96, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
             rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=512, hidden_act="silu", attention_bias=False,
             tie_word_embeddings=False)


def cases():
    """Name, target, config, number of layers that have run before each tap."""
    yield "eagle3_authors", "qwen3", {
        **STACK, "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "num_hidden_layers": 1,
        "vocab_size": 509, "draft_vocab_size": 120, "torch_dtype": "bfloat16"}, None
    yield "eagle3_speculators", "gemma3_text", {
        "architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3", "draft_vocab_size": 499,
        "norm_before_residual": True, "norm_before_fc": True, "eagle_aux_hidden_state_layer_ids": [4, 1, 6],
        "transformer_layer_config": {**STACK, "model_type": "qwen3", "num_hidden_layers": 2, "vocab_size": 499}}, [4, 1, 6]


class Eagle:
    def __init__(self, config, after):
        self.config = config
        self.c = config.get("transformer_layer_config", config)
        self.after = after
        self.own_head = config["draft_vocab_size"] < self.c["vocab_size"]
        self.first = "layers.0." if "transformer_layer_config" in config else "midlayer."
        chosen = torch.randperm(self.c["vocab_size"], generator=torch.Generator().manual_seed(9))
        self.ids = chosen[:config["draft_vocab_size"]].sort().values

    def layer_name(self, i):
        return self.first if i == 0 else f"layers.{i}."

    def shapes(self):
        c, hidden, dim = self.c, self.c["hidden_size"], self.c["head_dim"]
        q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
        width = 3 * self.target.config.hidden_size
        shapes = {"fc.weight": (hidden, width), "norm.weight": (hidden,), self.first + "hidden_norm.weight": (hidden,)}
        if self.config.get("norm_before_fc"):
            shapes["input_norm.weight"] = (width,)
        if self.own_head:
            shapes["lm_head.weight"] = (len(self.ids), hidden)
        for i in range(c["num_hidden_layers"]):
            read = 2 * hidden if i == 0 else hidden
            layer = {"self_attn.q_proj": (q, read), "self_attn.k_proj": (kv, read), "self_attn.v_proj": (kv, read),
                     "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (c["intermediate_size"], hidden),
                     "mlp.up_proj": (c["intermediate_size"], hidden), "mlp.down_proj": (hidden, c["intermediate_size"]),
                     "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
            if c["model_type"] == "qwen3":
                layer |= {"self_attn.q_norm": (dim,), "self_attn.k_norm": (dim,)}
            shapes |= {f"{self.layer_name(i)}{name}.weight": shape for name, shape in layer.items()}
        return shapes

    def norm(self, x, name):
        return rms_norm(x, self.weights[name + ".weight"], self.c["rms_norm_eps"])

    def attention(self, x, at):
        dim, places = self.c["head_dim"], torch.arange(len(x))
        q, k, v = ((x @ self.weights[f"{at}self_attn.{name}_proj.weight"].T).view(len(x), -1, dim) for name in "qkv")
        if self.c["model_type"] == "qwen3":
            q, k = self.norm(q, at + "self_attn.q_norm"), self.norm(k, at + "self_attn.k_norm")
        q, k = (rotate(part, places, self.c["rope_theta"], dim) for part in (q, k))
        return causal_attention(q, k, v, dim ** -0.5).flatten(1) @ self.weights[at + "self_attn.o_proj.weight"].T

    def target_features(self, states):
        layers = len(states) - 1
        taps = torch.cat([states[n] for n in self.after or [2, layers // 2, layers - 3]], -1).double()
        if self.config.get("norm_before_fc"):
            taps = self.norm(taps, "input_norm")
        return taps @ self.weights["fc.weight"].T

    def rows(self, features, tokens):
        x, embedding = features, self.target.model.embed_tokens(tokens).double()
        for i in range(self.c["num_hidden_layers"]):
            at = self.layer_name(i)
            read = self.norm(x if i else embedding, at + "input_layernorm")
            if i == 0:
                normed = self.norm(x, at + "hidden_norm")
                read = torch.cat([read, normed], -1)
                x = normed if self.config.get("norm_before_residual") else x
            x = x + self.attention(read, at)
            z = self.norm(x, at + "post_attention_layernorm")
            x = x + gated_mlp(z, *(self.weights[f"{at}mlp.{name}_proj.weight"] for name in ("gate", "up", "down")))
        return x

    def feature(self, row):
        return row

    def logits(self, row):
        normed = self.norm(row, "norm")
        if not self.own_head:
            return self.target.lm_head.weight.double() @ normed
        all_ids = torch.full((self.c["vocab_size"],), float("-inf"), dtype=torch.float64)
        all_ids[self.ids] = self.weights["lm_head.weight"] @ normed
        return all_ids


def vocabulary(eagle):
    if not eagle.own_head:
        return {}
    marks = torch.zeros(eagle.c["vocab_size"], dtype=torch.bool).index_fill(0, eagle.ids, True)
    return {"d2t": eagle.ids - torch.arange(len(eagle.ids)), "t2d": marks}


def main():
    goldens, out, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    for name, target, config, after in cases():
        if not names or name in names:
            make(goldens, out / name, target, Eagle(config, after), vocabulary)


if __name__ == "__main__":
    main()
