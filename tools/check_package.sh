#!/usr/bin/env bash
# Installs a build beside it, builds examples/offline against the installed package, and has it answer.
#   tools/check_package.sh BUILD_DIRECTORY SOURCE_DIRECTORY
set -euo pipefail
build=$(realpath "$1") source=$(realpath "$2")
cmake --install "$build" --prefix "$build/package" >/dev/null
cmake -S "$source/examples/offline" -B "$build/package/example" -G Ninja -DCMAKE_PREFIX_PATH="$build/package" \
  -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$build/package/example" -- --quiet
answer=$("$build/package/example/offline" "$source/models/bard" "To be, or not to be" "My lord,")
echo "$answer"
[[ $(grep -c -- '->.' <<<"$answer") -eq 2 ]]
"$build/package/bin/heed" --version
