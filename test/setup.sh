#!/usr/bin/env bash
# Prepares a fresh clone for `npm test`: the npm packages, and redis-server where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

npm ci

if command -v redis-server >/dev/null; then
  echo "redis-server is here: $(redis-server --version | cut -d' ' -f1-3)"
  exit 0
fi

echo 'redis-server is missing; the tests start private servers of their own with it. Installing it.'
as_root=''
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then as_root=sudo; fi
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || [ -n "$as_root" ]; }; then
  $as_root apt-get update -qq
  # The package starts a server on port 6379 by itself; the tests do not need it.
  $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server
elif command -v brew >/dev/null; then
  brew install redis
else
  echo 'Install Redis 6.2 or later, so that redis-server is on the PATH, and run this again.' >&2
  exit 1
fi
command -v redis-server >/dev/null
