# Sourced by demo.sh and test.sh: installs what is missing (Debian and Ubuntu packages only) and configures the build.
# Nothing is fetched from anywhere else.

packages="g++ cmake ninja-build pkg-config libdnnl-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
  nlohmann-json3-dev libcli11-dev libstb-dev zlib1g-dev libjpeg-dev libwebp-dev libstemmer-dev
  wordnet-base catch2"

install_missing() {
  local missing=""
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  echo "installing:$missing"
  local as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing packages:$missing; install them as root, or install sudo" >&2; return 1; }
    as_root="sudo"
  fi
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# configure DIR [cmake options]
configure() {
  local build="$1"
  shift
  cmake -S "$root" -B "$build" -G Ninja "$@" >"$build.configure.log" 2>&1 ||
    { tail -n 30 "$build.configure.log" >&2; return 1; }
  grep -h -- '-- CUDA:' "$build.configure.log" || true
}
