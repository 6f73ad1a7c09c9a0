#!/usr/bin/env python3
"""What the cache of published models takes, from their configurations alone.

    tools/cache_table.py build/release/heed [CONFIG_FOLDER ...]     (default: tests/model/published/*)

For each: bytes of keys and values a token, of recurrent state a sequence, padding of pages, and how many sequences of
32,768 tokens fit in 80 GiB beside the weights; next to it what fits where one page size serves all layers: there the
attention block is made as large as a layer's state, and a sequence holds two state pages of each recurrent layer.
"""
import json
import pathlib
import subprocess
import sys

LENGTH, MEMORY, KERNEL_BLOCK = 32768, 80 << 30, 16


def plan(heed, folder):
    command = [heed, "inspect", str(folder), "--json", "--memory", "4096G", "--max-model-len", str(LENGTH)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_page_size(groups, states):
    """Bytes of a sequence where every page is as large as the largest of a layer's states."""
    if not states:
        return None
    token = max(g["token_bytes"] // g["layers"] for g in groups)
    state = max(states)
    block = KERNEL_BLOCK * -(-state // (KERNEL_BLOCK * token))
    page = block * token
    blocks = -(-LENGTH // block)
    return sum(g["layers"] for g in groups) * blocks * page + 2 * len(states) * page, block


def main():
    heed, folders = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    if not folders:
        folders = sorted((pathlib.Path(__file__).parent.parent / "tests/model/published").iterdir())
    print("| model | KiB a token | MiB of state a sequence | padding | sequences of 32k in 80 GiB | with one page size |")
    print("|---|---|---|---|---|---|")
    for folder in folders:
        p = plan(heed, folder)
        sequence = p["sequence_pages"] * p["page_bytes"] + p["state_bytes"]
        padding = max((1 - g["token_bytes"] * g["block_tokens"] / p["page_bytes"]) for g in p["groups"])
        other = one_page_size(p["groups"], p["layer_state_bytes"])
        other = f"{MEMORY // other[0]} (blocks of {other[1]} tokens)" if other else "-"
        print(f"| {folder.name} | {p['token_bytes'] / 1024:.1f} | {p['state_bytes'] / 2**20:.1f} | {100 * padding:.1f} % "
              f"| {MEMORY // sequence} | {other} |")


if __name__ == "__main__":
    main()
