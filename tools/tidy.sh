#!/usr/bin/env bash
# clang-tidy over our own sources, as .clang-tidy says. A file is looked at again only when it, or a header of ours, has
# changed.  tools/tidy.sh [FILE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -f build/clang/compile_commands.json ]] || cmake --preset clang -DHEED_BENCH=OFF >/dev/null
mkdir -p build/tidy
headers=$(cat .clang-tidy $(git ls-files 'src/*.h' 'tests/*.h') | sha256sum | cut -c1-16)
files=("$@")
((${#files[@]})) || mapfile -t files < <(git ls-files 'src/*.cpp' | grep -v '/isa/')
todo=()
for file in "${files[@]}"; do
  key=build/tidy/$(printf '%s' "$file" | tr / _).$(sha256sum "$file" | cut -c1-16).$headers
  [[ -f $key ]] || todo+=("$file" "$key")
done
((${#todo[@]})) || { echo "clang-tidy: nothing has changed"; exit 0; }
printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$(nproc)" bash -c \
  'clang-tidy --quiet -p build/clang "$0" 2>/dev/null && touch "$1"'
