#!/usr/bin/env bash
# Runs every fuzz target for so many seconds, two at a time, from small inputs written by the build.
#   tools/fuzz.sh SECONDS [TARGET...]
# Inputs found on the way stay in build/fuzz/corpus for the next run; one that crashes a target is kept in
# build/fuzz/crashes and named, and the script fails.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}"
shift
build=build/fuzz
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzz_targets
mkdir -p $build/crashes $build/logs
$build/tests/fuzz/fuzz_seeds $build/seeds

targets=("$@")
if ((${#targets[@]} == 0)); then
  for source in tests/fuzz/fuzz_*.cpp; do targets+=("$(basename "$source" .cpp)"); done
fi

run_target() {
  local target=$1
  mkdir -p $build/corpus/"$target" $build/seeds/"$target"
  local log=$build/logs/$target.log
  if $build/tests/fuzz/"$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix=$build/crashes/"$target"- \
    $build/corpus/"$target" $build/seeds/"$target" >"$log" 2>&1; then
    echo "$target: $(grep -o 'number_of_executed_units: .*' "$log" | grep -o '[0-9]*$') executions, no finding"
  else
    echo "$target: FAILED, log in $log"
    grep -E 'ERROR|SUMMARY|CHECK failed|runtime error|Test unit written' "$log" || tail -5 "$log"
    return 1
  fi
}

failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  pids=()
  for target in "${targets[@]:i:2}"; do
    run_target "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
done
exit $failed
