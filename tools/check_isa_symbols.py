#!/usr/bin/env python3
"""Fails if an object of src/kernels/cpu/isa defines a global or weak symbol other than its one table.

Such an object is compiled with wide instructions. A weak symbol in it (an inline function or template of a header)
could be the copy that the linker keeps for the whole program, which would then crash on a smaller machine.

  check_isa_symbols.py NM OBJECT...
"""
import re
import subprocess
import sys

TABLE = re.compile(r"^heed::cpu::(linear|attention|rows|recurrent|blocks)_\w+$")
# What a sanitizer adds to every object, and a compiler for unwinding: the same code whatever the flags.
HARMLESS = re.compile(r"^(__asan_|__odr_asan|__tsan_|__ubsan_|asan\.|DW\.ref\.)")


def defined(nm: str, path: str) -> list[str]:
    lines = subprocess.run([nm, "-C", "--defined-only", "--extern-only", path], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    names = [line.split(maxsplit=2)[2] for line in lines if line.strip()]
    return [name for name in names if not HARMLESS.match(name)]


def main() -> int:
    nm, objects = sys.argv[1], sys.argv[2:]
    wrong = 0 if objects else 1
    for path in objects:
        names = defined(nm, path)
        if len(names) == 1 and TABLE.match(names[0]):
            continue
        wrong += 1
        print(f"{path}: defines {names}, where one table is allowed")
    print(f"{len(objects)} objects, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
