#!/usr/bin/env python3
"""Plain-torch reference of the MTP heads of Qwen3-Next and Qwen3.5, and its goldens (reference_drafts.py).

    tools/reference_mtp.py GOLDENS OUT [NAME ...]        needs torch, transformers 5.17 and safetensors

OUT/<name> gets heads of random weights (tensors mtp.*) for GOLDENS/<target>, with the target's config.json.

    mtp_qwen3_next    a layer with experts
    mtp_qwen3_5       a layer with an MLP
"""
import json
import pathlib
import sys

import torch

from reference_common import causal_attention, gated_mlp, mixture
from reference_drafts import make, rotate

CASES = {"mtp_qwen3_next": "qwen3_next", "mtp_qwen3_5": "qwen3_5"}


class Heads:
    def __init__(self, config):
        self.config = self.c = config
        self.moe = config.get("num_experts", 0)

    def shapes(self):
        c, hidden, dim = self.c, self.c["hidden_size"], self.c["head_dim"]
        q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
        layer = {"self_attn.q_proj": (2 * q, hidden), "self_attn.k_proj": (kv, hidden),
                 "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, q),
                 "self_attn.q_norm": (dim,), "self_attn.k_norm": (dim,),
                 "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        if self.moe:
            mlps = {f"mlp.experts.{e}": c["moe_intermediate_size"] for e in range(self.moe)}
            mlps["mlp.shared_expert"] = c["shared_expert_intermediate_size"]
            layer |= {"mlp.gate": (self.moe, hidden), "mlp.shared_expert_gate": (1, hidden)}
        else:
            mlps = {"mlp": c["intermediate_size"]}
        for name, inner in mlps.items():
            layer |= {f"{name}.gate_proj": (inner, hidden), f"{name}.up_proj": (inner, hidden),
                      f"{name}.down_proj": (hidden, inner)}
        shapes = {"mtp.fc.weight": (hidden, 2 * hidden), "mtp.norm.weight": (hidden,),
                  "mtp.pre_fc_norm_embedding.weight": (hidden,), "mtp.pre_fc_norm_hidden.weight": (hidden,)}
        return shapes | {f"mtp.layers.0.{name}.weight": shape for name, shape in layer.items()}

    def norm(self, x, name):
        """The stored weight is an offset from 1."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.c["rms_norm_eps"])
        return x * scale * (1 + self.weights[f"mtp.{name}.weight"])

    def linear(self, x, name):
        return x @ self.weights[f"mtp.layers.0.{name}.weight"].T

    def attention(self, x):
        c, dim = self.c, self.c["head_dim"]
        rope, places = c["rope_parameters"], torch.arange(len(x))
        turned = int(dim * rope["partial_rotary_factor"])
        q, gate = self.linear(x, "self_attn.q_proj").view(len(x), -1, 2 * dim).chunk(2, -1)
        k, v = (self.linear(x, f"self_attn.{name}_proj").view(len(x), -1, dim) for name in "kv")
        q = rotate(self.norm(q, "layers.0.self_attn.q_norm"), places, rope["rope_theta"], turned)
        k = rotate(self.norm(k, "layers.0.self_attn.k_norm"), places, rope["rope_theta"], turned)
        mixed = causal_attention(q, k, v, dim ** -0.5) * torch.sigmoid(gate)
        return self.linear(mixed.flatten(1), "self_attn.o_proj")

    def mlp(self, x, name):
        return gated_mlp(x, *(self.weights[f"mtp.layers.0.{name}.{part}_proj.weight"] for part in ("gate", "up", "down")))

    def ffn(self, x):
        if not self.moe:
            return self.mlp(x, "mlp")
        weight, chosen = self.linear(x, "mlp.gate").softmax(-1).topk(self.c["num_experts_per_tok"], -1)
        routed = mixture(x, chosen, weight / weight.sum(-1, keepdim=True),
                         lambda e, rows: self.mlp(rows, f"mlp.experts.{e}"))
        return routed + torch.sigmoid(self.linear(x, "mlp.shared_expert_gate")) * self.mlp(x, "mlp.shared_expert")

    def target_features(self, states):
        return self.target.model.norm(states[-1])

    def rows(self, features, tokens):
        embedding = self.target.model.embed_tokens(tokens).double()
        both = torch.cat([self.norm(embedding, "pre_fc_norm_embedding"), self.norm(features, "pre_fc_norm_hidden")], -1)
        x = both @ self.weights["mtp.fc.weight"].T
        x = x + self.attention(self.norm(x, "layers.0.input_layernorm"))
        x = x + self.ffn(self.norm(x, "layers.0.post_attention_layernorm"))
        return self.norm(x, "norm")

    def feature(self, row):
        return row

    def logits(self, row):
        return self.target.lm_head.weight.double() @ row


def main():
    goldens, out, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    for name, target in CASES.items():
        if names and name not in names:
            continue
        config = json.loads((goldens / target / "config.json").read_text())
        make(goldens, out / name, target, Heads(config), zero_centred=True)


if __name__ == "__main__":
    main()
