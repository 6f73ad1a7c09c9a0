#!/usr/bin/env bash
# Everything that must hold, from the cheapest check to the dearest. Prints the time of each step; stops at the first
# that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@" || { echo "FAILED: $name"; exit 1; }
  echo "== $name: $((SECONDS - start)) s"
}

# build PRESET [CMAKE OPTION ...] [-- TARGET ...]
build() {
  local preset=$1 options=() targets=()
  shift
  while (($#)) && [[ $1 != -- ]]; do options+=("$1"); shift; done
  (($#)) && { shift; targets=(--target "$@"); }
  # Quickest from cold; where work goes on, ccache does better with single files.
  [[ -n ${CI:-} ]] && options+=(-DHEED_UNITY=ON)
  cmake --preset "$preset" "${options[@]}" >/dev/null && cmake --build --preset "$preset" "${targets[@]}" -- --quiet
}
quietly() { grep -vE '^ *[0-9]+/[0-9]+ Test .*Passed|^ *Start +[0-9]+:|^Test project'; }
# A part of the tests on each processor of its own, where engines take one thread: several engines of several threads
# on the same processors wait for each other most of the time. Tests of what several threads do say how many.
# Two at a time, for tests of clients and servers wait for each other.
run_tests() {
  local processors part jobs=() failed=0
  mapfile -t processors < <(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)), sep="\n")')
  for part in "${!processors[@]}"; do
    taskset -c "${processors[part]}" ctest --preset "$1" -j 2 --output-on-failure "${@:2}" \
      -I "$((part + 1)),,${#processors[@]}" -O "build/$1/ctest.$part.log" | quietly &
    jobs+=($!)
  done
  for part in "${jobs[@]}"; do wait "$part" || failed=1; done
  return "$failed"
}

step "include layers" tools/check_layers.py
step "format" bash -c "git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format --dry-run -Werror"
step "release: build" build release -DHEED_TESTS=ON -DHEED_BENCH=ON
step "asan: build" build asan -DHEED_BENCH=OFF
# Not what drives the program from outside: the same code runs in its unit tests. Nor what is about bits, oracles or
# time alone, which takes minutes there and touches no memory that other tests do not.
# Kernels of avx2 are not instrumented there; those of baseline are the same ones and are (cmake/cpu_kernels.cmake).
asan_filter='-*same_bits*:*/avx2:Ref.*oracle*:Ref.*in_double_precision:*_that_explode'
asan_filter+=':JinjaLimits.the_worst*:MessageParser.hostile_text_costs*:*answers_keep_to_their_format_at_any*'
asan_filter+=':*.a_recurrence_equals_its_closed_form*:DraftSampling.*distribution*:*DraftLogits.*_ref:*.its_own_twin*'
asan_filter+=':Metamorphic.the_reference_backend*:ToolGrammar.samples_read*'
GTEST_FILTER=$asan_filter step "asan: tests" run_tests asan -LE slow -E '^(clients|web\.the|package|media\.the|metrics\.(the|what)|text\.tokenizer|grammar\.answers)'
step "tsan: build" build tsan -DHEED_BENCH=OFF -- base_tests kernels_tests engine_tests
# What runs threads; the rest has nothing for this sanitizer to see, and is slow under it.
step "tsan: tests" env GTEST_FILTER='ThreadPool.*:Engine.*:Bard.*:Metamorphic.a_prefill*:Metamorphic.neighbours*:*same_bits*/avx2' \
  ctest --preset tsan -j "$(nproc)" --output-on-failure -R '^(base|kernels|engine[.][01])$'
step "clang-tidy" tools/tidy.sh
if command -v nvcc >/dev/null; then
  # For Ampere no further than to PTX, which a driver makes code of. Nothing of it runs here: the quickest code will do.
  quick=()
  [[ $(nvcc --help) == *--Ofast-compile* ]] && quick=(-DCMAKE_CUDA_FLAGS=--Ofast-compile=max)
  step "cuda: build" build cuda -DHEED_BENCH=ON '-DCMAKE_CUDA_ARCHITECTURES=80-virtual;90a' "${quick[@]}" -- \
    cuda_tests heed_bench_cuda emulated_tests
  # Some of its kernels run on this machine's processors.
  step "cuda: emulated" ctest --preset cuda -j "$(nproc)" --output-on-failure -R '^emulated'
else
  echo "== cuda: no nvcc here, not compiled"
fi
step "release: tests" run_tests release -LE slow
