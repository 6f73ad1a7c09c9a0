#!/usr/bin/env python3
"""Trains a small Gemma 4 that answers questions about pictures of coloured shapes, as models/pictures was.

    tools/train_pictures.py OUT [--seconds 240] [--steps N] [--batch 256] [--device cuda] [--compile]

Needs torch, transformers 5.17 and tokenizers. OUT gets a Hugging Face checkpoint folder. The network is transformers'
own Gemma4ForConditionalGeneration, where picture tokens see each other both ways on sliding layers. The pictures are
drawn while it trains (pictures_data.py), so no two steps see the same ones. Scored by pictures_score.py, whose options
this program takes, too.
"""
import argparse
import json
import math
import os
import pathlib
import random
import time

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Gemma4Config, Gemma4ForConditionalGeneration, Gemma4TextConfig, Gemma4VisionConfig
from transformers.models.gemma4.image_processing_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.gemma4.modeling_gemma4 import Gemma4RMSNorm

import pictures_data as data
import pictures_score as score

SPECIAL = ["<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>", "<|image>", "<|image|>", "<image|>", "<|video|>",
           "<|audio>", "<|audio|>", "<audio|>"]
ID = {name: i for i, name in enumerate(SPECIAL)}
PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = """{{ bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] not in ['user', 'assistant'] -%}
        {{- raise_exception('Only user and assistant roles are supported') -}}
    {%- endif -%}
    {{- '<|turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- else -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'text' -%}
                {{- item['text'] | trim -}}
            {%- elif item['type'] in ['image', 'image_url'] -%}
                {{- '<|image|>' -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\\n' -}}
{%- endif -%}
"""
VOCAB, LENGTH, WINDOW = 600, 208, 48
LAYERS = ["sliding", "sliding", "full", "sliding", "full", "sliding", "full"]
SOFT_TOKENS, PATCH, POOL = 70, 16, 3
SIDES = (144, 240)  # of pictures, pixels
GROUPS = 8  # sizes of pictures in a batch


