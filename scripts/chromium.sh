#!/usr/bin/env bash
# Install the browser of `make e2e` from Debian, where that is ours to do.
set -euo pipefail

packages="chromium fonts-noto-core"
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "make e2e needs chromium on the PATH. On Debian: sudo apt-get install $packages" >&2
  exit 1
fi
echo "Installing $packages."
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
