#!/usr/bin/env python3
"""Plain-torch reference of Bailing MoE V2.5 (Ring-2.5, Ling-2.5/2.6), and its goldens.

    tools/reference_bailing.py OUT [NAME ...]        needs torch and safetensors

Pre-norm layers, of which most have linear attention with decay (rope, norm of q and k, group norm, gate) and every
`layer_group_size`th, and those of the last incomplete group, multi-head latent attention. Experts are chosen in groups
by sigmoid plus bias. The linear layers are computed twice, token by token and in chunks, which must agree.

    bailing        5 layers, groups of 2 (layer 4 by the tail rule), low-rank queries; the checkpoint also has the layer
                   that predicts the token after the next, and a table of slopes: both unused
    bailing_plain  5 layers, groups of 3 (layers 3 and 4 by the tail rule), full-rank queries, two dense layers, two
                   shared experts
"""
import pathlib
import sys

import torch

from reference_common import causal_attention, draw, gated_mlp, make, mixture, rms_norm, rotate, slopes

CONFIG = dict(
    architectures=["BailingMoeV2_5ForCausalLM"], model_type="bailing_hybrid", torch_dtype="bfloat16", eos_token_id=3,
    pad_token_id=3, tie_word_embeddings=False, max_position_embeddings=512, hidden_act="silu", hidden_size=64,
    intermediate_size=144, num_hidden_layers=5, rms_norm_eps=1e-6, num_attention_heads=4, num_key_value_heads=4,
    head_dim=24, partial_rotary_factor=0.5, rope_theta=10000.0, rope_scaling=None, rope_interleave=True,
    use_qk_norm=True, use_qkv_bias=False, use_bias=False, group_norm_size=2, layer_group_size=2, q_lora_rank=32,
    kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=12, v_head_dim=20, first_k_dense_replace=1, num_experts=8,
    num_experts_per_tok=3, n_group=4, topk_group=2, num_shared_experts=1, moe_intermediate_size=32,
    norm_topk_prob=True, routed_scaling_factor=2.5, score_function="sigmoid", router_dtype="fp32",
    moe_router_enable_expert_bias=True, num_nextn_predict_layers=0)


def cases():
    yield "bailing", {**CONFIG, "vocab_size": 401, "num_nextn_predict_layers": 1}
    yield "bailing_plain", {**CONFIG, "vocab_size": 409, "q_lora_rank": None, "layer_group_size": 3,
                            "first_k_dense_replace": 2, "num_shared_experts": 2, "routed_scaling_factor": 1.5}


