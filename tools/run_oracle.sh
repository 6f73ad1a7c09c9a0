#!/usr/bin/env bash
# Runs a Python test with the interpreter that has the oracles (setup.sh --test); without it, says so and exits with 77,
# which ctest counts as skipped.
set -euo pipefail
python="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python"
if [[ ! -x $python ]]; then
  echo "skipped: no $python; run ./setup.sh --test"
  exit 77
fi
exec "$python" "$@"
