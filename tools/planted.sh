#!/usr/bin/env bash
# Do the tests notice? Plants the faults of tests/planted/ one at a time in a copy of this tree, builds what changed and
# runs the tests. For people to run, before and after changing tests: some forty minutes for all of them on two cores.
#
#   tools/planted.sh               every fault
#   tools/planted.sh NAME…         these (a name is the patch's file name without .patch)
#   tools/planted.sh PATH.patch…   faults that are not kept: the same for any patch file
#
# Exit code 0 when every fault was noticed; 1 when one was not, or its patch does not apply or not compile; 2 when the
# tests fail without any fault. docs/testing.md says how to add one. Copy and build stay in build-planted/
# (CLIPCAP_PLANTED names another folder).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="${CLIPCAP_PLANTED:-$root/build-planted}"
tree="$work/tree"
build="$tree/build"  # where an ordinary build would be, so that a compiler cache may know it
tests="$build/bin/clipcap_tests"
named_limit=300       # seconds for the tests that a patch names, 1800 for all others; a hang is noticed so
everything_limit=1800

usage() { sed -n '2,/^set -e/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
case "${1:-}" in -h | --help) usage; exit 0 ;; esac
command -v git >/dev/null || { echo "planted.sh: needs git" >&2; exit 2; }

patches=()
for name in "$@"; do
  if [ -f "$name" ]; then patches+=("$(cd "$(dirname "$name")" && pwd)/$(basename "$name")")
  elif [ -f "$root/tests/planted/$name.patch" ]; then patches+=("$root/tests/planted/$name.patch")
  else echo "planted.sh: no fault named $name in tests/planted/" >&2; exit 2; fi
done
[ $# -gt 0 ] || patches=("$root"/tests/planted/*.patch)

# ---- the copy: tracked files and new ones as they are now. A file is touched only when it differs, so that only what
# changed is built again.
mkdir -p "$tree"
exec 9>"$work/lock"
flock -n 9 || { echo "planted.sh: already running in $work" >&2; exit 2; }
(cd "$root" && git ls-files -co --exclude-standard) | LC_ALL=C sort >"$work/files"
(cd "$tree" && find . -path ./build -prune -o -type f -print | sed 's|^\./||' | LC_ALL=C sort) >"$work/there"
LC_ALL=C comm -13 "$work/files" "$work/there" | while IFS= read -r file; do rm -f "$tree/$file"; done
while IFS= read -r file; do
  [ -f "$root/$file" ] || { rm -f "$tree/$file"; continue; }  # deleted, not yet committed
  cmp -s "$root/$file" "$tree/$file" && continue
  mkdir -p "$(dirname "$tree/$file")"
  cp "$root/$file" "$tree/$file"
done <"$work/files"
[ -e "$root/../shared" ] && ln -sfn "$root/../shared" "$work/shared"

launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
# Compiled as everywhere else, so that a compiler cache knows most of it already.
cmake -S "$tree" -B "$build" -G Ninja -DCLIPCAP_CUDA=OFF -DCLIPCAP_BENCH=OFF "${launcher[@]}" >"$work/configure.log" 2>&1 || { tail -n 20 "$work/configure.log" >&2; exit 2; }

compile() { cmake --build "$build" --target clipcap_tests clipcap >"$work/build.log" 2>&1; }

# run_tests LIMIT FILTER: the test program. Sets `failed` to the first case that failed, or to how it ended. Exit code 77
# says that all passed and some could not run here (tests/catch.h).
run_tests() {
  local code=0
  timeout -k 5 "$1" "$tests" --abort "$2" >"$work/tests.log" 2>&1 </dev/null || code=$?
  failed=""
  [ $code -eq 0 ] || [ $code -eq 77 ] && return 0
  failed="$(awk 'index($0, "--------------------") == 1 && !found { if ((getline line) > 0) { print line; found = 1 } }' "$work/tests.log")"
  [ $code -ne 124 ] || failed="timeout after $1 s"
  [ -n "$failed" ] || failed="exit code $code: $(tail -n 1 "$work/tests.log")"
  return 1
}

# run_scripts LIMIT ARGUMENTS…: ctest entries. Sets `failed` likewise.
run_scripts() {
  local limit="$1" code=0
  shift
  (cd "$build" && timeout -k 5 "$limit" ctest --no-tests=error --stop-on-failure --output-on-failure "$@") \
    >"$work/tests.log" 2>&1 </dev/null || code=$?
  failed=""
  [ $code -eq 0 ] && return 0
  failed="$(sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\) (.*/\1/p' "$work/tests.log" | head -n 1)"
  [ $code -ne 124 ] || failed="timeout after $limit s"
  [ -n "$failed" ] || failed="ctest exit code $code"
  return 1
}

# The tests that a patch names, then all the others. The check that patches apply makes no sense with one applied.
named_pass() {
  local word filter="" scripts=""
  for word in $1; do
    case "$word" in \[*) filter="$filter${filter:+,}$word" ;; *) scripts="$scripts${scripts:+|}$word" ;; esac
  done
  if [ -n "$filter" ]; then run_tests $named_limit "$filter" || return 1; fi
  if [ -n "$scripts" ]; then run_scripts $named_limit -R "^($scripts)\$" || return 1; fi
}
others_pass() {
  local word filter=""
  for word in $1; do case "$word" in \[*) filter="$filter~$word" ;; esac; done
  run_tests $everything_limit "$filter" && run_scripts $everything_limit -L '^script$' -E '^planted$'
}

