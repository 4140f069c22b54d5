#!/usr/bin/env bash
# Install what is pinned into a virtual environment, and say what it does meanwhile.
#   scripts/install.sh PYTHON VENV PINS
# Nothing but Python is there yet, so the line of progress is the shell's own.
set -euo pipefail

python=$1 venv=$2 pins=$3
log=$venv.log
total=$(grep -c '^[A-Za-z0-9]' "$pins")
began=$SECONDS
# Seconds between two lines of progress: in a terminal, they overwrite each other.
every=10
[ ! -t 1 ] || every=1
trap 'kill "${child:-}" 2>/dev/null || true' EXIT

say() { # what is done now: in a terminal always on one line
  if [ -t 1 ]; then printf '\r\033[K  %3ss  %s' $((SECONDS - began)) "$1"; else printf '  %3ss  %s\n' $((SECONDS - began)) "$1"; fi
}

run() { # what is said, then the command; its output goes into the log, which is shown where it fails
  local words=$1 last=$SECONDS code=0
  shift
  say "$words"
  "$@" >>"$log" 2>&1 &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.3
    if [ $((SECONDS - last)) -ge $every ]; then
      last=$SECONDS
      say "$words$(counted)"
    fi
  done
  wait "$child" || code=$?
  child=
  if [ "$code" != 0 ]; then
    printf '\n' >&2
    tail -n 20 "$log" >&2
    echo "This failed: $*. The whole of it is in $log." >&2
    exit "$code"
  fi
}

counted() { # how many packages have arrived
  local there
  there=$(find "$venv"/lib/python*/site-packages -maxdepth 1 -name '*.dist-info' 2>/dev/null | wc -l)
  [ "$there" -le 2 ] || printf ' (%s are there)' "$there"
}

pins_of() { # the lines of one package, hashes included
  awk -v name="$1" '/^[A-Za-z0-9]/ { on = index($0, name "==") == 1 } on' "$pins"
}

rm -f "$log"
run "Making the virtual environment $venv" "$python" -m venv --clear "$venv"
pip=("$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off)
fast=()
if pins_of uv | grep -q .; then
  pins_of uv >"$venv/uv.txt"
  run "Fetching uv, which installs the rest faster" "${pip[@]}" --require-hashes -r "$venv/uv.txt"
  fast=("$venv/bin/uv" pip install --python "$venv/bin/python" --require-hashes -r "$pins")
  # The same index as pip's own.
  index=$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)
  [ -z "${PIP_INDEX_URL:-$index}" ] || export UV_DEFAULT_INDEX="${PIP_INDEX_URL:-$index}"
fi
words="Installing $total packages, Airflow among them"
# Where uv cannot reach the index that pip is set up for, pip does it.
if [ ${#fast[@]} = 0 ] || ! (run "$words" "${fast[@]}") 2>>"$log"; then
  run "$words, with pip: a minute or two" "${pip[@]}" --require-hashes -r "$pins"
fi
run "Installing this package" "${pip[@]}" --no-index --no-deps --no-build-isolation -e .
say "$venv is ready."
printf '\n'
rm -f "$log"
