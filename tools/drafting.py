"""What the trainers of drafters share: texts that the bundled chat model says, its hidden states, the loss, the loop.

Texts are dialogues cut before or within an answer, which the target goes on with, greedily in half of the texts and at
temperature 0.8 in the others. A drafter starts at random places of such an answer; each guess is to be what the target
says there: that token where it was greedy, else the target's distribution at that temperature (cross entropy, and the
logarithm of what both distributions share, which is how often a guess can be right).
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
from torch.nn.functional import cross_entropy, rms_norm, silu
from tokenizers import Tokenizer
from transformers import DynamicCache, Gemma3ForCausalLM

from train_bard import CHUNK
from train_bard import config as bard_config
from train_bard import conversation, masks, speeches

HIDDEN, HEADS, KV_HEADS, HEAD = 256, 4, 2, 64
PROMPT, ANSWER = 384, 36  # most tokens of a dialogue before the cut, and of what is said behind it
LENGTH = PROMPT + ANSWER
DECAY, ROTATION = 4.0, 10000.0
TEMPERATURE = 0.8  # of the texts that are not greedy
OVERLAP = 1.0  # weight of the loss of what is shared
ASSISTANT, END = 4, 5  # tokens that begin and end an answer


def load_target(folder, device):
    model = Gemma3ForCausalLM(bard_config())
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model.to(device).eval().requires_grad_(False)


class Target:
    """Logits and tapped hidden states of whole sequences."""

    def __init__(self, model, taps, device):
        self.model, self.tapped, self.device = model, taps, device
        self.masks, self.states = masks(LENGTH, device), {}
        for tap in taps:
            model.model.layers[tap].register_forward_hook(
                lambda _, args, out, tap=tap: self.states.update({tap: out[0] if isinstance(out, tuple) else out}))

    def __call__(self, ids):
        mask = {name: m[..., :ids.shape[1], :ids.shape[1]] for name, m in self.masks.items()}
        with torch.autocast("cuda", torch.bfloat16):
            hidden = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            return self.model.lm_head(hidden).float()

    def taps(self):
        return torch.cat([self.states[tap] for tap in self.tapped], -1)

    def embed(self, ids):
        return self.model.model.embed_tokens(ids)


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


def padded_masks(queries, keys):
    """For positions of queries [B, Q] and keys [B, K], negative where there is no token: whom each query sees."""
    q, k = queries[:, None, :, None], keys[:, None, None, :]
    causal = ((k >= 0) & (k <= q)) | (k == q)  # a query that is no token sees its own kind, for the softmax's sake
    return {"full_attention": causal, "sliding_attention": causal & (q // CHUNK - k // CHUNK <= 1)}


@torch.no_grad()
def answer(target, rows):
    """[2 * rows, LENGTH] tokens, every second row greedy behind its prompt; and which of them are of the answer."""
    device = target.device
    longest, count = max(map(len, rows)), 2 * len(rows)
    prompt = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device).repeat_interleave(2, 0)
    lengths = torch.tensor([len(row) for row in rows], device=device).repeat_interleave(2)
    keys = torch.arange(longest, device=device) - (longest - lengths)[:, None]
    number = torch.arange(count, device=device)
    greedy, going = number % 2 == 0, torch.ones(count, dtype=torch.bool, device=device)
    cache, ids, queries, said, alive = DynamicCache(), prompt, keys, [], []
    for _ in range(ANSWER):
        with torch.autocast("cuda", torch.bfloat16):
            hidden = target.model.model(input_ids=ids, attention_mask=padded_masks(queries, keys),
                                        position_ids=queries.clamp(min=0), past_key_values=cache,
                                        use_cache=True).last_hidden_state[:, -1]
            logits = target.model.lm_head(hidden).float()
        drawn = torch.multinomial((logits / TEMPERATURE).softmax(-1), 1)[:, 0]
        token = torch.where(greedy, logits.argmax(-1), drawn)
        said.append(token)
        alive.append(going)
        going = going & (token != END)
        ids, queries = token[:, None], keys[:, -1:] + 1
        keys = torch.cat([keys, queries], 1)
    texts = torch.zeros(count, LENGTH, dtype=torch.long, device=device)
    answered = torch.zeros(count, LENGTH, dtype=torch.bool, device=device)
    places = lengths[:, None] + torch.arange(ANSWER, device=device)
    texts.scatter_(1, (keys[:, :longest] % LENGTH), prompt)  # what is no token goes to the end, behind all that is
    texts.scatter_(1, places, torch.stack(said, 1))
    answered.scatter_(1, places, torch.stack(alive, 1))
    return texts.short(), answered


def answers(target, rows, most):
    """Those of all prompts, pairs in random order."""
    rows = sorted(rows, key=len)
    pairs = [answer(target, rows[at:at + most]) for at in range(0, len(rows), most)]
    texts, answered = (torch.cat(parts) for parts in zip(*pairs))
    order = torch.randperm(len(rows), device=texts.device)
    order = torch.stack([2 * order, 2 * order + 1], 1).flatten()
    return texts[order], answered[order]


def places(answered, count, room):
    """Random places of answers with another token behind, and `room` tokens of the row."""
    fit = (answered[:, :-1] & answered[:, 1:])[:, :LENGTH - room]
    return torch.multinomial(fit.float() + 1e-9, count, replacement=True)


def rotate(x, positions):
    """x [batch, heads, T, dims], positions [batch, T]."""
    frequency = ROTATION ** (-torch.arange(0, HEAD, 2, device=x.device) / HEAD)
    angle = positions[:, None, :, None] * frequency
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1).to(x.dtype)


def heads(x):
    return x.view(*x.shape[:2], -1, HEAD).transpose(1, 2)


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return rms_norm(x.float(), (len(self.weight),), self.weight, 1e-6).to(x.dtype)


class Mlp(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(HIDDEN, inner, bias=False), nn.Linear(HIDDEN, inner, bias=False)
        self.down_proj = nn.Linear(inner, HIDDEN, bias=False)

    def forward(self, x):
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


def guesses_loss(guess, logits, texts, answered, starts, count):
    """Of logits `guess` [batch, starts * count, vocab] for the tokens behind each start: the loss; and by distance, how
    often the likeliest is what was said in greedy texts, and what guess and target share in sampled ones."""
    place = starts[:, :, None] + torch.arange(count + 1, device=texts.device)
    flat = (place[:, :, 1:] - 1).flatten(1)  # the target's logits there are of the token at `place`
    said = texts.gather(1, place[:, :, 1:].flatten(1)).long()
    counts = answered.gather(1, place.flatten(1)).long().view(*place.shape).cumprod(2)[:, :, 1:].flatten(1)
    weight = counts * torch.exp(-torch.arange(count, device=texts.device) / DECAY).repeat(starts.shape[1])

    greedy, drawn = guess[::2], guess[1::2]  # rows alternate
    hard = cross_entropy(greedy.transpose(1, 2), said[::2], reduction="none")
    teacher = logits[1::2].gather(1, flat[1::2, :, None].expand(-1, -1, logits.shape[-1]))
    teacher, own = (teacher / TEMPERATURE).softmax(-1), (drawn / TEMPERATURE).log_softmax(-1)
    shared = torch.minimum(teacher, own.exp()).sum(-1)
    soft = -(teacher * own).sum(-1) - OVERLAP * shared.clamp(min=1e-6).log()

    def by_distance(values, counts):
        shape = (len(values), -1, count)
        return (values * counts).view(shape).sum((0, 1)) / counts.view(shape).sum((0, 1))

    loss = ((hard * weight[::2]).sum() + (soft * weight[1::2]).sum()) / weight.sum()
    right = by_distance((greedy.argmax(-1) == said[::2]).float(), counts[::2])
    return loss, right, by_distance(shared.detach(), counts[1::2])


def train(drafter, step_loss, texts, answered, minutes, batch, decay):
    """step_loss(texts, answered) -> loss and, by distance, how often guesses are right in greedy and sampled texts."""
    optimizer = torch.optim.AdamW(drafter.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=decay)
    held_out, texts, answered = (texts[:512], answered[:512]), texts[512:], answered[512:]
    begin, step, done = time.time(), 0, 0.0
    while done < 1:
        done = min((time.time() - begin) / (60 * minutes), 1.0)
        rate = min(1.0, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate
        # Rows alternate between greedy and sampled texts: pairs stay together.
        at = 2 * torch.randint(0, len(texts) // 2, (batch // 2,), device=texts.device)
        at = torch.stack([at, at + 1], 1).flatten()
        loss = step_loss(texts[at], answered[at])[0]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 1000 == 0 or done == 1:
            with torch.no_grad():
                held, greedy, sampled = step_loss(*held_out)
            length = [1 + float(hits.cumprod(0).sum()) for hits in (greedy, sampled)]
            print(f"step {step} loss {loss.item():.3f}, held-out {held.item():.3f}; right by distance, greedy text "
                  f"{[round(float(h), 2) for h in greedy]}, sampled {[round(float(h), 2) for h in sampled]}; "
                  f"about {length[0]:.2f} and {length[1]:.2f} tokens a step; {time.time() - begin:.0f} s", flush=True)


def save(out, weights, document):
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: w.detach().cpu().contiguous() for name, w in weights.items()}, out / "model.safetensors",
              metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(document, indent=2) + "\n")


def run(description, taps, make, step_loss, save_drafter):
    """A trainer's main: make() -> drafter, step_loss(drafter, target, texts, answered), save_drafter(out, drafter)."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("plays", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=64000, help="of those that the plays give")
    parser.add_argument("--answers", type=pathlib.Path, help="a file that keeps them for another run")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, after the answers")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    random.seed(0)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    target = Target(load_target(args.target, args.device), taps, args.device)
    begin = time.time()
    if args.answers and args.answers.exists():
        texts, answered = torch.load(args.answers, map_location=args.device)
    else:
        rows = prompts(args.target, args.plays)
        print(f"{len(rows)} prompts in {time.time() - begin:.0f} s", flush=True)
        texts, answered = answers(target, random.sample(rows, min(args.prompts, len(rows))), 1024)
        if args.answers:
            torch.save((texts, answered), args.answers)
    print(f"{len(texts)} answers after {time.time() - begin:.0f} s", flush=True)
    drafter = make().to(args.device)
    print(f"{sum(p.numel() for p in drafter.parameters())} parameters", flush=True)
    train(drafter, lambda *rows: step_loss(drafter, target, *rows), texts, answered, args.minutes, args.batch,
          args.weight_decay)
    save_drafter(args.out, drafter)
