#!/usr/bin/env bash
# Installs what is missing, builds, and shows the whole program on clips that it draws itself:
# draw and encode twelve videos, train on them, caption them from their files.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/tools/setup.sh"
install_missing
configure "$root/build" -DCLIPCAP_TESTS=ON
cmake --build "$root/build" --target clipcap
out="${1:-$root/demo-out}"
clipcap="$root/build/bin/clipcap"
"$clipcap" drawn-clips --out "$out/clips" --clips 12
"$clipcap" train --config clips --data "$out/clips" --out "$out/model" --overwrite
echo
"$clipcap" caption --model "$out/model" "$out"/clips/videos/*.mp4
echo
echo "the model: $out/model   caption a video of yours: $clipcap caption --model $out/model VIDEO"
