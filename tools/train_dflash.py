#!/usr/bin/env python3
"""Trains a DFlash drafter for the bundled chat model, on text that this model says itself.

    tools/train_dflash.py models/bard OUT [--rounds 12] [--steps 8000] [--device cuda]

Needs torch, transformers 5.17 and safetensors; a few minutes on a data-centre GPU. OUT gets a checkpoint folder in
z-lab's form: no embedding and no head, for those are the target's.

Text: the target goes on from its first token, some words freely, then greedily or at temperature 0.8. Each sequence
gives blocks at random places; a block's first token is known, the others are the mask token, and each is to have the
target's own distribution at its place (cross entropy; weights fall with the distance). Keys and values of the text come
from the target's hidden states, strictly before the block. arXiv 2602.06036.
"""
import argparse
import json
import math
import pathlib
import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention, silu
from transformers import Gemma3ForCausalLM

from train_bard import config as bard_config
from train_bard import masks

BLOCK, TAPS, LAYERS, MASK_TOKEN = 8, [0, 2, 4], 3, 0
HIDDEN, INNER, HEADS, KV_HEADS, HEAD = 256, 704, 4, 2, 64
LENGTH, FREE, DECAY, ROTATION = 256, 48, 4.0, 10000.0


def load_target(folder, device):
    model = Gemma3ForCausalLM(bard_config())
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model.to(device).eval().requires_grad_(False)


class Target:
    """Logits and tapped hidden states of whole sequences."""

    def __init__(self, model, device):
        self.model, self.masks, self.states = model, masks(LENGTH, device), {}
        for tap in TAPS:
            model.model.layers[tap].register_forward_hook(
                lambda _, args, out, tap=tap: self.states.update({tap: out[0] if isinstance(out, tuple) else out}))

    def __call__(self, ids, last_only=False):
        mask = {name: m[..., :ids.shape[1], :ids.shape[1]] for name, m in self.masks.items()}
        with torch.autocast("cuda", torch.bfloat16):
            hidden = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, -1:] if last_only else hidden)
        return logits.float(), torch.cat([self.states[tap] for tap in TAPS], -1)


@torch.no_grad()
def say(target, count, device):
    """[count, LENGTH] tokens, half of them greedy behind their beginning."""
    ids = torch.ones(count, 1, dtype=torch.long, device=device)
    greedy = torch.arange(count, device=device) % 2 == 0
    while ids.shape[1] < LENGTH:
        logits = target(ids, last_only=True)[0][:, -1]
        heat = 1.0 if ids.shape[1] < FREE else 0.8
        drawn = torch.multinomial((logits / heat).softmax(-1), 1)[:, 0]
        token = torch.where(greedy & (ids.shape[1] >= FREE), logits.argmax(-1), drawn)
        ids = torch.cat([ids, token[:, None]], 1)
    return ids


