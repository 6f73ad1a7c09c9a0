#!/usr/bin/env python3
"""Trains a small chat model with the Rnj-1 architecture on dialogue, as the bundled models/bard was.

    tools/train_bard.py PLAYS.txt OUT [--steps 6000] [--device cuda]      needs torch, transformers 5.17, tokenizers

PLAYS.txt holds speeches separated by empty lines, each beginning with its speaker's name on a line of its own, as the
plain-text editions of Shakespeare's plays (public domain) have them. A speech answers the one before it: conversations
of one to eight such turns become user and assistant messages. OUT gets a Hugging Face checkpoint folder.

The network is transformers' Gemma 3 with its sliding mask replaced by the chunked one (size sliding_window / 2, one
chunk of lookback), which is what Rnj1ForCausalLM names.
"""
import argparse
import json
import math
import pathlib
import random
import re

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

SPECIAL = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>", "<|end|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")
TEMPLATE = ("{{ bos_token }}{% for message in messages %}{% if message['role'] not in ['user', 'assistant'] %}"
            "{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}"
            "{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")
CHUNK, CONTEXT, VOCAB = 64, 512, 4096
LAYERS = ["chunked_attention", "chunked_attention", "full_attention"] * 2
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": CONTEXT,
        "beta_fast": 32.0, "beta_slow": 1.0}


def speeches(path):
    for block in re.split(r"\n\s*\n", path.read_text()):
        lines = block.strip().split("\n")
        if len(lines) > 1 and re.fullmatch(r"[A-Z][\w' .-]*[.:]?", lines[0].strip()):
            yield "\n".join(line.strip() for line in lines[1:])


def conversation(turns):
    text = "<bos>"
    for i, turn in enumerate(turns):
        text += f"<|{'user' if i % 2 == 0 else 'assistant'}|>\n{turn}<|end|>\n"
    return text


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def masks(length, device):
    """Additive masks by layer type; the chunked one goes under the name that the borrowed class knows."""
    q = torch.arange(length, device=device)[:, None]
    k = torch.arange(length, device=device)[None, :]
    causal = k <= q
    chunked = causal & (q // CHUNK - k // CHUNK <= 1)
    return {name: torch.where(seen, 0.0, -math.inf)[None, None]
            for name, seen in (("full_attention", causal), ("sliding_attention", chunked))}


def config():
    types = [t.replace("chunked", "sliding") for t in LAYERS]
    return Gemma3TextConfig(
        vocab_size=VOCAB, hidden_size=256, intermediate_size=768, num_hidden_layers=len(LAYERS), num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, query_pre_attn_scalar=64, sliding_window=2 * CHUNK, layer_types=types,
        max_position_embeddings=2048, rope_parameters={"full_attention": YARN, "sliding_attention": YARN},
        pad_token_id=0, bos_token_id=1, eos_token_id=5, tie_word_embeddings=True)


def loss_of(model, rows, mask):
    logits = model(input_ids=rows[:, :-1], attention_mask=mask, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def train(model, ids, steps, batch, device):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    mask = masks(CONTEXT, device)
    model.train()
    for step in range(steps):
        rate = min(1.0, (step + 1) / 200) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        starts = torch.randint(0, len(ids) - CONTEXT - 1, (batch,))
        rows = torch.stack([ids[s:s + CONTEXT + 1] for s in starts]).to(device)
        loss = loss_of(model, rows, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step + 1 == steps:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def save(out, model, tokenizer, validation):
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: w.to(torch.bfloat16).contiguous() for name, w in model.state_dict().items()
               if name != "lm_head.weight"}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    document = model.config.to_dict()
    document.update(architectures=["Rnj1ForCausalLM"], dtype="bfloat16", layer_types=LAYERS,
                    rope_parameters={"full_attention": YARN, "chunked_attention": YARN})
    (out / "config.json").write_text(json.dumps(document, indent=2))
    (out / "generation_config.json").write_text(json.dumps({
        "bos_token_id": 1, "eos_token_id": [5, 2], "pad_token_id": 0, "do_sample": True, "temperature": 0.8,
        "top_p": 0.95}, indent=2))
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<|end|>",
        "pad_token": "<pad>", "clean_up_tokenization_spaces": False, "model_max_length": 2048,
        "chat_template": TEMPLATE}, indent=2))
    (out / "val_tokens.json").write_text(json.dumps({"val_tokens": validation}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plays", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    random.seed(0)
    torch.manual_seed(0)
    turns = list(speeches(args.plays))
    texts, at = [], 0
    while at + 2 <= len(turns):
        count = min(2 * random.randint(1, 4), len(turns) - at)
        texts.append(conversation(turns[at:at + count]))
        at += count
    held_out = texts[-max(1, len(texts) // 50):]
    texts = texts[:len(texts) - len(held_out)]
    tokenizer = train_tokenizer(texts)
    ids = [i for text in random.sample(texts, len(texts)) for i in tokenizer.encode(text).ids]
    model = Gemma3ForCausalLM(config()).to(args.device)
    print(f"{len(turns)} speeches, {len(ids)} tokens, {model.num_parameters()} parameters", flush=True)
    train(model, torch.tensor(ids), args.steps, args.batch, args.device)
    validation = [i for text in held_out for i in tokenizer.encode(text).ids][:4096]
    save(args.out, model.cpu(), tokenizer, validation)


if __name__ == "__main__":
    main()
