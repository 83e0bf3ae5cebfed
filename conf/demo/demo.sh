#!/usr/bin/env bash
# `make demo`: Redis, a guest agent and the gateway on this machine, one session, one command through it by plain curl. Stays up until
# Ctrl-C. Everything lives in build/demo and on 127.0.0.1; only processes that this script started are ended.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=build
dir=$PWD/build/demo
port=${DEMO_PORT:-8080}
tls_port=${DEMO_TLS_PORT:-8443}
app_port=${DEMO_APP_PORT:-3000}
rm -rf "$dir"
mkdir -p "$dir"
pids=()

finish() {
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
}
trap finish EXIT
trap 'echo; echo "demo: ending"; exit 0' INT TERM

say() { printf '\033[1m%s\033[0m\n' "$*"; }

# Waits until a line that matches stands in a log.
wait_for() {
    for _ in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    echo "demo: \"$2\" did not appear in $1:" >&2
    tail -n 20 "$1" >&2
    exit 1
}

say "1. redis-server   (log: build/demo/redis.log)"
redis-server --port 0 --unixsocket "$dir/redis.sock" --save '' --appendonly no --dir "$dir" >"$dir/redis.log" 2>&1 &
pids+=($!)
wait_for "$dir/redis.log" 'ready to accept connections\|Ready to accept connections'

say "2. guest-agent    (log: build/demo/agent.log)"
$bin/guest-agent --listen 127.0.0.1:0 >"$dir/agent.log" 2>&1 &
pids+=($!)
wait_for "$dir/agent.log" '^listening '
agent=$(sed -n 's/^listening //p' "$dir/agent.log" | head -n 1)

say "3. exec-gateway   (log: build/demo/gateway.log, config: build/demo/gateway.yaml)"
openssl ecparam -name prime256v1 -genkey -noout -out "$dir/sign.key"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1' -keyout "$dir/tls.key" -out "$dir/tls.crt" 2>/dev/null
sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$port|" -e "s|@TLS_PORT@|$tls_port|" conf/demo/gateway.yaml >"$dir/gateway.yaml"
$bin/exec-gateway check -c "$dir/gateway.yaml"
$bin/exec-gateway serve -c "$dir/gateway.yaml" >"$dir/access.log" 2>"$dir/gateway.log" &
pids+=($!)
wait_for "$dir/gateway.log" "listening address=127.0.0.1:$tls_port"

say "4. a computer and a session in Redis, a token for it"
redis() { redis-cli -s "$dir/redis.sock" "$@" >/dev/null; }
redis HSET 'computer:{cmp_demo}' state running agent "$agent" protocol h2c boot 1 handle demo owner usr_demo
redis HSET 'session:{ses_demo}' kind exec computer cmp_demo user usr_demo
token=$($bin/exec-gateway token mint -c "$dir/gateway.yaml" --computer cmp_demo --session ses_demo --user usr_demo --ttl 86400)
url=http://127.0.0.1:$port
printf '%s' "$token" >"$dir/token"

say "5. ls -la, through the gateway"
show="curl -sS -X POST $url/process.Process/Start -H \"Authorization: Bearer \$TOKEN\" -H 'Content-Type: application/json' -d '{\"command\": [\"ls\", \"-la\"]}'"
echo "\$ $show"
answer=$(curl -sS -X POST "$url/process.Process/Start" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"command": ["ls", "-la"]}')
echo "$answer"
case $answer in *'"exit_code":0'*) ;; *)
    echo "demo: the command did not succeed; see build/demo/*.log" >&2
    exit 1
    ;;
esac
say "6. an app in the computer, started through the gateway, its port published twice"
mkdir -p "$dir/site"
printf '<!doctype html><title>demo</title><h1>Hello from port %s of cmp_demo</h1>\n' "$app_port" >"$dir/site/index.html"
started=$(curl -sS -X POST "$url/process.Process/Start?wait_ms=700" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    -d "{\"command\": [\"python3\", \"-m\", \"http.server\", \"$app_port\", \"--bind\", \"127.0.0.1\", \"--directory\", \"$dir/site\"]}")
case $started in *'"running":true'*) ;; *)
    echo "demo: the app did not start (is port $app_port taken? DEMO_APP_PORT=… chooses another): $started" >&2
    exit 1
    ;;
esac
redis HSET 'session:{ses_web}' kind browser computer cmp_demo user usr_demo
redis HSET 'host:{public--demo.localhost}' computer cmp_demo port "$app_port" via agent visibility public
redis HSET "host:{$app_port--demo.localhost}" computer cmp_demo port "$app_port" via agent visibility session
web_token=$($bin/exec-gateway token mint -c "$dir/gateway.yaml" --computer cmp_demo --session ses_web --user usr_demo --kind browser --ttl 86400)
public_url=http://public--demo.localhost:$port/
private_url=http://$app_port--demo.localhost:$port/
page=$(curl -sS "$public_url")
case $page in *'Hello from port'*) ;; *)
    echo "demo: the published port does not answer: $page" >&2
    exit 1
    ;;
esac
echo "public:  $public_url"
echo "private: $private_url?access_token=$web_token"
cat <<TEXT

$(say "It is up. Things to try in another terminal:")

  TOKEN=\$(cat build/demo/token)

  # one line per event, as they happen
  curl -N $url/process.Process/Start -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' \\
       -H 'Accept: application/x-ndjson' -d '{"command": ["sh", "-c", "for i in 1 2 3; do date; sleep 1; done"]}'

  # the same over TLS and HTTP/2
  curl -k --http2 https://127.0.0.1:$tls_port/process.Process/List -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' -d '{}'

  # the published port: for everybody; without the link 401; by the link a cookie (open the link above in a browser, too)
  curl $public_url
  curl -i $private_url
  curl -L -c /tmp/demo-cookies -H 'Accept: text/html' '$private_url?access_token=$web_token'

  # the computer stops: the very next request knows
  redis-cli -s build/demo/redis.sock HSET 'computer:{cmp_demo}' state stopped
  redis-cli -s build/demo/redis.sock HSET 'computer:{cmp_demo}' state running

  # the session is revoked
  redis-cli -s build/demo/redis.sock HSET 'session:{ses_demo}' revoked 1

  tail -f build/demo/access.log build/demo/gateway.log

Ctrl-C ends everything.
TEXT
# With DEMO_ONCE=1 (tests) it ends here.
[ "${DEMO_ONCE:-0}" = 0 ] || exit 0
wait -n "${pids[@]}" || true
echo "demo: a part has ended by itself; see build/demo/*.log" >&2
exit 1
