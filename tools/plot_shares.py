#!/usr/bin/env python3
"""Draws the share of the limit that decoding reaches against the length of the context, as SVG.

    tools/plot_shares.py OUT.svg LABEL=lines.json ...

Each file holds what `heed bench latency --json` printed, one array a line, for prompts of several lengths at one
sequence; the context is the prompt and half of the answer.
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 150, 20, 50
COLOURS = ["#1b6ca8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0f766e"]


def points(path):
    found = []
    for text in open(path):
        for line in json.loads(text):
            if line["batch"] == 1 and "share_of_limit" in line.get("decode_step", {}):
                tokens = line["prompt_tokens_per_second"] * line["first_token_seconds"]
                found.append((tokens, line["decode_step"]["share_of_limit"]))
    return sorted(found)


def main():
    if len(sys.argv) < 3 or not all("=" in a for a in sys.argv[2:]):
        sys.exit(__doc__)
    series = [(label, points(path)) for label, path in (a.split("=", 1) for a in sys.argv[2:])]
    lengths = [x for _, line in series for x, _ in line]
    if not lengths:
        sys.exit("no decoding at one sequence in these files")
    low, high = math.log2(min(lengths)), math.log2(max(lengths))
    x_of = lambda v: LEFT + (math.log2(v) - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT)
    y_of = lambda v: HEIGHT - BOTTOM - v / 1.1 * (HEIGHT - TOP - BOTTOM)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           'font-size="13"><rect width="100%" height="100%" fill="white"/>']
    for i in range(0, 6):
        y = y_of(i / 5)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{i / 5:.1f}</text>')
    for x in sorted({round(v) for v in lengths}):
        out.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">tokens of context</text>')
    for (label, line), colour in zip(series, COLOURS):
        path = " ".join(f"{x_of(x):.1f},{y_of(min(y, 1.1)):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(min(y, 1.1)):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        x, y = line[-1]
        out.append(f'<text x="{x_of(x) + 8:.1f}" y="{y_of(min(y, 1.1)) + 4:.1f}" fill="{colour}">{label}</text>')
    out.append("</svg>\n")
    open(sys.argv[1], "w").write("\n".join(out))


if __name__ == "__main__":
    main()
