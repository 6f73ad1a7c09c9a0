#!/usr/bin/env bash
# Installs what Heed needs to build, run and test on Debian 12. Idempotent, and quick when nothing is missing.
#   ./setup.sh          packages for building and running
#   ./setup.sh --test   also what the tests need (Python oracles in .venv, clang tools)
set -euo pipefail
cd "$(dirname "$0")"

build_packages=(g++ make cmake ninja-build ccache git ca-certificates
  nlohmann-json3-dev libcli11-dev libutf8proc-dev libpcre2-dev libboost1.81-dev libssl-dev
  libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev)
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev libboost-context1.81-dev clang lld libclang-rt-14-dev
  clang-format clang-tidy python3 python3-venv chromium-headless-shell)  # the browser: 100 MB to fetch, 300 MB installed

wanted=("${build_packages[@]}")
[[ "${1:-}" == "--test" ]] && wanted+=("${test_packages[@]}")

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]}"
  sudo=""
  [[ $(id -u) -ne 0 ]] && sudo="sudo"
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

# The oracles of the text tests: the Python implementations that the whole field uses.
if [[ "${1:-}" == "--test" ]]; then
  requirements=tools/requirements-test.txt
  stamp=.venv/requirements.stamp
  if [[ ! -f $stamp ]] || ! cmp -s "$requirements" "$stamp"; then
    echo "setup: Python oracles for the tests into .venv"
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install -q --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$stamp"
  fi
fi
