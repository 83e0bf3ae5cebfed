#!/bin/sh
# Installs what is missing of the named sections of packages.txt: install-packages.sh build test
# Says nothing and asks for no rights when nothing is missing.
set -eu
list=$(dirname "$0")/packages.txt
missing=
for section in "$@"; do
    names=$(awk -v want="[$section]" '/^#/ || NF == 0 { next } /^\[/ { on = ($1 == want); next } on { print $1 }' "$list")
    [ -n "$names" ] || { echo "install-packages: no section [$section] in $list" >&2; exit 2; }
    for entry in $names; do
        name=${entry%%\?*}
        case $entry in *\?*) command -v "${entry#*\?}" >/dev/null 2>&1 && continue ;; esac
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] || missing="$missing $name"
    done
done
[ -n "$missing" ] || exit 0
echo "installing:$missing" >&2
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # one word per package
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
