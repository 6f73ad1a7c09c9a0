#!/usr/bin/env python3
"""Plain-torch reference of MiniMax-Text-01 and MiniMax-M1 in their own names and configuration, and its goldens.

    tools/reference_minimax.py OUT [NAME ...]        needs torch and safetensors

Lightning attention (linear, with decay) and full attention in the order of `attn_type_list`, residuals taken after the
norm and weighted, softmax top-k experts, an optional shared expert mixed in by a gate. Texts are longer than two blocks
of 256. The linear layers are computed twice, token by token and in blocks, which must agree.

    minimax_m1        6 heads, so slopes are of two series; a shared expert in every layer
    minimax_text01    16 heads, slopes from 0.71 to 0.004; `shared_intermediate_size` a list, shorter than the layers;
                      the last layer is linear, where the decay all but vanishes
    minimax_plain     2 heads; no `postnorm` and no factors in config.json: residuals before the norm, all factors 1
"""
import pathlib
import sys

import torch
from torch.nn.functional import silu

from reference_common import causal_attention, gated_mlp, make, mixture, rms_norm, rotate, slopes

CONFIG = dict(
    model_type="minimax_m1", torch_dtype="bfloat16", hidden_act="silu", hidden_size=64, intermediate_size=48,
    rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=1024, num_local_experts=4, num_experts_per_tok=2,
    shared_intermediate_size=0, shared_moe_mode="sigmoid", sliding_window=None, tie_word_embeddings=False,
    attention_dropout=0.0, router_aux_loss_coef=0.001, router_jitter_noise=0.0, eos_token_id=3)
FACTORS = dict(
    postnorm=True, layernorm_linear_attention_alpha=1.3, layernorm_linear_attention_beta=0.9,
    layernorm_full_attention_alpha=1.2, layernorm_full_attention_beta=0.7, layernorm_mlp_alpha=1.1,
    layernorm_mlp_beta=0.8)


