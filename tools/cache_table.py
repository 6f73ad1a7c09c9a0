#!/usr/bin/env python3
"""What the cache of published models takes, from their configurations alone.

    tools/cache_table.py build/release/heed [CONFIG_FOLDER ...]     (default: tests/model/published/*)

For each: bytes of keys and values a token, of recurrent state a sequence, padding of pages, and how many sequences of
1,024 and of 32,768 tokens fit in 80 GiB beside the weights; next to it what fits where one page size serves all layers: there the
attention block is made as large as a layer's state, and a sequence holds two state pages of each recurrent layer.
"""
import json
import pathlib
import subprocess
import sys

LENGTHS, MEMORY, KERNEL_BLOCK = (1024, 32768), 80 << 30, 16


def plan(heed, folder, length):
    command = [heed, "inspect", str(folder), "--json", "--memory", "4096G", "--max-model-len", str(length)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_page_size(groups, states, length):
    """Bytes of a sequence where every page is as large as the largest of a layer's states."""
    if not states:
        return None
    token = max(g["token_bytes"] // g["layers"] for g in groups)
    state = max(states)
    block = KERNEL_BLOCK * -(-state // (KERNEL_BLOCK * token))
    page = block * token
    blocks = -(-length // block)
    return sum(g["layers"] for g in groups) * blocks * page + 2 * len(states) * page, block


def main():
    heed, folders = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    if not folders:
        folders = sorted((pathlib.Path(__file__).parent.parent / "tests/model/published").iterdir())
    print("| model | KiB a token | MiB of state a sequence | padding | sequences in 80 GiB, of 1k / 32k | one page size: block, "
          "sequences |")
    print("|---|---|---|---|---|---|")
    for folder in folders:
        plans = [plan(heed, folder, length) for length in LENGTHS]
        p = plans[-1]
        fit = [MEMORY // (q["sequence_pages"] * q["page_bytes"] + q["state_bytes"]) for q in plans]
        padding = max(1 - g["token_bytes"] * g["block_tokens"] / p["page_bytes"] for g in p["groups"])
        others = [one_page_size(p["groups"], p["layer_state_bytes"], length) for length in LENGTHS]
        other = f"{others[0][1]}, {' / '.join(str(MEMORY // o[0]) for o in others)}" if others[0] else "-"
        print(f"| {folder.name} | {p['token_bytes'] / 1024:.1f} | {p['state_bytes'] / 2**20:.1f} | {100 * padding:.1f} % "
              f"| {fit[0]} / {fit[1]} | {other} |")


if __name__ == "__main__":
    main()
