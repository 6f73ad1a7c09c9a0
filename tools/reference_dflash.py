#!/usr/bin/env python3
"""Plain-torch reference of the DFlash drafter, and its goldens.

    tools/reference_dflash.py GOLDENS OUT [NAME ...]        needs torch, transformers 5.17 and safetensors

GOLDENS/<target> is the checkpoint that the drafter guesses for, run by transformers. OUT/<name> gets a drafter of random
weights and golden.safetensors: `input_ids` [T], `contexts` [N], lengths of context, and `logits` [N, block - 1, V]: for
each length P those of the guesses behind token P, made from the hidden states of tokens 0 to P - 1.

    dflash_full      for qwen3: 2 layers that see everything; taps out of order; embedding and head of the target
    dflash_sliding   for qwen3: 5 layers, the first four sliding and causal; biases; taps among them the last layer's
    dflash_scaled    for gemma3_text, whose embedding is scaled; speculators' config; a head of its own for fewer tokens
    dflash_around    for llama_rope3: one layer, sliding but not causal, whose window is smaller than the block
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from golden_common import write_json, write_weights
from reference_common import draw, gated_mlp, rms_norm

STACK = dict(model_type="qwen3", hidden_size=96, intermediate_size=112, num_attention_heads=4, num_key_value_heads=2,
             head_dim=32, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=512, hidden_act="silu",
             attention_bias=False, tie_word_embeddings=False)
CONTEXTS = [1, 2, 17, 60, 130]


def cases():
    """Name, target, config, number of layers that have run before each tap."""
    zlab = dict(architectures=["DFlashDraftModel"], torch_dtype="bfloat16")
    yield "dflash_full", "qwen3", {
        **STACK, **zlab, "num_hidden_layers": 2, "vocab_size": 509, "block_size": 8,
        "dflash_config": {"mask_token_id": 508, "target_layer_ids": [1, 0]}}, [2, 1]
    yield "dflash_sliding", "qwen3", {
        **STACK, **zlab, "num_hidden_layers": 5, "vocab_size": 509, "attention_bias": True, "sliding_window": 12,
        "use_sliding_window": True, "layer_types": ["sliding_attention"] * 4 + ["full_attention"],
        "dflash_config": {"mask_token_id": 3, "target_layer_ids": [0, 2], "block_size": 5}}, [1, 3]
    yield "dflash_scaled", "gemma3_text", {
        "architectures": ["DFlashSpeculator"], "speculators_model_type": "dflash", "block_size": 6,
        "mask_token_id": 2, "aux_hidden_state_layer_ids": [2, 3, 5], "draft_vocab_size": 200,
        "transformer_layer_config": {**STACK, "num_hidden_layers": 2, "vocab_size": 499}}, [2, 3, 5]
    yield "dflash_around", "llama_rope3", {
        **STACK, **zlab, "num_hidden_layers": 1, "vocab_size": 503, "block_size": 9, "sliding_window": 4,
        "layer_types": ["sliding_attention"], "is_causal": False,
        "dflash_config": {"mask_token_id": 0, "target_layer_ids": [1]}}, [2]


def rotate(x, positions, theta):
    """Half-split rotation of x [T, heads, dims]."""
    dims = x.shape[-1]
    angle = positions.double()[:, None, None] * theta ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Drafter:
    def __init__(self, config):
        self.stack = config.get("transformer_layer_config", config)
        own = config.get("dflash_config", {})
        self.block = own.get("block_size", config.get("block_size"))
        self.mask_token = own.get("mask_token_id", config.get("mask_token_id"))
        self.causal = config.get("is_causal")
        c = self.stack
        self.types = c.get("layer_types", ["full_attention"] * c["num_hidden_layers"])
        self.head_vocab = config.get("draft_vocab_size")

    def shapes(self, taps, target_hidden):
        c, hidden = self.stack, self.stack["hidden_size"]
        q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
        shapes = {"fc.weight": (hidden, taps * target_hidden), "hidden_norm.weight": (hidden,), "norm.weight": (hidden,)}
        if self.head_vocab:
            shapes["lm_head.weight"] = (self.head_vocab, hidden)
        for i in range(c["num_hidden_layers"]):
            layer = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
                     "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (c["intermediate_size"], hidden),
                     "mlp.up_proj": (c["intermediate_size"], hidden), "mlp.down_proj": (hidden, c["intermediate_size"]),
                     "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
                     "self_attn.q_norm": (c["head_dim"],), "self_attn.k_norm": (c["head_dim"],)}
            shapes |= {f"layers.{i}.{name}.weight": shape for name, shape in layer.items()}
            if c["attention_bias"]:
                shapes |= {f"layers.{i}.self_attn.{name}_proj.bias": (size,)
                           for name, size in (("q", q), ("k", kv), ("v", kv), ("o", hidden))}
        return shapes

    def linear(self, x, name):
        bias = self.weights.get(name + ".bias")
        y = x @ self.weights[name + ".weight"].T
        return y if bias is None else y + bias

    def heads(self, x, i, name, positions):
        c, at = self.stack, f"layers.{i}.self_attn."
        y = self.linear(x, f"{at}{name}_proj").view(len(x), -1, c["head_dim"])
        if name == "v":
            return y
        return rotate(rms_norm(y, self.weights[f"{at}{name}_norm.weight"], c["rms_norm_eps"]), positions, c["rope_theta"])

    def seen(self, i, rows, keys):
        """Which keys' positions a row's position sees."""
        slides = self.types[i] == "sliding_attention"
        causal = slides if self.causal is None else self.causal
        allowed = torch.ones(len(rows), len(keys), dtype=torch.bool)
        if causal:
            allowed &= keys[None] <= rows[:, None]
        if slides:
            allowed &= rows[:, None] - keys[None] < self.stack["sliding_window"]
        return allowed

    def block_states(self, taps, anchor, embed):
        """taps [P, taps * hidden]; the block is [anchor, mask, mask, ...] at positions P, P + 1, ..."""
        c, eps, w = self.stack, self.stack["rms_norm_eps"], self.weights
        length = len(taps)
        context = rms_norm(taps @ w["fc.weight"].T, w["hidden_norm.weight"], eps)
        x = embed(torch.tensor([anchor] + [self.mask_token] * (self.block - 1))).double()
        old, new = torch.arange(length), torch.arange(length, length + self.block)
        for i in range(c["num_hidden_layers"]):
            u = rms_norm(x, w[f"layers.{i}.input_layernorm.weight"], eps)
            q = self.heads(u, i, "q", new)
            k = torch.cat([self.heads(context, i, "k", old), self.heads(u, i, "k", new)])
            v = torch.cat([self.heads(context, i, "v", old), self.heads(u, i, "v", new)])
            group = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = torch.einsum("qhd,khd->hqk", q, k) * c["head_dim"] ** -0.5
            scores = scores.masked_fill(~self.seen(i, new, torch.cat([old, new])), float("-inf"))
            mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)
            x = x + self.linear(mixed, f"layers.{i}.self_attn.o_proj")
            z = rms_norm(x, w[f"layers.{i}.post_attention_layernorm.weight"], eps)
            x = x + gated_mlp(z, *(w[f"layers.{i}.mlp.{name}_proj.weight"] for name in ("gate", "up", "down")))
        return rms_norm(x, w["norm.weight"], eps)


def hidden_states(target, ids):
    """After 0, 1, ... layers, before the last norm: [layers + 1, T, hidden]."""
    states = []

    def keep(_, args, out):
        states.append(out[0] if isinstance(out, tuple) else out)

    hooks = [module.register_forward_hook(keep) for module in (target.model.embed_tokens, *target.model.layers)]
    target(input_ids=ids[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return states


@torch.no_grad()
def make(goldens, folder, target_name, config, after):
    target = AutoModelForCausalLM.from_pretrained(goldens / target_name, dtype=torch.float32,
                                                  attn_implementation="eager").eval()
    ids = load_file(goldens / target_name / "golden.safetensors")["input_ids"]
    states = hidden_states(target, ids)
    taps = torch.cat([states[n].view(len(ids), -1).double() for n in after], -1)
    drafter = Drafter(config)
    drafter.weights = draw(drafter.shapes(len(after), target.config.hidden_size), torch.Generator().manual_seed(7))
    tensors = {name: tensor.bfloat16() for name, tensor in drafter.weights.items()}
    head = target.lm_head.weight.double()
    if drafter.head_vocab:
        head = drafter.weights["lm_head.weight"]
        chosen = torch.randperm(drafter.stack["vocab_size"], generator=torch.Generator().manual_seed(9))
        chosen = chosen[:drafter.head_vocab].sort().values
        tensors["d2t"] = chosen - torch.arange(drafter.head_vocab)
        tensors["t2d"] = torch.zeros(drafter.stack["vocab_size"], dtype=torch.bool).index_fill(0, chosen, True)
    logits = [drafter.block_states(taps[:p], int(ids[p]), target.model.embed_tokens)[1:] @ head.T for p in CONTEXTS]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_weights(folder, tensors)
    save_file({"input_ids": ids, "contexts": torch.tensor(CONTEXTS), "logits": torch.stack(logits).float()},
              folder / "golden.safetensors")
    print(f"{folder.name}: for {target_name}, logits of {float(torch.stack(logits).std()):.2f} deviation", flush=True)


def main():
    goldens, out, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    for name, target, config, after in cases():
        if not names or name in names:
            make(goldens, out / name, target, config, after)


if __name__ == "__main__":
    main()
