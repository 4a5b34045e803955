#!/usr/bin/env bash
# kill_campaign.sh [N [SEED]]: kills `clipcap train` (encoding, training, evaluating and saving) and `clipcap features`
# with SIGKILL at N random moments each, and checks that
#   - after every kill what is there opens: the model is inspected and captions a clip, the checkpoint is inspected;
#   - --resume ends in the bytes of a run that was never killed, metrics.jsonl (without the times) among them;
#   - nothing is left over: the same files, no temporary ones, in the run's folder and in the cache.
# Whenever a run comes to its end between two kills, it is compared and begun anew with an empty cache.
#   CLIPCAP=build/bin/clipcap   the program        KEEP=DIR   work there and leave everything
# Exit code 0 when all of it held. About a second a kill.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
clipcap="${CLIPCAP:-$root/build/bin/clipcap}"
kills="${1:-100}"
RANDOM="${2:-1}"
work="${KEEP:-$(mktemp -d)}"
mkdir -p "$work"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
export CLIPCAP_CACHE="$work/cache" OMP_WAIT_POLICY=passive OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cd "$work"
wrong=0
fail() { echo "WRONG: $*" >&2; wrong=$((wrong + 1)); }

cat >config.json <<'JSON'
{"model": {"encoder": {"resolution": 64, "patch": 16, "width": 64, "layers": 2, "heads": 2, "embed": 32},
           "text": {"width": 32, "layers": 1, "heads": 2}, "frames": 8, "dim": 64, "heads": 4, "hidden": 64,
           "decoder": {"layers": 1}, "subdecoder": {"layers": 1}, "dropout": 0.2},
 "train": {"steps": 60, "batch": 4, "lr": 3e-3, "warmup": 5, "min_count": 0, "checkpoint_every": 2, "eval_every": 15,
           "log_every": 7},
 "data": {"eval_split": "train"}}
JSON
[ -d clips ] || "$clipcap" drawn-clips --out clips --clips 10 >/dev/null

# Names and contents of all files of a run; the reports without their times.
bytes_of() {
  (cd "$1" && find . -type f | LC_ALL=C sort | while IFS= read -r file; do
    if [ "$file" = ./metrics.jsonl ]; then
      echo "$file $(sed 's/,"tokens_per_second":[^,}]*//' "$file" | sha256sum)"
    else
      echo "$file $(sha256sum <"$file")"
    fi
  done)
}

opens() {
  if [ -e "$1/model.safetensors" ]; then
    "$clipcap" inspect "$1" >/dev/null 2>>opens.log || fail "the model of $1 does not open"
    "$clipcap" caption --no-cache --model "$1" clips/videos/video0.mp4 >/dev/null 2>>opens.log || fail "the model of $1 captions nothing"
  fi
  if [ -e "$1/best/model.safetensors" ]; then
    "$clipcap" inspect "$1/best" >/dev/null 2>>opens.log || fail "the best model of $1 does not open"
  fi
  if [ -e "$1/last/checkpoint.safetensors" ]; then
    "$clipcap" inspect "$1/last/checkpoint.safetensors" >/dev/null 2>>opens.log || fail "the checkpoint of $1 does not open"
  fi
}

now() { date +%s%N; }
train=("$clipcap" train --config config.json --data clips --out)
features=("$clipcap" features --clip whole-encoder.safetensors --data clips --frames 8 --out)

rm -rf whole cache
began=$(now)
"${train[@]}" whole 2>whole.log
lasts=$(($(now) - began))
bytes_of whole >whole.bytes
# Files that stand beside entries of the cache for good are not what is looked for.
temporary() { find "$@" -name '*.tmp.*' 2>/dev/null | grep . >&2; }

# campaign NAME LASTS COMMAND…: kills the command; `compare` and `begin_anew` are the caller's.
campaign() {
  local name=$1 lasts=$2 killed=0 ended=0
  shift 2
  begin_anew
  while [ "$killed" -lt "$kills" ]; do
    # 30 bits of chance; a third of the moments early, where files are made.
    local moment=$(((RANDOM << 15 | RANDOM) * (lasts / 1000000) / 1073741824))
    [ $((RANDOM % 3)) -ne 0 ] || moment=$((moment / 4))
    "$@" >>"$name.log" 2>&1 &
    local child=$!
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    local code=0
    if kill -KILL "$child" 2>/dev/null; then
      wait "$child" 2>/dev/null || code=$?
    else
      wait "$child" || code=$?
    fi
    if [ "$code" -eq 137 ]; then
      killed=$((killed + 1))
      after_kill
    elif [ "$code" -eq 0 ]; then
      ended=$((ended + 1))
      compare
      begin_anew
    else
      fail "$name: exit code $code; see $name.log"
      tail -n 3 "$name.log" >&2
      begin_anew
    fi
  done
  "$@" >>"$name.log" 2>&1 || fail "$name: the last run failed: $(tail -n 1 "$name.log")"
  compare
  echo "$name: killed $killed times, compared $((ended + 1)) times, $wrong wrong"
}

begin_anew() { rm -rf run cache; }
after_kill() { opens run; }
compare() {
  bytes_of run >run.bytes
  diff whole.bytes run.bytes >&2 || fail "train: the resumed run is another one"
  ! temporary run cache || fail "train: temporary files are left"
}
campaign train "$lasts" "${train[@]}" run --resume

# The features of the same clips by an encoder with a file of its own.
if [ -e "$root/tests/golden/clip/hf/model.safetensors" ]; then
  cp "$root"/tests/golden/clip/hf/* .
  mv model.safetensors whole-encoder.safetensors
  began=$(now)
  "${features[@]}" whole.safetensors 2>>whole.log
  lasts=$(($(now) - began))
  begin_anew() { rm -rf run.safetensors*; }
  after_kill() { [ ! -e run.safetensors ] || "$clipcap" inspect run.safetensors >/dev/null 2>>opens.log || fail "run.safetensors does not open"; }
  compare() {
    cmp whole.safetensors run.safetensors >&2 || fail "features: the resumed file is another one"
    [ "$(echo run.safetensors*)" = run.safetensors ] || fail "features: left are $(echo run.safetensors*)"
  }
  campaign features "$lasts" "${features[@]}" run.safetensors
fi
[ "$wrong" -eq 0 ]