class Bailing:
    def __init__(self, config):
        self.config = config
        self.layers = config["num_hidden_layers"]
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.weights = {}
        embedding = (config["vocab_size"], self.hidden)
        self.shapes = {"model.word_embeddings.weight": embedding, "model.norm.weight": (self.hidden,),
                       "lm_head.weight": embedding}
        for layer in range(self.layers):
            self.shapes |= self.layer_shapes(layer)

    def full(self, layer):
        size = self.config["layer_group_size"]
        return (layer + 1) % size == 0 or layer >= self.layers // size * size

    def layer_shapes(self, layer):
        c, hidden, heads, at = self.config, self.hidden, self.heads, f"model.layers.{layer}."
        shapes = {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
        if self.full(layer):
            key, value = c["qk_nope_head_dim"] + c["qk_rope_head_dim"], c["v_head_dim"]
            if c["q_lora_rank"]:
                shapes |= {"attention.q_a_proj.weight": (c["q_lora_rank"], hidden),
                           "attention.q_a_layernorm.weight": (c["q_lora_rank"],),
                           "attention.q_b_proj.weight": (heads * key, c["q_lora_rank"])}
            else:
                shapes |= {"attention.q_proj.weight": (heads * key, hidden)}
            shapes |= {"attention.kv_a_proj_with_mqa.weight": (c["kv_lora_rank"] + c["qk_rope_head_dim"], hidden),
                       "attention.kv_a_layernorm.weight": (c["kv_lora_rank"],),
                       "attention.kv_b_proj.weight": (heads * (c["qk_nope_head_dim"] + value), c["kv_lora_rank"]),
                       "attention.dense.weight": (hidden, heads * value)}
        else:
            width = heads * c["head_dim"]
            shapes |= {"attention.query_key_value.weight": (3 * width, hidden),
                       "attention.g_proj.weight": (width, hidden),
                       "attention.query_layernorm.weight": (c["head_dim"],),
                       "attention.key_layernorm.weight": (c["head_dim"],), "attention.g_norm.weight": (width,),
                       "attention.dense.weight": (hidden, width)}
        shapes |= self.mlp_shapes("mlp.", c["intermediate_size"]) if layer < c["first_k_dense_replace"] \
            else self.moe_shapes()
        return {at + name: shape for name, shape in shapes.items()}

    def mlp_shapes(self, at, width):
        return {at + "gate_proj.weight": (width, self.hidden), at + "up_proj.weight": (width, self.hidden),
                at + "down_proj.weight": (self.hidden, width)}

    def moe_shapes(self):
        c, width = self.config, self.config["moe_intermediate_size"]
        shapes = {"mlp.gate.weight": (c["num_experts"], self.hidden), "mlp.gate.expert_bias": (c["num_experts"],)}
        for e in range(c["num_experts"]):
            shapes |= self.mlp_shapes(f"mlp.experts.{e}.", width)
        return shapes | self.mlp_shapes("mlp.shared_experts.", width * c["num_shared_experts"])

    def unused(self, generator):
        if not self.config["num_nextn_predict_layers"]:
            return {}
        at = f"model.layers.{self.layers}."
        norms = dict.fromkeys((at + "enorm.weight", at + "hnorm.weight", at + "final_layernorm.weight"), (self.hidden,))
        shapes = {**self.layer_shapes(self.layers), **norms, at + "eh_proj.weight": (self.hidden, 2 * self.hidden),
                  "model.layers.0.attention.slope": (self.heads, 1, 1)}
        return draw(shapes, generator)

    def logits(self, ids, linear_attention):
        w, eps = self.weights, self.config["rms_norm_eps"]
        x = w["model.word_embeddings.weight"][ids]
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            h = rms_norm(x, w[at + "input_layernorm.weight"], eps)
            x = x + (self.latent(at, h) if self.full(layer) else self.linear(layer, h, linear_attention))
            h = rms_norm(x, w[at + "post_attention_layernorm.weight"], eps)
            x = x + (self.mlp(at + "mlp.", h) if layer < self.config["first_k_dense_replace"] else self.moe(at, h))
        return rms_norm(x, w["model.norm.weight"], eps) @ w["lm_head.weight"].T

    def linear(self, layer, h, linear_attention):
        c, w, at = self.config, self.weights, f"model.layers.{layer}.attention."
        tokens, eps = len(h), c["rms_norm_eps"]
        q, k, v = (h @ w[at + "query_key_value.weight"].T).view(tokens, 3, self.heads, c["head_dim"]).unbind(1)
        dims = int(c["head_dim"] * c["partial_rotary_factor"])
        q = rotate(rms_norm(q, w[at + "query_layernorm.weight"], eps), c["rope_theta"], dims)
        k = rotate(rms_norm(k, w[at + "key_layernorm.weight"], eps), c["rope_theta"], dims)
        slope = slopes(self.heads) * (1 - (layer - 1) / (self.layers - 1) + 1e-5)
        out = linear_attention(q * c["head_dim"] ** -0.5, k, v, slope)
        groups = c["group_norm_size"]
        out = rms_norm(out.reshape(tokens, groups, -1), w[at + "g_norm.weight"].view(groups, -1), eps).flatten(1)
        return (out * torch.sigmoid(h @ w[at + "g_proj.weight"].T)) @ w[at + "dense.weight"].T

    def latent(self, at, h):
        c, w, at = self.config, self.weights, at + "attention."
        tokens, nope, rope, theta = len(h), c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["rope_theta"]
        if c["q_lora_rank"]:
            q = rms_norm(h @ w[at + "q_a_proj.weight"].T, w[at + "q_a_layernorm.weight"], 1e-6)
            q = q @ w[at + "q_b_proj.weight"].T
        else:
            q = h @ w[at + "q_proj.weight"].T
        q_plain, q_turned = q.view(tokens, self.heads, nope + rope).split([nope, rope], -1)
        latent, k_turned = (h @ w[at + "kv_a_proj_with_mqa.weight"].T).split([c["kv_lora_rank"], rope], -1)
        latent = rms_norm(latent, w[at + "kv_a_layernorm.weight"], 1e-6)
        kv = (latent @ w[at + "kv_b_proj.weight"].T).view(tokens, self.heads, -1)
        k_plain, v = kv.split([nope, c["v_head_dim"]], -1)
        k_turned = rotate(k_turned[:, None], theta, rope, interleaved=True).expand(-1, self.heads, -1)
        q = torch.cat([q_plain, rotate(q_turned, theta, rope, interleaved=True)], -1)
        out = causal_attention(q, torch.cat([k_plain, k_turned], -1), v, (nope + rope) ** -0.5)
        return out.flatten(1) @ w[at + "dense.weight"].T

    def mlp(self, at, h):
        return gated_mlp(h, *(self.weights[f"{at}{name}_proj.weight"] for name in ("gate", "up", "down")))

    def moe(self, at, h):
        c, at = self.config, at + "mlp."
        p = torch.sigmoid(h @ self.weights[at + "gate.weight"].T)
        score = p + self.weights[at + "gate.expert_bias"]
        of_group = score.view(len(h), c["n_group"], -1).topk(2).values.sum(-1)
        kept = torch.zeros_like(of_group).scatter(1, torch.topk(of_group, c["topk_group"]).indices, 1)
        kept = kept.repeat_interleave(c["num_experts"] // c["n_group"], 1)
        chosen = torch.topk(score.masked_fill(kept == 0, -torch.inf), c["num_experts_per_tok"]).indices
        weight = p.gather(1, chosen)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * c["routed_scaling_factor"]
        routed = mixture(h, chosen, weight, lambda e, rows: self.mlp(f"{at}experts.{e}.", rows))
        return routed + self.mlp(at + "shared_experts.", h)


def main():
    for name, config in cases():
        if name in sys.argv[2:] or not sys.argv[2:]:
            make(pathlib.Path(sys.argv[1]) / name, Bailing(config), tokens=180, chunk=64, tolerance=1e-5)


if __name__ == "__main__":
    main()
