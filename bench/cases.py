"""The cases whose figure is CPU per request or per byte, beside the peers. Each builds what it needs; a peer that did not do the same
work (status, bytes, count) fails the case."""
import subprocess

import rig

MIB = 1 << 20
DIRECT = "direct"


def direct(port):
    """The client straight to the upstream: a row of throughput, no CPU of a proxy."""
    return rig.Proxy(None, DIRECT, port)


# ---- HTTP/2 on both sides ----

def h2(bench):
    """nghttpd behind all of them. The gateway comes first; floor and direct at the end."""
    def make():
        upstream = bench.rig.nghttpd()
        gateway = bench.rig.gateway(upstream)
        bench.token = bench.rig.token(gateway)
        return [gateway, bench.rig.haproxy(upstream), bench.rig.nginx_grpc(upstream), bench.rig.nghttpx(upstream), bench.relay(upstream), direct(upstream)]
    return bench.once("h2", make)


def unary(bench, name, target, clients, streams, requests, tls=False):
    proxies = [p for p in h2(bench) if p.tls or not tls]
    n = bench.share(requests, clients * streams)

    def work(proxy):
        bench.rig.h2load(proxy.tls if tls else proxy.clear, bench.token, clients, streams, n, tls=tls, expect_bytes=16)
        return n
    bench.compare(name, target, "µs/request", proxies, work, 1000)


def h2c_4x32(bench):
    unary(bench, "exec unary, h2c → h2c, 4 × 32", 0.65, 4, 32, 30000)


def h2c_16x1(bench):
    unary(bench, "exec unary, h2c → h2c, 16 × 1", 0.75, 16, 1, 15000)


def tls_4x32(bench):
    unary(bench, "exec unary, h2 TLS → h2c, 4 × 32", 0.80, 4, 32, 30000, tls=True)


def responses_h2(bench):
    n = bench.share(400, 8)

    def work(proxy):
        bench.rig.h2load(proxy.clear, bench.token, 2, 4, n, path="/process.Process/Update", expect_bytes=MIB)
        return n * MIB
    bench.compare("1 MiB responses, h2c → h2c", 0.85, "ns/byte", h2(bench), work)


def uploads_h2(bench):
    n = bench.share(300, 8)

    def work(proxy):
        bench.rig.h2load(proxy.clear, bench.token, 2, 4, n, body=b"x" * MIB, expect_bytes=16)
        return n * MIB
    bench.compare("1 MiB uploads, h2c → h2c", 0.85, "ns/byte", h2(bench), work)


# ---- HTTP/1.1 on both sides: published ports ----

def h1(bench):
    def make():
        origin = bench.rig.nginx_origin()
        gateway = bench.rig.ports_gateway(origin)
        return [gateway, bench.rig.haproxy(origin, "h1"), bench.rig.nginx_h1(origin), bench.rig.nghttpx(origin, "h1"), bench.relay(origin), direct(origin)]
    return bench.once("h1", make)


def port(bench, name, target, host):
    n = bench.share(10000, 16)

    def work(proxy):
        bench.rig.h2load(proxy.clear, None, 16, 1, n, path="/small", h1=True, body=None, expect_bytes=16, authority=host)
        return n
    bench.compare(name, target, "µs/request", h1(bench), work, 1000)


def port_direct(bench):
    port(bench, "published port, h1 → h1 direct, 16 × 1", 0.85, rig.DIRECT_HOST)


def port_tunnel(bench):
    port(bench, "published port, h1 → h1 through the agent's tunnel, 16 × 1", None, rig.TUNNEL_HOST)


def big_h1(bench, name, n, **load):
    def work(proxy):
        bench.rig.h2load(proxy.clear, None, 4, 1, n, h1=True, authority=rig.DIRECT_HOST, **load)
        return n * MIB
    bench.compare(name, 0.85, "ns/byte", h1(bench), work)


def responses_h1(bench):
    big_h1(bench, "1 MiB responses, h1 → h1", bench.share(400, 4), path="/big", body=None, expect_bytes=MIB)


def uploads_h1(bench):
    """The origin reads all of it and answers with the length that it was told: seven digits."""
    big_h1(bench, "1 MiB uploads, h1 → h1", bench.share(400, 4), path="/upload", body=b"x" * MIB, expect_bytes=len(str(MIB)))


