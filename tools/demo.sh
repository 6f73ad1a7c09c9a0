#!/usr/bin/env bash
# Puts a question to the bundled model; on a terminal, goes on as a chat.
set -euo pipefail
cd "$(dirname "$0")/.."
question="Who's there?"
echo "you:  $question"
printf 'bard: '
printf '%s\n' "$question" | build/release/heed chat models/bard --temperature 0
if [[ -t 0 && -t 1 ]]; then
  echo "Your turn (/exit leaves):"
  exec build/release/heed chat models/bard
fi
echo "Talk on with: build/release/heed chat models/bard"
