#!/usr/bin/env bash
# Prepares a fresh clone for `npm test` and `npm run test:browser`: the npm packages, and
# redis-server and Chromium where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

npm ci

as_root=''
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then as_root=sudo; fi

can_use_apt() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || [ -n "$as_root" ]; }
}

apt_install() {
  $as_root apt-get update -qq
  # RUNLEVEL: some packages start a server by themselves; the tests do not need it.
  $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$1"
}

find_chromium() {
  command -v chromium || command -v chromium-browser || command -v google-chrome
}

if command -v redis-server >/dev/null; then
  echo "redis-server is here: $(redis-server --version | cut -d' ' -f1-3)"
else
  echo 'redis-server is missing; the tests start private servers of their own with it. Installing it.'
  if can_use_apt; then
    apt_install redis-server
  elif command -v brew >/dev/null; then
    brew install redis
  else
    echo 'Install Redis 6.2 or later, so that redis-server is on the PATH, and run this again.' >&2
    exit 1
  fi
  command -v redis-server >/dev/null
fi

if find_chromium >/dev/null; then
  echo "Chromium is here: $(find_chromium)"
else
  echo 'Chromium is missing; npm run test:browser looks at the demo with it. Installing it.'
  if can_use_apt; then
    apt_install chromium
  elif [ "$(uname)" = Darwin ]; then
    echo 'Run `brew install --cask chromium`, so that chromium is on the PATH, and run this again.' >&2
    exit 1
  else
    echo 'Install Chromium, so that chromium is on the PATH, and run this again.' >&2
    exit 1
  fi
  find_chromium >/dev/null
fi