# ---- without a fault, once for each state of the tree
state="$( (cd "$tree" && grep -v '^tests/planted/' "$work/files" | while IFS= read -r file; do
  [ -f "$file" ] && sha256sum "$file"; done) | sha256sum)"
echo "building without a fault"
compile || { grep -m 5 -E 'error|FAILED' "$work/build.log" >&2; echo "planted.sh: the tree does not build" >&2; exit 2; }
if [ "$(cat "$work/baseline" 2>/dev/null)" != "$state" ]; then
  echo "running every test without a fault"
  others_pass "" || { cat "$work/tests.log" >&2; echo "planted.sh: fails without a fault: $failed" >&2; exit 2; }
  echo "$state" >"$work/baseline"
fi

# ---- one fault after the other
# The files of a patch are put aside while it is there, so that this tree may be worked in meanwhile.
put_aside() {
  local file
  rm -rf "$work/aside"
  git apply --numstat "$1" | cut -f3 >"$work/changed"
  while IFS= read -r file; do
    [ ! -f "$tree/$file" ] || { mkdir -p "$work/aside/$(dirname "$file")" && cp "$tree/$file" "$work/aside/$file"; }
  done <"$work/changed"
}
restore() {
  local file
  while IFS= read -r file; do
    if [ -f "$work/aside/$file" ]; then cp "$work/aside/$file" "$tree/$file"; else rm -f "$tree/$file"; fi
  done <"$work/changed"
  : >"$work/changed"
}
: >"$work/changed"
trap restore EXIT
export GIT_CEILING_DIRECTORIES="$work"  # the copy is no part of the repository around it
report="$work/report.txt"
: >"$report"
bad=0
number=0
say() {
  printf '%-34s %-16s %s\n' "$1" "$2" "$3" | tee -a "$report"
}
for patch in "${patches[@]}"; do
  name="$(basename "$patch" .patch)"
  number=$((number + 1))
  printf '[%d/%d] ' $number ${#patches[@]}
  start=$SECONDS
  expected="$(sed -n 's/^# noticed by: *//p' "$patch" | tr ',' ' ' | head -n 1)"
  if [ -z "$expected" ]; then say "$name" "NO TEST NAMED" "a patch says \"# noticed by: [tag]\""; bad=1; continue; fi
  if ! (cd "$tree" && git apply --check "$patch" && put_aside "$patch" && git apply "$patch") 2>"$work/apply.log"; then
    say "$name" "DOES NOT APPLY" "$(head -n 1 "$work/apply.log")"
    bad=1
    restore
    continue
  fi
  if ! compile; then
    say "$name" "DOES NOT COMPILE" "$(grep -m 1 -E '(^|[^W])error' "$work/build.log" | sed "s|$tree/||g")"
    bad=1
  elif ! named_pass "$expected"; then
    say "$name" "noticed" "$expected: $failed ($((SECONDS - start)) s)"
  elif ! others_pass "$expected"; then
    say "$name" "noticed elsewhere" "not by $expected, but by: $failed ($((SECONDS - start)) s)"
  else
    say "$name" "NOT NOTICED" "$(sed -n '1s/^# *//p' "$patch")"
    bad=1
  fi
  restore
done

echo
echo "---- $number faults: $(grep -c ' noticed ' "$report" || true) noticed"
grep -v -E '^[^ ]+ +noticed  ' "$report" || true
exit $bad
