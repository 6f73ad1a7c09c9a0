#!/usr/bin/env python3
"""What transformers makes of pictures: tests/media/image_prep.json, for tests/media/image_prep_test.cpp.

    tools/image_prep_fixtures.py OUT.json

Needs transformers 5.17, torch, torchvision, pillow and numpy. The pictures are a formula of integers that the test
knows too, so of each only what came out is kept: sizes, two sums of all bytes, some of them, all where they are few.
"""
import argparse
import base64
import io
import json
import pathlib
import random

import numpy
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from transformers import Gemma3ImageProcessor, Gemma4ImageProcessor
from transformers.image_utils import load_image
from transformers.models.gemma4.image_processing_gemma4 import get_aspect_ratio_preserving_size

SAMPLES = 128
WHOLE = 10000  # bytes
ORIENTATION = 0x0112  # the EXIF tag


def picture(width, height, seed, channels=3):
    """[height, width, channels]: gradients, hard edges and noise."""
    y, x, c = numpy.meshgrid(*(numpy.arange(n, dtype=numpy.uint64) for n in (height, width, channels)), indexing="ij")
    h = (x * 73856093 ^ y * 19349663 ^ c * 83492791 ^ numpy.uint64(seed * 2654435761)) & 0xFFFFFFFF
    h = (h ^ h >> 15) * 2246822519 & 0xFFFFFFFF
    noise = (h ^ h >> 13) & 63
    gradient = numpy.where(c == 0, x * 191 // width, numpy.where(c == 1, y * 191 // height, (x + y) & 127))
    value = gradient + noise
    return numpy.where((x // 7 + y // 5 + seed) % 4 == 0, 255 - value, value).astype(numpy.uint8)


def mixed(values):
    """A sum, modulo 2^64, that notices what is wrong or out of its place."""
    weights = numpy.arange(len(values), dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15) | numpy.uint64(1)
    return f"{int((values * weights).sum(dtype=numpy.uint64)):016x}"


def summary(values):
    """`values`: uint8, in the order of ImagePatches::bytes."""
    values = values.reshape(-1)
    at = numpy.arange(SAMPLES) * (len(values) - 1) // (SAMPLES - 1)
    out = {"bytes": len(values), "mixed": mixed(values), "sum": int(values.sum(dtype=numpy.int64)),
           "sample": base64.b64encode(values[at].tobytes()).decode()}
    if len(values) <= WHOLE:
        out["whole"] = base64.b64encode(values.tobytes()).decode()
    return out


def to_bytes(values):
    """The bytes that floats of 0 to 1 were."""
    scaled = numpy.asarray(values, dtype=numpy.float64) * 255
    assert abs(scaled - scaled.round()).max() < 1e-3
    return scaled.round().astype(numpy.uint8)


def gemma4(image, budget):
    out = Gemma4ImageProcessor(max_soft_tokens=budget)(image, return_tensors="pt")
    positions = out["image_position_ids"][0]
    real = int((positions != -1).all(-1).sum())
    columns, rows = (int(n) + 1 for n in positions.max(0).values)
    order = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).reshape(-1, 2)
    assert (positions[:real] == order).all() and (positions[real:] == -1).all()
    assert (out["pixel_values"][0, real:] == 0).all()
    return {"columns": columns, "rows": rows, "soft_tokens": int(out["num_soft_tokens_per_image"][0]),
            **summary(to_bytes(out["pixel_values"][0, :real]))}


def gemma3(image, size, patch):
    out = Gemma3ImageProcessor(size={"height": size, "width": size})(image, return_tensors="pt")
    pixels = to_bytes(out["pixel_values"][0] / 2 + 0.5).reshape(3, size // patch, patch, size // patch, patch)
    return {"columns": size // patch, "rows": size // patch, **summary(pixels.transpose(1, 3, 0, 2, 4))}


def oriented(values, orientation):
    """As a viewer shows it that honours the tag."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(values).save(file, "PNG", exif=exif)
    file.seek(0)
    return load_image(Image.open(file))


def cases():
    """(kind, width, height, budget or size, patch, look)"""
    for width, height in [(1, 1), (1, 500), (500, 1), (2, 3), (7, 5), (47, 47), (48, 48), (49, 48), (133, 77),
                          (255, 257), (321, 123), (640, 480), (480, 640), (1000, 37), (37, 1000), (4000, 7), (7, 4000),
                          (5000, 1), (960, 672), (3000, 2000)]:
        yield "gemma4", width, height, 280, 16, "rgb"
    for budget in (70, 140, 560, 1120):
        yield "gemma4", 333, 250, budget, 16, "rgb"
    yield "gemma4", 384, 384, 70, 16, "rgb"
    yield "gemma4", 1, 20000, 70, 16, "rgb"
    yield "gemma4", 200, 150, 70, 16, "grey"
    yield "gemma4", 160, 240, 70, 16, "alpha"
    for orientation in range(1, 9):
        yield "gemma4", 90, 60, 70, 16, f"exif{orientation}"
    for width, height, size in [(1, 1, 56), (300, 200, 56), (31, 97, 56), (56, 56, 56), (1200, 900, 224),
                                (640, 480, 896), (1, 3000, 896)]:
        yield "gemma3", width, height, size, 14, "rgb"


def run(seed, kind, width, height, extent, patch, look):
    case = {"kind": kind, "width": width, "height": height, "extent": extent, "patch": patch, "look": look}
    case["seed"] = seed
    values = picture(width, height, seed, {"grey": 1, "alpha": 4}.get(look, 3))
    image = Image.fromarray(values[:, :, 0] if look == "grey" else values)
    if look.startswith("exif"):
        image = oriented(values, int(look[4:]))
    return {**case, **(gemma4(image, extent) if kind == "gemma4" else gemma3(image, extent, patch))}


def sizes():
    """[width, height, patch, pool, soft tokens, width and height of the prepared picture: 0, 0 for an error]"""
    draw = random.Random(5)
    for i in range(400):
        patch, pool = draw.choice([(16, 3), (16, 3), (14, 2), (16, 1)])
        budget = draw.choice([1, 2, 70, 140, 280, 560, 1120])
        side = lambda: int(2 ** draw.uniform(0, 12 if i % 2 else 15.9))
        width, height = side(), side()
        if i % 5 == 0:
            height = width
        try:
            out = get_aspect_ratio_preserving_size(height, width, patch, budget * pool * pool, pool)
        except ValueError:
            out = (0, 0)
        yield [width, height, patch, pool, budget, out[1], out[0]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    versions = {module.__name__: module.__version__ for module in (transformers, torch, torchvision, PIL, numpy)}
    lines = [json.dumps(run(seed, *case)) for seed, case in enumerate(cases())]
    args.out.write_text('{"versions": ' + json.dumps(versions) + ',\n"sizes": ' + json.dumps(list(sizes())) +
                        ',\n"cases": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
