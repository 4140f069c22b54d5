#!/usr/bin/env bash
# Install the servers of `make cluster` from Debian, where that is ours to do. None of them is started:
# `make cluster` runs its own.
set -euo pipefail

missing=""
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=" postgresql"
command -v redis-server >/dev/null || missing+=" redis-server"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "make cluster needs PostgreSQL's server programs and redis-server. On Debian: sudo apt-get install$missing" >&2
  exit 1
fi
echo "Installing$missing."
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