def train_tokenizer():
    rng, texts = random.Random(1), []
    for _ in range(3000):
        scene = data.draw_scene(rng, 200, 200)
        _, question, answer = data.draw_question(rng, scene)
        texts += [question, answer, *data.ask_all(rng, scene), "user\n", "model\n"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[AddedToken(s, special=True) for s in SPECIAL],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def config(vocab):
    text = Gemma4TextConfig(
        vocab_size=vocab, vocab_size_per_layer_input=vocab, hidden_size_per_layer_input=0, hidden_size=192,
        intermediate_size=384, num_hidden_layers=len(LAYERS), num_attention_heads=4, num_key_value_heads=2, head_dim=32,
        global_head_dim=64, layer_types=[f"{kind}_attention" for kind in LAYERS],
        sliding_window=WINDOW, max_position_embeddings=2048, final_logit_softcapping=30.0, tie_word_embeddings=True,
        use_bidirectional_attention="vision", pad_token_id=ID["<pad>"], bos_token_id=ID["<bos>"],
        eos_token_id=[ID["<eos>"], ID["<turn|>"]])
    vision = Gemma4VisionConfig(
        hidden_size=128, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        head_dim=32, patch_size=PATCH, pooling_kernel_size=POOL, position_embedding_size=SOFT_TOKENS * POOL)
    return Gemma4Config(
        text_config=text, vision_config=vision, audio_config=None, image_token_id=ID["<|image|>"],
        boi_token_id=ID["<|image>"], eoi_token_id=ID["<image|>"], video_token_id=ID["<|video|>"],
        audio_token_id=ID["<|audio|>"], boa_token_id=ID["<|audio>"], eoa_token_index=ID["<audio|>"])


def initialise(model):
    """Sizes that let a small model begin: unit activations, flat attention, quiet layers."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("q_norm.weight"):
                weight.fill_(weight.shape[0] ** -0.5)  # scores are not scaled otherwise
            elif "post_" in name and name.endswith("layernorm.weight"):
                weight.fill_(0.3)
            elif "position_embedding_table" in name:
                weight.normal_(0, 0.3)
            elif weight.dim() == 2:
                weight.normal_(0, weight.shape[1] ** -0.5)


class Batches(torch.utils.data.IterableDataset):
    """Batches of conversations about pictures, as dicts.

    groups: (width, height, packed scenes) of pictures, in the rows' order. ids, positions, segments: [batch, LENGTH].
    Segment 0 is what all of a row sees, the others do not see each other: in most rows several questions are asked,
    each as if it were the first. answers: (row, lo, hi, kind) in ids; kind is -1 where the question is not the first.
    """

    def __init__(self, tokenizer, batch):
        self.text, self.batch = tokenizer.to_str(), batch

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = random.Random(0 if info is None else info.seed)
        tokenizer = Tokenizer.from_str(self.text)
        while True:
            yield self.draw(rng, lambda text: tokenizer.encode(text, add_special_tokens=False).ids)

    def draw(self, rng, encode):
        groups, rows, at = [], [], []
        for _ in range(GROUPS):
            width, height = rng.randint(*SIDES), rng.randint(*SIDES)
            scenes = [data.draw_scene(rng, width, height) for _ in range(self.batch // GROUPS)]
            rows += [Row(encode, rng, scene, soft_tokens(width, height)) for scene in scenes]
            groups.append((width, height, torch.tensor([data.pack(scene) for scene in scenes])))
            at.append(patch_positions(width, height).expand(len(scenes), -1, -1))
        field = lambda name, rest: torch.tensor([(getattr(r, name) + [rest] * LENGTH)[:LENGTH] for r in rows])
        ids, before = field("ids", ID["<pad>"]), torch.zeros(self.batch, LENGTH, dtype=torch.bool)
        answers = [(i, *a) for i, r in enumerate(rows) for a in r.answers]
        for row, lo, hi, _ in answers:
            before[row, lo - 1:hi - 1] = True
        return {"groups": groups, "patches": torch.cat(at), "ids": ids, "positions": field("positions", 0),
                "segments": field("segments", -1), "before": before, "wanted": ids.roll(-1, 1)[before],
                "answers": answers}


class Row:
    """One picture, and as many questions as there is room for."""

    def __init__(self, encode, rng, scene, count):
        self.encode, self.rng, self.scene = encode, rng, scene
        self.ids, self.positions, self.segments, self.answers, self.asked = [], [], [], [], set()
        picture = "<|image>" + "<|image|>" * count + "<image|>"
        way = rng.random()
        if way < 0.7:
            self.add("<bos><|turn>user\n" + picture, 0)
            segment, start = 1, len(self.ids)
            while self.ask(segment, "", "", start):
                segment += 1
        else:
            before, after = ("", picture) if way < 0.85 else (picture, "")  # the question, then the picture
            while self.ask(0, ("\n" if self.ids else "<bos>") + "<|turn>user\n" + before, after, len(self.ids)):
                before = after = ""

    def add(self, text, segment):
        ids = self.encode(text)
        start = self.positions[-1] + 1 if self.positions else 0
        self.ids += ids
        self.positions += range(start, start + len(ids))
        self.segments += [segment] * len(ids)

    def question(self):
        for _ in range(20):
            if self.rng.random() < 0.15:
                kind, asked = "all", data.ask_all(self.rng, self.scene)
            else:
                kind, *asked = data.draw_question(self.rng, self.scene)
            if asked[0] not in self.asked:
                self.asked.add(asked[0])
                return kind, *asked
        return None

    def ask(self, segment, before, after, position):
        """Whether there was room for another question, which goes to `position`."""
        if not (found := self.question()):
            return False
        kind, question, answer = found
        asked = self.encode(before + question + after + "<turn|>\n<|turn>model\n")
        told = self.encode(answer + "<turn|>")
        lo, hi = len(self.ids) + len(asked), len(self.ids) + len(asked) + len(told)
        if hi > LENGTH:
            return False
        first = segment > 0 or not self.answers
        self.answers.append((lo, hi, list(data.KINDS).index(kind) if first and kind in data.KINDS else -1))
        self.ids += asked + told
        self.positions += range(position, position + len(asked) + len(told))
        self.segments += [segment] * (len(asked) + len(told))
        return True


def target_size(width, height):
    return get_aspect_ratio_preserving_size(height, width, PATCH, SOFT_TOKENS * POOL * POOL, POOL)


def soft_tokens(width, height):
    rows, columns = target_size(width, height)
    return rows * columns // (PATCH * POOL) ** 2


def patch_positions(width, height):
    rows, columns = (side // PATCH for side in target_size(width, height))
    at = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).reshape(-1, 2)
    return torch.nn.functional.pad(at, (0, 0, 0, SOFT_TOKENS * POOL * POOL - len(at)), value=-1)


def pixels_of(groups, device):
    """The patches that Gemma4ImageProcessor makes of the scenes."""
    packed = torch.cat([scenes for _, _, scenes in groups]).to(device)
    pictures = data.render(packed, SIDES[1], SIDES[1]).float().split([len(scenes) for _, _, scenes in groups])
    values = []
    for (width, height, _), picture in zip(groups, pictures):
        size = target_size(width, height)
        picture = torch.nn.functional.interpolate(picture[:, :, :height, :width], size, mode="bicubic", antialias=True)
        rows, columns = size[0] // PATCH, size[1] // PATCH
        cut = picture.reshape(-1, 3, rows, PATCH, columns, PATCH).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        values.append(torch.nn.functional.pad(cut, (0, 0, 0, SOFT_TOKENS * POOL * POOL - rows * columns)))
    return torch.cat(values).round().clamp(0, 255) / 255


def masks_of(ids, positions, segments):
    """What transformers makes of mm_token_type_ids, but for the segments."""
    q, k = (lambda t: t[:, None, :, None]), (lambda t: t[:, None, None, :])
    ours = (k(segments) == 0) | (k(segments) == q(segments))
    image = ids == ID["<|image|>"]
    causal = q(positions) >= k(positions)
    near = q(positions) - k(positions) < WINDOW
    return {"full_attention": ours & causal,
            "sliding_attention": ours & near & (causal | q(image) & k(image))}


def logits_of(model, batch, device):
    """What the model says where it should say the answers' tokens."""
    pixels = pixels_of(batch["groups"], device)
    names = ("patches", "ids", "positions", "segments", "before")
    patches, ids, positions, segments, before = (batch[name].to(device) for name in names)
    hidden = model.model(input_ids=ids, position_ids=positions, pixel_values=pixels, image_position_ids=patches,
                         attention_mask=masks_of(ids, positions, segments), use_cache=False).last_hidden_state
    cap = model.config.text_config.final_logit_softcapping
    return cap * torch.tanh(model.lm_head(hidden[before]).float() / cap)


def report(right, answers):
    """Accuracy of whole first answers by kind."""
    at, counts = 0, {}
    for _, lo, hi, kind in answers:
        if kind >= 0:
            counts.setdefault(list(data.KINDS)[kind], []).append(bool(right[at:at + hi - lo].all()))
        at += hi - lo
    return " ".join(f"{name} {sum(c) / len(c):.2f}" for name, c in sorted(counts.items()))


def hurry(model, compiled):
    """The same arithmetic in fewer kernels."""
    def norm(self, x):
        weight = self.weight.float() if self.with_scale else None
        return torch.nn.functional.rms_norm(x.float(), x.shape[-1:], weight, self.eps).type_as(x)

    Gemma4RMSNorm.forward = norm
    if compiled:
        for layer in model.model.language_model.layers:
            layer.self_attn.store_full_length_kv = False  # so that layers of one kind are compiled once
        for layer in [*model.model.vision_tower.encoder.layers, *model.model.language_model.layers]:
            layer.forward = torch.compile(layer.forward, dynamic=False)


def optimizer_of(model, rate):
    plain = [w for w in model.parameters() if w.dim() < 2]
    rest = [w for w in model.parameters() if w.dim() >= 2]
    return torch.optim.AdamW([{"params": rest, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=rate,
                             betas=(0.9, 0.98), fused=True)


def train(model, loader, args):
    optimizer, began, told = optimizer_of(model, args.rate), time.time(), 0.0
    model.train()
    for step, batch in enumerate(loader):
        if step < 2:
            first = time.time()  # before, things are compiled
        progress = max((time.time() - first) / max(1, began + args.seconds - first), step / args.steps)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            fall = 0.02 + 0.49 * (1 + math.cos(math.pi * progress))
            group["lr"] = args.rate * min(1, (step + 1) / args.warmup) * fall
        with torch.autocast(args.device, torch.bfloat16):
            logits, wanted = logits_of(model, batch, args.device), batch["wanted"].to(args.device)
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if time.time() - told > args.tell:
            told = time.time()
            right = (logits.argmax(-1) == wanted).cpu()
            print(f"step {step} {told - began:.1f} s loss {loss.item():.4f} tokens {right.float().mean():.3f} | "
                  f"{report(right, batch['answers'])}", flush=True)
    print(f"{step} steps in {time.time() - began:.0f} s", flush=True)


def save(out, model, tokenizer):
    out.mkdir(parents=True, exist_ok=True)
    copy = Gemma4ForConditionalGeneration(model.config)
    copy.load_state_dict(model.state_dict())
    copy.generation_config.update(bos_token_id=ID["<bos>"], eos_token_id=[ID["<eos>"], ID["<turn|>"]],
                                  pad_token_id=ID["<pad>"], do_sample=False)
    copy.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>",
             "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    (out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "extra_special_tokens": names, **names, "processor_class": "Gemma4Processor",
        "clean_up_tokenization_spaces": False, "model_max_length": 2048}, indent=2) + "\n")
    (out / "chat_template.jinja").write_text(TEMPLATE)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "Gemma4ImageProcessor", "processor_class": "Gemma4Processor", "do_convert_rgb": True,
        "do_resize": True, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": False,
        "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": SOFT_TOKENS,
        "patch_size": PATCH, "pooling_kernel_size": POOL}, indent=2) + "\n")


def run_training(args):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    tokenizer = train_tokenizer()
    model = Gemma4ForConditionalGeneration(config(tokenizer.get_vocab_size()))
    initialise(model)
    model.to(args.device)
    hurry(model, args.compile)
    print(f"{model.num_parameters()} parameters, {tokenizer.get_vocab_size()} tokens", flush=True)
    workers = args.workers if args.workers is not None else max(0, (os.cpu_count() or 1) - 2)
    loader = torch.utils.data.DataLoader(Batches(tokenizer, args.batch), batch_size=None, num_workers=workers,
                                         prefetch_factor=4 if workers else None)
    train(model, loader, args)
    save(args.out, model.cpu(), tokenizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--steps", type=int, default=1 << 30)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--tell", type=float, default=10, help="seconds between lines")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    score.add_arguments(parser)
    args = parser.parse_args()
    if not score.run(args):
        if args.out is None:
            parser.error("OUT, --held-out, --score or --score-transformers is needed")
        run_training(args)


if __name__ == "__main__":
    main()
