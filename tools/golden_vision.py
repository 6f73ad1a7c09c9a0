#!/usr/bin/env python3
"""Makes small random-weight checkpoints of models that see, with pictures and known answers, from transformers.

    tools/golden_vision.py OUT [NAME ...]        needs torch, torchvision, transformers 5.17, safetensors, Pillow

As tools/golden.py, with picture<N>.png and preprocessor_config.json beside; golden.safetensors holds `media` as well,
the [begin, end) of each picture's tokens. The cases differ in what the shared goldens of Gemma 4 leave out: per-layer
embeddings and shared keys beside pictures, clipped linear layers, standardised features, several pictures, and Gemma 3.
"""
import pathlib
import sys

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3TextConfig,
                          Gemma4Config, Gemma4ForConditionalGeneration, Gemma4ImageProcessor, Gemma4TextConfig,
                          Gemma4VisionConfig, SiglipVisionConfig, logging)

from golden import published
from golden_common import LAST, random_weight, write_json, write_weights

GREEDY = 24
TEXT = dict(vocab_size=397, hidden_size=80, intermediate_size=112, num_hidden_layers=6, num_attention_heads=4,
            num_key_value_heads=2, head_dim=24, max_position_embeddings=4096, tie_word_embeddings=True)
IDS = dict(image_token_id=390, boi_token_id=391, eoi_token_id=392, video_token_id=393, audio_token_id=394,
           boa_token_id=395, eoa_token_index=396)


def picture(width, height, seed):
    """Smooth colours with an edge and some noise."""
    noise = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [(x * (3 + c) + y * (5 - c) + 40 * seed) % 256 for c in range(3)]
    pixels = torch.stack(planes, -1) + torch.randint(-20, 20, (height, width, 3), generator=noise)
    pixels[height // 3:, width // 2:] = 255 - pixels[height // 3:, width // 2:]
    return Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy())


def gemma4(vision, **text):
    layers = ["sliding_attention", "full_attention"] * 3
    config = Gemma4Config(
        text_config=Gemma4TextConfig(**{**TEXT, "layer_types": layers, "vocab_size_per_layer_input": 397,
                                        "final_logit_softcapping": 30.0, "global_head_dim": 32, **text}),
        vision_config=Gemma4VisionConfig(hidden_size=48, intermediate_size=80, num_hidden_layers=2,
                                         num_attention_heads=3, num_key_value_heads=3, head_dim=16,
                                         position_embedding_size=64, **vision), audio_config=None, **IDS)
    return Gemma4ForConditionalGeneration, config, Gemma4ImageProcessor(max_soft_tokens=70)


def gemma3():
    config = Gemma3Config(
        text_config=Gemma3TextConfig(**TEXT, sliding_window=12, query_pre_attn_scalar=24,
                                     layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2),
        vision_config=SiglipVisionConfig(hidden_size=48, intermediate_size=80, num_hidden_layers=2,
                                         num_attention_heads=3, image_size=112, patch_size=14),
        mm_tokens_per_image=16, image_token_index=390, boi_token_index=391, eoi_token_index=392)
    processor = Gemma3ImageProcessor(size={"height": 112, "width": 112})
    return Gemma3ForConditionalGeneration, config, processor


def cases():
    """name -> class, configuration, processor, sizes of pictures, and the text tokens before, between and behind."""
    yield "gemma4_vision_small", gemma4(
        dict(use_clipped_linears=True), hidden_size_per_layer_input=16, num_kv_shared_layers=2, sliding_window=24,
        use_double_wide_mlp=True), [(97, 60), (50, 131)], [3, 9, 30]
    yield "gemma4_vision_large", gemma4(
        dict(standardize=True), hidden_size_per_layer_input=0, sliding_window=20, attention_k_eq_v=True,
        num_global_key_value_heads=1, use_bidirectional_attention="vision"), [(80, 80), (200, 50), (33, 70)], [0, 0, 7, 26]
    yield "gemma3_vision", gemma3(), [(97, 60), (50, 131)], [5, 2, 40]


