#!/usr/bin/env bash
# Installs what is missing, builds, and shows the whole program on clips that it draws itself:
# draw and encode twelve videos, train on them, caption them from their files.
#   tools/demo.sh [--out DIR] [--quick]        --quick: a fifth of the training
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="$root/demo-out"
steps=()
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out="${2:?demo.sh: --out takes a folder}"; shift ;;
    --quick) steps=(--set train.steps=60 --set train.eval_every=0) ;;
    -h | --help) sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "demo.sh: no option $1; there are --out DIR and --quick" >&2; exit 2 ;;
    *) out="$1" ;;
  esac
  shift
done
source "$root/tools/setup.sh"
install_missing
configure "$root/build" -DCLIPCAP_TESTS=ON
cmake --build "$root/build" --target clipcap
clipcap="$root/build/bin/clipcap"
"$clipcap" drawn-clips --out "$out/clips" --clips 12
"$clipcap" train --config clips --data "$out/clips" --out "$out/model" --overwrite "${steps[@]}"
echo
"$clipcap" caption --model "$out/model" "$out"/clips/videos/*.mp4
echo
echo "the model: $out/model   caption a video of yours: $clipcap caption --model $out/model VIDEO"
