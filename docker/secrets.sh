#!/bin/sh
# Keys for docker/compose.yaml, into docker/secrets (ignored by git). The containers run as other users than you, so the files are readable
# by all and the folder is for trying things out only. Keeps what is there.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
[ -f secrets/sign.key ] || openssl ecparam -name prime256v1 -genkey -noout -out secrets/sign.key
[ -f secrets/admin.secret ] || openssl rand -hex 24 >secrets/admin.secret
[ -f secrets/tls.crt ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,DNS:*.computer.localhost,IP:127.0.0.1' -keyout secrets/tls.key -out secrets/tls.crt 2>/dev/null
chmod 0444 secrets/*
