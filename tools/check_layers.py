#!/usr/bin/env python3
"""Holds every #include to the layering rule: a folder under src/ includes only itself and what it may use.

The rule is the link graph in cmake/folders.cmake; this reads it from there, so there is one place to change. Also:
files under models/ include only "model/spec.h"; CUDA headers appear only under kernels/cuda.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"


def read_rule():
    """folder -> folders it links directly."""
    uses = {"base": []}
    for line in (ROOT / "cmake" / "folders.cmake").read_text().splitlines():
        if match := re.match(r"heed_library\((\S+)(?: USES ([^)]*?))?(?: LINKS [^)]*)?\)", line):
            uses[match[1]] = [name.replace("kernels_", "kernels/") for name in (match[2] or "").split()]
    uses["kernels/cpu"] = ["kernels"]
    uses["kernels/cuda"] = ["kernels"]
    uses["models"] = ["model"]
    return uses


def reach(uses, folder):
    seen, todo = set(), [folder]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo.extend(uses.get(here, []))
    return seen


def folder_of(path, uses):
    """The longest known folder that holds the path: kernels/cpu/isa/x.cpp -> kernels/cpu."""
    parts = path.split("/")[:-1]
    for end in range(len(parts), 0, -1):
        if "/".join(parts[:end]) in uses:
            return "/".join(parts[:end])
    return None


def main():
    uses = read_rule()
    errors = []
    files = [p for p in sorted(SRC.rglob("*")) if p.suffix in {".h", ".cpp", ".cu", ".cuh"}]
    for file in files:
        name = file.relative_to(SRC).as_posix()
        folder = folder_of(name, uses)
        if folder is None and "/" in name:
            errors.append(f"{name}: its folder is not in cmake/folders.cmake")
            continue
        allowed = reach(uses, folder) if folder else set(uses)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := re.match(r'\s*#\s*include\s*"([^"]+)"', line):
                target = folder_of(match[1], uses)
                if target is None or not (SRC / match[1]).exists():
                    errors.append(f'{name}:{number}: "{match[1]}" is not a file under src/')
                elif target not in allowed:
                    errors.append(f"{name}:{number}: {folder} may not include {target}")
                elif folder == "models" and match[1] != "model/spec.h":
                    errors.append(f'{name}:{number}: a model file includes only "model/spec.h"')
            if re.match(r"\s*#\s*include\s*<(cuda|cublas|nccl)", line) and folder != "kernels/cuda":
                errors.append(f"{name}:{number}: CUDA headers belong under kernels/cuda")
    for error in errors:
        print(error)
    lines = [(len(f.read_text().splitlines()), f.relative_to(ROOT).as_posix()) for f in files]
    print(f"layers: {len(files)} files, {sum(n for n, _ in lines)} lines under src/; longest {max(lines)[1]} "
          f"({max(lines)[0]} lines); {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
