#!/usr/bin/env python3
"""Trains a DFlash drafter for the bundled chat model, on what this model answers.

    tools/train_dflash.py models/bard PLAYS.txt OUT [--minutes 5] [--device cuda]

Needs torch, transformers 5.17, tokenizers and safetensors; a few minutes on a data-centre GPU. PLAYS.txt is as for
train_bard.py; speeches among the target's validation tokens are left out. OUT gets a checkpoint folder in z-lab's form:
no embedding and no head, for those are the target's.

Text: dialogues cut before or within an answer, which the target goes on with, greedily in half of the texts and at
temperature 0.8 in the others. Each gives blocks at random places of its answer; a block's first token is known, the
others are the mask token, and each is to have what the target says at its place: that token where it was greedy, else
the target's distribution (cross entropy; weights fall with the distance). Keys and values of the text come from the
target's hidden states, strictly before the block. arXiv 2602.06036.
"""
import argparse
import json
import math
import pathlib
import random
import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention, silu
from tokenizers import Tokenizer
from transformers import Gemma3ForCausalLM

from train_bard import config as bard_config
from train_bard import conversation, masks, speeches

BLOCK, TAPS, LAYERS, MASK_TOKEN = 8, [1, 3, 5], 2, 0
HIDDEN, INNER, HEADS, KV_HEADS, HEAD = 256, 768, 4, 2, 64
PROMPT, ANSWER = 384, 36  # most tokens of a dialogue before the cut, and of what is said behind it
LENGTH = PROMPT + ANSWER
DECAY, ROTATION = 4.0, 10000.0
ASSISTANT, END = 4, 5  # tokens that begin and end an answer


def load_target(folder, device):
    model = Gemma3ForCausalLM(bard_config())
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model.to(device).eval().requires_grad_(False)


class Target:
    """Logits and tapped hidden states of whole sequences."""

    def __init__(self, model, device):
        self.model, self.device, self.masks, self.states = model, device, masks(LENGTH, device), {}
        for tap in TAPS:
            model.model.layers[tap].register_forward_hook(
                lambda _, args, out, tap=tap: self.states.update({tap: out[0] if isinstance(out, tuple) else out}))

    def __call__(self, ids, places=None):
        """Logits at all places, or at one of each row; the hidden states are left in taps()."""
        mask = {name: m[..., :ids.shape[1], :ids.shape[1]] for name, m in self.masks.items()}
        with torch.autocast("cuda", torch.bfloat16):
            hidden = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            if places is not None:
                hidden = hidden[torch.arange(len(ids), device=ids.device), places]
            return self.model.lm_head(hidden).float()

    def taps(self):
        return torch.cat([self.states[tap] for tap in TAPS], -1)