# ---- the peers with what a user would configure instead of us ----

def jwt_front(bench, bearer):
    """haproxy: jwt_verify ES256, and a map from computer to backend."""
    folder = bench.rig.dir
    (folder / "computers.map").write_text("cmp_1 b\n")
    return f"""http-request set-var(txn.token) {bearer}
  http-request deny unless {{ var(txn.token),jwt_header_query('$.alg') -m str ES256 }}
  http-request deny unless {{ var(txn.token),jwt_payload_query('$.iss') -m str bench }}
  http-request deny unless {{ var(txn.token),jwt_verify("ES256","{folder}/sign.pub") -m int 1 }}
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  use_backend %[var(txn.token),jwt_payload_query('$.cid'),map({folder}/computers.map,b)]"""


def haproxy_jwt(bench):
    gateway = h2(bench)[0]
    peer = bench.rig.haproxy(bench.rig.nghttpd(), front=jwt_front(bench, "http_auth_bearer"))
    n = bench.share(6000, 128)
    bench.rig.must_refuse(peer, bench.token)

    def work(proxy):
        bench.rig.h2load(proxy.clear, bench.token, 4, 32, n, expect_bytes=16)
        return n
    bench.compare("exec unary 4 × 32 against haproxy with jwt_verify ES256 + map", 0.35, "µs/request", [gateway, peer], work, 1000)


def nginx_lua(bench):
    """Both read their routes from one Redis; nginx asks it for each request, as its users do."""
    upstream = bench.rig.nghttpd()
    redis = bench.rig.redis(upstream)
    gateway = bench.rig.gateway(upstream, routes=f'{{source: redis, redis: {{url: "redis://127.0.0.1:{redis}"}}}}')
    token = bench.rig.token(gateway)
    peer = bench.rig.nginx_lua(redis)
    n = bench.share(5000, 128)
    bench.rig.must_refuse(peer, token)

    def work(proxy):
        bench.rig.h2load(proxy.clear, token, 4, 32, n, expect_bytes=16)
        return n
    bench.compare("exec unary 4 × 32 against nginx + Lua (ES256) + Redis", 0.15, "µs/request", [gateway, peer], work, 1000)


def cold_tokens(bench):
    gateway = h2(bench)[0]
    peer = bench.rig.haproxy(bench.rig.nghttpd(), front=jwt_front(bench, "url_param(access_token)"))
    mint = bench.rig.compiled("tokens", "-lcrypto")
    n = bench.share(3000, 64)

    def work(proxy):
        uris = bench.rig.dir / "uris"
        uris.write_bytes(subprocess.check_output([mint, bench.rig.dir / "sign.key", str(n), str(bench.next_token)]))
        bench.next_token += n
        bench.rig.h2load(proxy.clear, None, 1, 32, n, uris=uris, expect_bytes=16)
        return n
    bench.compare("cold tokens: each request a new ES256 token", 1.0, "µs/request", [gateway, peer], work, 1000)


# ---- TLS handshakes ----

def handshakes(bench, kind, count):
    """Without ALPN, closed at once: the handshake and nothing else. No floor and no direct row: neither speaks TLS."""
    gateway, haproxy, _, nghttpx, _, _ = h2(bench)
    nginx = bench.once("nginx-tls", bench.rig.nginx_tls)
    client = bench.rig.compiled("handshakes", "-lssl", "-lcrypto")
    n = bench.share(count, 20)
    for version in ("1.3", "1.2"):
        def work(proxy):
            out = subprocess.run([client, str(proxy.tls), version, kind, str(n)], capture_output=True, text=True, timeout=120)
            bench.rig.elapsed = 0
            if out.stdout.split() != [str(n), str(n if kind == "resumed" else 0)]:
                raise rig.Failure(f"{proxy.name}: TLS {version} {kind}: {n} connections, got {out.stdout.strip()!r} {out.stderr.strip()}")
            return n
        bench.compare(f"TLS {version} handshake, {kind}", 1.0, "µs/handshake", [gateway, haproxy, nginx, nghttpx], work, 1000)


def handshakes_full(bench):
    handshakes(bench, "full", 500)


def handshakes_resumed(bench):
    handshakes(bench, "resumed", 1000)
