#!/usr/bin/env python3
"""Runs `heed bench latency` for weights and contexts of several sizes, and draws the share of the limit that decoding
one sequence reaches against the length of the context, as SVG.

    tools/plot_shares.py OUT.svg [--heed build/release/heed] [--synthetic qwen3-0.5b] [--contexts 16,512,1024]

The context is the prompt and half of the answer. Below the name of each line stands what the memory's speed was in its
runs, from the least to the most. What was measured is printed as JSON lines; `--from FILE` draws such lines
again. --heed may be a command with arguments, such as one that keeps a machine quiet.
"""
import argparse
import json
import math
import shlex
import subprocess
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 200, 20, 50
COLOURS = ["#1b6ca8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0f766e"]
WEIGHTS = {"bfloat16": "none", "Q8_0 (int8)": "int8", "Q4_0 (int4)": "int4"}


def measure(o, label, context):
    prompt = max(context - o.tokens // 2, 1)
    done = subprocess.run([*shlex.split(o.heed), "bench", "latency", "--synthetic", o.synthetic, "--quantize",
                           WEIGHTS[label], "--input-len", str(prompt), "--max-tokens", str(o.tokens), "--repeats",
                           str(o.repeats), "--json", *shlex.split(o.options)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    step = json.loads(done.stdout)[0]["decode_step"]
    return {"label": label, "context": prompt + o.tokens // 2, "share": step["share_of_limit"],
            "read_gb_per_second": step["read_gb_per_second"]}


def draw(points):
    labels = list(dict.fromkeys(p["label"] for p in points))
    contexts = sorted({p["context"] for p in points})
    low, high = math.log2(contexts[0]), math.log2(contexts[-1])
    x_of = lambda v: LEFT + (math.log2(v) - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT)
    y_of = lambda v: HEIGHT - BOTTOM - min(v, 1.1) / 1.1 * (HEIGHT - TOP - BOTTOM)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           'font-size="13"><rect width="100%" height="100%" fill="white"/>']
    for i in range(6):
        y = y_of(i / 5)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{i / 5:.1f}</text>')
    for x in contexts:
        out.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">tokens of context</text>'
               f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
               'share of the limit</text>')
    for i, (label, colour) in enumerate(zip(labels, COLOURS)):
        own = sorted((p for p in points if p["label"] == label), key=lambda p: p["context"])
        line = " ".join(f'{x_of(p["context"]):.1f},{y_of(p["share"]):.1f}' for p in own)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x_of(p["context"]):.1f}" cy="{y_of(p["share"]):.1f}" r="3" fill="{colour}"/>' for p in own]
        speeds = [p["read_gb_per_second"] for p in own]
        y = TOP + 20 + 44 * i  # beside the picture: lines may end together
        out.append(f'<text x="{WIDTH - RIGHT + 20}" y="{y}" fill="{colour}">{label}</text>'
                   f'<text x="{WIDTH - RIGHT + 20}" y="{y + 16}" fill="{colour}" font-size="11">'
                   f'of {min(speeds):.1f} to {max(speeds):.1f} GB/s</text>')
    return "\n".join([*out, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--heed", default="build/release/heed")
    parser.add_argument("--synthetic", default="qwen3-0.5b")
    parser.add_argument("--contexts", default="16,512,1024,2048,4096,8192")
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--options", default="", help="more of heed's, such as '--threads 2'")
    parser.add_argument("--from", dest="file", help="JSON lines of an earlier run")
    o = parser.parse_args()
    if o.file:
        points = [json.loads(line) for line in open(o.file)]
    else:
        points = []
        for context in map(int, o.contexts.split(",")):  # in turn: memory's speed drifts
            for label in WEIGHTS:
                points.append(measure(o, label, context))
                print(json.dumps(points[-1]), flush=True)
    with open(o.out, "w") as file:
        file.write(draw(points))


if __name__ == "__main__":
    main()