def randomise(model, generator):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            value = random_weight(name, weight.shape, generator, zero_centred="gemma3" in model.config.model_type)
            if "embed_tokens" in name:  # multiplied by sqrt(hidden_size) at the input
                value /= 3
            weight.copy_(value.bfloat16().float())
        for name, buffer in model.named_buffers():
            side = {"input_min": -1.5, "input_max": 1.25, "output_min": -2.0, "output_max": 2.5}.get(name.split(".")[-1])
            if side is not None:
                buffer.copy_(torch.tensor(side))
            elif name.endswith(("std_bias", "std_scale", "layer_scalar")):
                buffer.copy_(random_weight(name.replace("std_bias", "bias"), buffer.shape, generator).bfloat16().float())


def prompt(tokens, counts, gaps, vocab):
    """Text of the given lengths around pictures of so many soft tokens; where the pictures are."""
    noise = torch.Generator().manual_seed(5)
    text = lambda n: torch.randint(3, vocab, (n,), generator=noise).tolist()
    ids, media = text(gaps[0]), []
    for count, gap in zip(counts, gaps[1:]):
        ids.append(tokens["begin"])
        media.append([len(ids), len(ids) + count])
        ids += [tokens["image"]] * count + [tokens["end"]] + text(gap)
    return torch.tensor(ids), torch.tensor(media, dtype=torch.int32)


@torch.no_grad()
def answers(model, ids, image, pixels):
    def logits_of(tokens):
        kinds = (tokens == image).int()[None]
        kinds = {"token_type_ids": kinds, "mm_token_type_ids": kinds}
        kinds = {key: value for key, value in kinds.items() if key == pixels["kind"]}
        return model(input_ids=tokens[None], use_cache=False, **pixels["inputs"], **kinds).logits[0]

    logits = logits_of(ids)[-LAST:].float()
    tokens, greedy, margin = ids.clone(), [], []
    for _ in range(GREEDY):
        row = logits_of(tokens)[-1]
        row[image] = -torch.inf  # it would stand for a picture that is not there
        top = row.topk(2)
        greedy.append(int(top.indices[0]))
        margin.append(float(top.values[0] - top.values[1]))
        tokens = torch.cat([tokens, top.indices[:1]])
    return {"input_ids": ids, "logits": logits.contiguous(), "greedy": torch.tensor(greedy),
            "margin": torch.tensor(margin)}


def main():
    logging.disable_progress_bar()
    out, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, (kind, config, processor), sizes, gaps in cases():
        if wanted and name not in wanted:
            continue
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        pictures = [picture(*size, seed) for seed, size in enumerate(sizes)]
        for i, each in enumerate(pictures):
            each.save(folder / f"picture{i}.png")
        inputs = dict(processor(images=pictures, return_tensors="pt"))
        counts = [int(n) for n in inputs.pop("num_soft_tokens_per_image", [16] * len(pictures))]
        inputs.pop("num_crops", None)
        model = kind._from_config(config, attn_implementation="eager").float().eval()
        randomise(model, torch.Generator().manual_seed(1234))
        is_4 = kind is Gemma4ForConditionalGeneration
        tokens = {"image": 390, "begin": 391, "end": 392}
        ids, media = prompt(tokens, counts, gaps, 390)
        pixels = {"inputs": inputs, "kind": "mm_token_type_ids" if is_4 else "token_type_ids"}
        golden = answers(model, ids, tokens["image"], pixels)
        config_json, tensors = published(model, torch.bfloat16)
        write_json(folder / "config.json", config_json)
        write_weights(folder, tensors)
        processor.save_pretrained(folder)
        save_file({**golden, "media": media}, folder / "golden.safetensors")
        print(f"{name}: {len(ids)} tokens, pictures of {counts}, closest greedy tokens "
              f"{float(golden['margin'].min()):.1e}", flush=True)


if __name__ == "__main__":
    main()
