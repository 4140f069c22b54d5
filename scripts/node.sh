#!/usr/bin/env bash
# Install what `make contract` runs Prism with from Debian, where that is ours to do.
set -euo pipefail

missing=""
command -v node >/dev/null || missing+=" nodejs"
command -v npm >/dev/null || missing+=" npm"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "make contract needs Node 18.20.1 or newer, and npm. On Debian: sudo apt-get install$missing" >&2
  exit 1
fi
echo "Installing$missing."
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
