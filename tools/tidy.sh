#!/usr/bin/env bash
# clang-tidy over our own sources, as .clang-tidy says. A file is looked at again only when it, or a header of ours, has
# changed.  tools/tidy.sh [FILE ...]
#
# Most of the time goes into the headers of others, so files of one folder are read many at once, as one; where
# that does not compile (two files with a helper of one name), they are read one by one.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p build/tidy
headers=$(cat .clang-tidy tools/tidy.sh $(git ls-files 'src/*.h' 'tests/*.h') | sha256sum | cut -c1-16)

key() { echo "build/tidy/$(printf '%s' "$1" | tr / _).$(sha256sum "$1" | cut -c1-16).$headers"; }
check() { clang-tidy --quiet --checks=-bugprone-suspicious-include "$1" -- -std=c++20 -I"$root/src" -I"$root" \
  -DHEED_SOURCE_DIR='""' -DHEED_SHARED_DIR='""' -DHEED_BINARY_DIR='""' 2>/dev/null; }

check_together() {
  local unit found
  unit=build/tidy/$(printf '%s' "$*" | sha256sum | cut -c1-16).cpp
  printf "#include \"$root/%s\"\n" "$@" >"$unit"
  if (($# > 1)) && ! found=$(check "$unit"); then
    if ! grep -q clang-diagnostic-error <<<"$found"; then
      echo "$found"
      return 1
    fi
    for file in "$@"; do check "$file" && touch "$(key "$file")" || return 1; done
    return 0
  fi
  (($# > 1)) || check "$1" || return 1
  for file in "$@"; do touch "$(key "$file")"; done
}
export -f key check check_together
export root headers

files=("$@")
((${#files[@]})) || mapfile -t files < <(git ls-files 'src/*.cpp' | grep -v '/isa/')
groups=() folder="" count=0
for file in "${files[@]}"; do
  [[ -f $(key "$file") ]] && continue
  if [[ $file == src/model/mixer_* || $file == src/kernels/cpu/* ]]; then  # alike by design, in names too
    groups=("$file" "${groups[@]}")
  elif [[ $(dirname "$file") != "$folder" || $count -ge 32 ]]; then
    groups+=("$file") folder=$(dirname "$file") count=1
  else
    groups[-1]+=" $file" count=$((count + 1))
  fi
done
((${#groups[@]})) || { echo "clang-tidy: nothing has changed"; exit 0; }
printf '%s\n' "${groups[@]}" | xargs -d '\n' -n 1 -P "$(nproc)" bash -c 'check_together $0'
