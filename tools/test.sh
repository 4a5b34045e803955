#!/usr/bin/env bash
# Installs what is missing, builds everything and runs the tests. Options go to ctest: ./tools/test.sh -R attention
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/tools/setup.sh"
install_missing
configure "$root/build"
cmake --build "$root/build"
cd "$root/build"
ctest --output-on-failure --no-tests=error "$@"
