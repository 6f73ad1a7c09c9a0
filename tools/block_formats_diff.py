#!/usr/bin/env python3
"""Compares the program's reading of every block format with tools/block_formats.py, on random bytes and on values
that went through from_float(): every element must be equal, and NaN where the other is.

  block_formats_diff.py --tool build/release/tests/widen_blocks
"""
import argparse
import subprocess
import sys

import numpy as np

import block_formats


def widened(tool, name, rows, elements):
    done = subprocess.run([tool, name, str(elements)], input=rows.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(len(rows), -1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    tool = parser.parse_args().tool
    random = np.random.default_rng(3)
    wrong = 0
    for name, (_, elements, size) in block_formats.FORMATS.items():
        if elements == 1:
            continue
        values = random.standard_normal((64, 2048)).astype(np.float32) * 3
        for what, rows in (("random bytes", random.integers(0, 256, (64, 2048 // elements * size), np.uint8)),
                           ("values", block_formats.from_float(name, values))):
            want = block_formats.to_float(name, rows)
            got = widened(tool, name, rows, want.size)
            equal = (got == want) | (np.isnan(got) & np.isnan(want))
            wrong += int((~equal).sum())
            error = ""
            if what == "values":
                error = f", rms error of a rounded normal value {np.sqrt(((want - values) ** 2).mean()) / 3:.4f}"
            print(f"{name}, {what}: {int((~equal).sum())} of {want.size} differ{error}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