def cases():
    yield "minimax_m1", {
        "architectures": ["MiniMaxM1ForCausalLM"], **CONFIG, **FACTORS, "vocab_size": 419, "num_hidden_layers": 5,
        "attn_type_list": [0, 0, 1, 0, 1], "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
        "rotary_dim": 8, "shared_intermediate_size": 40}
    yield "minimax_text01", {
        "architectures": ["MiniMaxText01ForCausalLM"], **CONFIG, **FACTORS, "model_type": "minimax_text_01",
        "vocab_size": 421, "num_hidden_layers": 4, "attn_type_list": [0, 0, 1, 0], "num_attention_heads": 16,
        "num_key_value_heads": 4, "head_dim": 8, "rotary_dim": 4, "shared_intermediate_size": [0, 56]}
    yield "minimax_plain", {
        "architectures": ["MiniMaxText01ForCausalLM"], **CONFIG, "model_type": "minimax_text_01", "vocab_size": 431,
        "num_hidden_layers": 3, "attn_type_list": [0, 0, 1], "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 32, "rotary_dim": 16}


class MiniMax:
    def __init__(self, config):
        self.config = config
        self.layers, self.linear_layers = config["num_hidden_layers"], [t == 0 for t in config["attn_type_list"]]
        self.hidden, self.heads, self.dims = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
        self.weights = {}
        embedding = (config["vocab_size"], self.hidden)
        self.shapes = {"model.embed_tokens.weight": embedding, "model.norm.weight": (self.hidden,),
                       "lm_head.weight": embedding}
        for layer in range(self.layers):
            self.shapes |= self.layer_shapes(layer)

    def factors(self, kind):
        return (self.config.get(f"layernorm_{kind}_{name}", 1.0) for name in ("alpha", "beta"))

    def shared_width(self, layer):
        width = self.config["shared_intermediate_size"]
        if isinstance(width, list):
            return width[layer] if layer < len(width) else 0
        return width

    def layer_shapes(self, layer):
        c, hidden, width = self.config, self.hidden, self.heads * self.dims
        shapes = {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,),
                  "block_sparse_moe.gate.weight": (c["num_local_experts"], hidden)}
        if self.linear_layers[layer]:
            shapes |= {"self_attn.qkv_proj.weight": (3 * width, hidden),
                       "self_attn.output_gate.weight": (width, hidden),
                       "self_attn.out_proj.weight": (hidden, width), "self_attn.norm.weight": (width,)}
        else:
            narrow = c["num_key_value_heads"] * self.dims
            shapes |= {"self_attn.q_proj.weight": (width, hidden), "self_attn.k_proj.weight": (narrow, hidden),
                       "self_attn.v_proj.weight": (narrow, hidden), "self_attn.o_proj.weight": (hidden, width)}
        for e in range(c["num_local_experts"]):
            shapes |= {f"block_sparse_moe.experts.{e}.w1.weight": (c["intermediate_size"], hidden),
                       f"block_sparse_moe.experts.{e}.w2.weight": (hidden, c["intermediate_size"]),
                       f"block_sparse_moe.experts.{e}.w3.weight": (c["intermediate_size"], hidden)}
        shared = self.shared_width(layer)
        if shared:
            shapes |= {"shared_mlp.gate_proj.weight": (shared, hidden), "shared_mlp.up_proj.weight": (shared, hidden),
                       "shared_mlp.down_proj.weight": (hidden, shared), "coefficient.weight": (1, hidden)}
        return {f"model.layers.{layer}.{name}": shape for name, shape in shapes.items()}

    def unused(self, generator):
        return {}

    def logits(self, ids, linear_attention):
        w, eps, after = self.weights, self.config["rms_norm_eps"], self.config.get("postnorm", False)
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(self.layers):
            at, linear = f"model.layers.{layer}.", self.linear_layers[layer]
            h = rms_norm(x, w[at + "input_layernorm.weight"], eps)
            out = self.linear(layer, h, linear_attention) if linear else self.full(at + "self_attn.", h)
            alpha, beta = self.factors("linear_attention" if linear else "full_attention")
            x = alpha * (h if after else x) + beta * out
            h = rms_norm(x, w[at + "post_attention_layernorm.weight"], eps)
            alpha, beta = self.factors("mlp")
            x = alpha * (h if after else x) + beta * self.mlp(layer, h)
        return rms_norm(x, w["model.norm.weight"], eps) @ w["lm_head.weight"].T

    def linear(self, layer, h, linear_attention):
        w, at = self.weights, f"model.layers.{layer}.self_attn."
        qkv = silu(h @ w[at + "qkv_proj.weight"].T).view(len(h), self.heads, 3 * self.dims)  # head by head
        slope = slopes(self.heads) * (1 - layer / (self.layers - 1) + 1e-5)
        out = linear_attention(*qkv.split(self.dims, -1), slope).flatten(1)
        out = rms_norm(out, w[at + "norm.weight"], 1e-6)
        return (torch.sigmoid(h @ w[at + "output_gate.weight"].T) * out) @ w[at + "out_proj.weight"].T

    def full(self, at, h):
        c, w = self.config, self.weights
        q, k, v = ((h @ w[f"{at}{name}_proj.weight"].T).view(len(h), -1, self.dims) for name in "qkv")
        q, k = rotate(q, c["rope_theta"], c["rotary_dim"]), rotate(k, c["rope_theta"], c["rotary_dim"])
        return causal_attention(q, k, v, self.dims ** -0.5).flatten(1) @ w[at + "o_proj.weight"].T

    def mlp(self, layer, h):
        w, at = self.weights, f"model.layers.{layer}."
        moe = at + "block_sparse_moe."
        p = (h @ w[moe + "gate.weight"].T).softmax(-1)
        weight, chosen = torch.topk(p, self.config["num_experts_per_tok"])

        def expert(e, rows):
            return gated_mlp(rows, *(w[f"{moe}experts.{e}.{name}.weight"] for name in ("w1", "w3", "w2")))

        out = mixture(h, chosen, weight / weight.sum(-1, keepdim=True), expert)
        if not self.shared_width(layer):
            return out
        shared = gated_mlp(h, *(w[f"{at}shared_mlp.{name}_proj.weight"] for name in ("gate", "up", "down")))
        share = torch.sigmoid(h @ w[at + "coefficient.weight"].T)
        return out * (1 - share) + shared * share


def main():
    for name, config in cases():
        if name in sys.argv[2:] or not sys.argv[2:]:
            make(pathlib.Path(sys.argv[1]) / name, MiniMax(config), tokens=600, chunk=256, tolerance=1e-10)


if __name__ == "__main__":
    main()
