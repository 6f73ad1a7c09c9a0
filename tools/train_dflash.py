#!/usr/bin/env python3
"""Trains a DFlash drafter for the bundled chat model, on what this model answers (drafting.py says how).

    tools/train_dflash.py models/bard PLAYS.txt OUT [--minutes 5] [--device cuda]

Needs torch, transformers 5.17, tokenizers and safetensors; a few minutes on a data-centre GPU. PLAYS.txt is as for
train_bard.py, best of plays that the target has not seen; speeches among its validation tokens are left out. OUT gets
a checkpoint folder in z-lab's form: no embedding and no head, for those are the target's.

A block's first token is known, the others are the mask token. Keys and values of the text come from the target's hidden
states, strictly before the block. arXiv 2602.06036.
"""
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from drafting import HEAD, HEADS, HIDDEN, KV_HEADS, ROTATION, Mlp, Norm, guesses_loss, heads, places, rotate, run, save

BLOCK, TAPS, LAYERS, MASK_TOKEN, INNER = 8, [1, 3, 5], 2, 0, 768


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(HIDDEN, HEADS * HEAD, bias=False)
        self.k_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD, bias=False)
        self.v_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD, HIDDEN, bias=False)
        self.q_norm, self.k_norm = Norm(HEAD), Norm(HEAD)

    def forward(self, u, context, rows, keys, seen):
        """rows: positions of u; keys: those of context and then u."""
        both = torch.cat([context, u], 1)
        q = rotate(self.q_norm(heads(self.q_proj(u))), rows)
        k = rotate(self.k_norm(heads(self.k_proj(both))), keys)
        mixed = scaled_dot_product_attention(q, k, heads(self.v_proj(both)), attn_mask=seen[:, None], enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(HIDDEN), Norm(HIDDEN)
        self.self_attn, self.mlp = Attention(), Mlp(INNER)

    def forward(self, x, context, rows, keys, seen):
        x = x + self.self_attn(self.input_layernorm(x), context, rows, keys, seen)
        return x + self.mlp(self.post_attention_layernorm(x))


class Drafter(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(len(TAPS) * HIDDEN, HIDDEN, bias=False)
        self.hidden_norm, self.norm = Norm(HIDDEN), Norm(HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, taps, starts, x):
        """taps [batch, T, ..]; starts [batch, N], places of blocks; x [batch, N * BLOCK, hidden]."""
        batch, length, device = len(taps), taps.shape[1], taps.device
        context = self.hidden_norm(self.fc(taps))
        rows = (starts[:, :, None] + torch.arange(BLOCK, device=device)).flatten(1)
        place = torch.arange(length, device=device).expand(batch, -1)
        keys = torch.cat([place, rows], 1)
        first = starts.repeat_interleave(BLOCK, 1)
        number = torch.arange(starts.shape[1], device=device).repeat_interleave(BLOCK)
        seen = torch.cat([place[:, None] < first[:, :, None],
                          (number[:, None] == number[None]).expand(batch, -1, -1)], 2)
        for layer in self.layers:
            x = layer(x, context, rows, keys, seen)
        return self.norm(x)


def step_loss(drafter, target, texts, answered):
    starts, texts = places(answered, 16, BLOCK), texts.long()
    with torch.no_grad():
        logits, taps = target(texts), target.taps()
        place = starts[:, :, None] + torch.arange(BLOCK, device=texts.device)
        tokens = torch.full_like(place, MASK_TOKEN)
        tokens[:, :, 0] = texts.gather(1, starts)
        x = target.embed(tokens.flatten(1))
    with torch.autocast("cuda", torch.bfloat16):
        y = drafter(taps, starts, x).view(*starts.shape, BLOCK, HIDDEN)[:, :, 1:]
        guess = target.model.lm_head(y).float().flatten(1, 2)
    return guesses_loss(guess, logits, texts, answered, starts, BLOCK - 1)


def save_drafter(out, drafter):
    save(out, {name: w.to(torch.bfloat16) for name, w in drafter.state_dict().items()}, {
        "architectures": ["DFlashDraftModel"], "model_type": "qwen3", "dtype": "bfloat16", "block_size": BLOCK,
        "dflash_config": {"mask_token_id": MASK_TOKEN, "target_layer_ids": TAPS}, "num_target_layers": 6,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "rms_norm_eps": 1e-6, "rope_theta": ROTATION,
        "max_position_embeddings": 2048, "vocab_size": 4096, "hidden_act": "silu", "attention_bias": False,
        "tie_word_embeddings": True})


if __name__ == "__main__":
    run(__doc__, TAPS, Drafter, step_loss, save_drafter)