def prompts(folder, plays):
    """Dialogues from every speech on, up to each answer and up to a random place within it: lists of tokens."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    held_out = tokenizer.decode(json.loads((folder / "val_tokens.json").read_text())["val_tokens"])
    turns = [turn for turn in speeches(plays) if turn.strip() not in held_out]
    all_prompts = []
    for first in range(len(turns) - 1):
        ids = tokenizer.encode(conversation(turns[first:first + 10])).ids
        ends = [i + 2 for i, token in enumerate(ids) if token == ASSISTANT]
        for end in ends:
            length = ids[end:].index(END)
            for cut in {end, end + random.randint(0, length)}:
                if cut <= PROMPT:
                    all_prompts.append(ids[:cut])
    return all_prompts


@torch.no_grad()
def answer(target, rows):
    """[2 * rows, LENGTH] tokens, every second row greedy behind its prompt; and which of them are of the answer."""
    device = target.device
    end = torch.tensor([len(row) for row in rows], device=device).repeat_interleave(2)
    ids = torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows], device=device).repeat_interleave(2, 0)
    answered = torch.zeros(ids.shape, dtype=torch.bool, device=device)
    number = torch.arange(len(ids), device=device)
    greedy, going = number % 2 == 0, torch.ones(len(ids), dtype=torch.bool, device=device)
    for _ in range(ANSWER):
        logits = target(ids[:, :int(end.max())], end - 1)  # what stands behind a row's end is not seen from before
        drawn = torch.multinomial((logits / 0.8).softmax(-1), 1)[:, 0]
        token = torch.where(greedy, logits.argmax(-1), drawn)
        ids[number, end] = token
        answered[number, end] = going
        going = going & (token != END)
        end = end + 1
    return ids.short(), answered


def answers(target, rows, most):
    """Those of all prompts, pairs in random order."""
    rows = sorted(rows, key=len)
    pairs = [answer(target, rows[at:at + most]) for at in range(0, len(rows), most)]
    texts, answered = (torch.cat(parts) for parts in zip(*pairs))
    order = torch.randperm(len(rows), device=texts.device)
    order = torch.stack([2 * order, 2 * order + 1], 1).flatten()
    return texts[order], answered[order]


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


def blocks(answered, count):
    """Random places of answers with another token behind."""
    places = (answered[:, :-1] & answered[:, 1:])[:, :LENGTH - BLOCK]
    return torch.multinomial(places.float() + 1e-9, count, replacement=True)


def step_loss(drafter, target, texts, answered, starts):
    """Cross entropy against the target's distribution, and how often its likeliest token is the drafter's, by slot."""
    with torch.no_grad():
        texts = texts.long()
        logits, taps = target(texts), target.taps()
        place = starts[:, :, None] + torch.arange(BLOCK, device=texts.device)
        tokens = torch.full_like(place, MASK_TOKEN)
        tokens[:, :, 0] = texts.gather(1, starts)
        x = target.model.model.embed_tokens(tokens.flatten(1))
        flat = (place[:, :, 1:] - 1).flatten(1)  # the logits there are of the token at `place`
        teacher = logits.gather(1, flat[:, :, None].expand(-1, -1, logits.shape[-1])).softmax(-1)
        said = texts.gather(1, place[:, :, 1:].flatten(1)).long()
        counts = answered.gather(1, place.flatten(1)).long().view(*place.shape).cumprod(2)[:, :, 1:].flatten(1)
    with torch.autocast("cuda", torch.bfloat16):
        y = drafter(taps, starts, x).view(*starts.shape, BLOCK, HIDDEN)[:, :, 1:]
        guess = target.model.lm_head(y).float().flatten(1, 2)
    weight = counts * torch.exp(-torch.arange(BLOCK - 1, device=texts.device) / DECAY).repeat(starts.shape[1])
    soft = cross_entropy(guess.transpose(1, 2), teacher.transpose(1, 2), reduction="none")
    hard = cross_entropy(guess.transpose(1, 2), said, reduction="none")
    greedy = (torch.arange(len(texts), device=texts.device) % 2 == 0)[:, None]
    loss = torch.where(greedy, hard, soft)
    shape = (len(texts), -1, BLOCK - 1)
    hits, counts = ((guess.argmax(-1) == said) * counts).view(shape), counts.view(shape)
    greedy, sampled = (hits[n::2].sum((0, 1)) / counts[n::2].sum((0, 1)) for n in (0, 1))
    return (loss * weight).sum() / weight.sum(), greedy, sampled


def train(drafter, target, texts, answered, minutes, batch):
    optimizer = torch.optim.AdamW(drafter.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.01)
    held_out = texts[:512], answered[:512]
    texts, answered = texts[512:], answered[512:]
    begin, step, done = time.time(), 0, 0.0
    while done < 1:
        done = min((time.time() - begin) / (60 * minutes), 1.0)
        rate = min(1.0, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate
        # Rows alternate between greedy and sampled texts: pairs stay together.
        at = 2 * torch.randint(0, len(texts) // 2, (batch // 2,), device=target.device)
        at = torch.stack([at, at + 1], 1).flatten()
        loss = step_loss(drafter, target, texts[at], answered[at], blocks(answered[at], 16))[0]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 1000 == 0 or done == 1:
            with torch.no_grad():
                loss, greedy, sampled = step_loss(drafter, target, *held_out, blocks(held_out[1], 16))
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
    parser.add_argument("plays", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=32000, help="of those that the plays give")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, after the answers")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    random.seed(0)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    target = Target(load_target(args.target, args.device), args.device)
    begin = time.time()
    rows = prompts(args.target, args.plays)
    texts, answered = answers(target, random.sample(rows, min(args.prompts, len(rows))), 1024)
    print(f"{len(texts)} answers in {time.time() - begin:.0f} s", flush=True)
    drafter = Drafter().to(args.device)
    print(f"{sum(p.numel() for p in drafter.parameters())} parameters", flush=True)
    train(drafter, target, texts, answered, args.minutes, args.batch)
    save(args.out, drafter)


if __name__ == "__main__":
    main()