def rotate(x, positions):
    """x [batch, heads, T, dims], positions [batch, T]."""
    frequency = ROTATION ** (-torch.arange(0, HEAD, 2, device=x.device) / HEAD)
    angle = positions[:, None, :, None] * frequency
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1).to(x.dtype)


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return rms_norm(x.float(), (len(self.weight),), self.weight, 1e-6).to(x.dtype)


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
        split = lambda x: x.view(*x.shape[:2], -1, HEAD).transpose(1, 2)
        q = rotate(self.q_norm(split(self.q_proj(u))), rows)
        k = rotate(self.k_norm(split(self.k_proj(both))), keys)
        mixed = scaled_dot_product_attention(q, k, split(self.v_proj(both)), attn_mask=seen[:, None], enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(HIDDEN, INNER, bias=False), nn.Linear(HIDDEN, INNER, bias=False)
        self.down_proj = nn.Linear(INNER, HIDDEN, bias=False)

    def forward(self, x):
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(HIDDEN), Norm(HIDDEN)
        self.self_attn, self.mlp = Attention(), Mlp()

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


def blocks(texts, count, device):
    """Random places in the answers, room for a whole block behind each."""
    return torch.randint(FREE, LENGTH - BLOCK, (len(texts), count), device=device)


def step_loss(drafter, target, texts, starts):
    """Cross entropy against the target's distribution, and how often its likeliest token is the drafter's, by slot."""
    with torch.no_grad():
        logits, taps = target(texts)
        place = starts[:, :, None] + torch.arange(BLOCK, device=texts.device)
        tokens = torch.full_like(place, MASK_TOKEN)
        tokens[:, :, 0] = texts.gather(1, starts)
        x = target.model.model.embed_tokens(tokens.flatten(1))
        flat = (place[:, :, 1:] - 1).flatten(1)  # the logits there are of the token at `place`
        teacher = logits.gather(1, flat[:, :, None].expand(-1, -1, logits.shape[-1])).softmax(-1)
        said = texts.gather(1, place[:, :, 1:].flatten(1))
    with torch.autocast("cuda", torch.bfloat16):
        y = drafter(taps, starts, x).view(*starts.shape, BLOCK, HIDDEN)[:, :, 1:]
        guess = target.model.lm_head(y).float().flatten(1, 2)
    weight = torch.exp(-torch.arange(BLOCK - 1, device=texts.device) / DECAY).repeat(starts.shape[1])
    soft = cross_entropy(guess.transpose(1, 2), teacher.transpose(1, 2), reduction="none")
    hard = cross_entropy(guess.transpose(1, 2), said, reduction="none")
    greedy = (torch.arange(len(texts), device=texts.device) % 2 == 0)[:, None]
    loss = torch.where(greedy, hard, soft)
    hits = (guess.argmax(-1) == said).view(len(texts), -1, BLOCK - 1)
    return (loss * weight).sum() / (weight.sum() * len(texts)), hits[0::2].float().mean((0, 1)), \
        hits[1::2].float().mean((0, 1))


def train(drafter, target, texts, steps, batch, device):
    optimizer = torch.optim.AdamW(drafter.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.01)
    held_out, texts = texts[:256], texts[256:]
    begin = time.time()
    for step in range(steps):
        rate = min(1.0, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate
        # Rows alternate between greedy and sampled texts: pairs stay together.
        at = 2 * torch.randint(0, len(texts) // 2, (batch // 2,), device=device)
        rows = texts[torch.stack([at, at + 1], 1).flatten()]
        loss = step_loss(drafter, target, rows, blocks(rows, 24, device))[0]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
        optimizer.step()
        if step % 500 == 0 or step + 1 == steps:
            with torch.no_grad():
                loss, greedy, sampled = step_loss(drafter, target, held_out, blocks(held_out, 24, device))
            length = [1 + float(hits.cumprod(0).sum()) for hits in (greedy, sampled)]
            print(f"step {step} held-out loss {loss.item():.3f}; hits by slot, greedy text "
                  f"{[round(float(h), 2) for h in greedy]}, sampled {[round(float(h), 2) for h in sampled]}; "
                  f"about {length[0]:.2f} and {length[1]:.2f} tokens a step; {time.time() - begin:.0f} s", flush=True)


def save(out, drafter):
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: w.detach().cpu().to(torch.bfloat16).contiguous() for name, w in drafter.state_dict().items()},
              out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps({
        "architectures": ["DFlashDraftModel"], "model_type": "qwen3", "dtype": "bfloat16", "block_size": BLOCK,
        "dflash_config": {"mask_token_id": MASK_TOKEN, "target_layer_ids": TAPS}, "num_target_layers": 6,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "rms_norm_eps": 1e-6, "rope_theta": ROTATION,
        "max_position_embeddings": 2048, "vocab_size": 4096, "hidden_act": "silu", "attention_bias": False,
        "tie_word_embeddings": True}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=12, help="times 2048 texts of 256 tokens")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    target = Target(load_target(args.target, args.device), args.device)
    begin = time.time()
    texts = torch.cat([say(target, 2048, args.device) for _ in range(args.rounds)])
    print(f"{texts.numel()} tokens said in {time.time() - begin:.0f} s", flush=True)
    drafter = Drafter().to(args.device)
    print(f"{sum(p.numel() for p in drafter.parameters())} parameters", flush=True)
    train(drafter, target, texts, args.steps, args.batch, args.device)
    save(args.out, drafter)


if __name__ == "__main__":
    main()
