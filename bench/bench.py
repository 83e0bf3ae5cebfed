#!/usr/bin/env python3
"""CPU time per request, byte or event of the gateway alone, beside Debian's haproxy, nginx and nghttpx doing the same work, in one run.

The figure is the CPU time of the proxy process (user + system, /proc/<pid>/task/*/schedstat) per successful unit of work: it stays
comparable on a noisy machine where wall time does not. Each case runs the proxies in turn, A B C A B C …; the median of the rounds
counts, and the gateway's ratio to the best peer of the same run is what to compare between machines. `floor` is a TCP relay on one
epoll loop (relay.c) that reads nothing of what it passes.

The gateway verifies a token, resolves the route, counts limits, metrics and writes its access log; the peers do none of that unless
the case says so. A case fails when a proxy did not do the same work: every request must have succeeded with the same number of bytes.

    bench/bench.py                     # all of it
    bench/bench.py --quick h2c-4x32    # a tenth of the work, some cases
"""
import argparse, datetime, json, os, platform, re, socket, ssl, statistics, subprocess, sys, time

import plot, rig
from rig import BIN, ROOT, Failure, Rig, cpu_ns, free_port, rss_bytes, tool

MIB = 1 << 20


class Bench:
    def __init__(self, rounds, scale):
        self.rig, self.rounds, self.scale = Rig(), rounds, scale
        self.rows = []
        self.next_token = 0

    # ---- measuring ----

    def compare(self, name, target, unit, proxies, work, divisor=1, exclude=("floor",)):
        """`work(proxy)` does it once and returns how many units; proxies in turn, the first is the gateway."""
        samples = {p.name: [] for p in proxies}
        for proxy in proxies:
            work(proxy)  # warm
        for turn in range(self.rounds):
            for proxy in proxies:
                before = cpu_ns(proxy.pid)
                count = work(proxy)
                samples[proxy.name].append((cpu_ns(proxy.pid) - before) / count / divisor)
        medians = {p: statistics.median(v) for p, v in samples.items()}
        peers = {p: m for p, m in medians.items() if p not in exclude and p != "exec-gateway"}
        best = min(peers, key=peers.get) if peers else None
        self.row(name, target, unit, medians, best, medians["exec-gateway"] / peers[best] if best else None, samples)

    def row(self, name, target, unit, medians, best=None, ratio=None, samples=None):
        self.rows.append(dict(name=name, target=target, unit=unit, medians=medians, best=best, ratio=ratio, samples=samples))
        print(f"  {name}: " + ", ".join(f"{p} {m:.2f}" for p, m in medians.items()) + f" {unit}" +
              (f"; ratio {ratio:.2f} ({best}), target {target}" if ratio else f"; target {target}"), file=sys.stderr)

    def size(self, count, least=1):
        return max(int(count * self.scale), least)

    def relay(self, upstream):
        binary = self.compiled("relay")
        port = free_port()
        return rig.Proxy(self.rig.start("relay", [binary, port, upstream], port=port), "floor", port)

    def compiled(self, name, *libraries):
        binary = self.rig.dir / name
        if not binary.exists():
            subprocess.run(["cc", "-O2", "-o", binary, ROOT / "bench" / f"{name}.c", *libraries], check=True)
        return binary

    # ---- cases: each builds what it needs ----

    def h2(self):
        """The main rig: nghttpd behind all of them, made once."""
        if not hasattr(self, "main"):
            upstream = self.rig.nghttpd()
            gateway = self.rig.gateway(upstream)
            self.token = self.rig.token(gateway)
            self.main = [gateway, self.rig.haproxy(upstream), self.rig.nghttpx(upstream), self.relay(upstream)]
        return self.main

    def unary(self, name, target, clients, streams, requests, tls=False):
        proxies = [p for p in self.h2() if p.tls or not tls]
        n = self.size(requests, clients * streams)

        def work(proxy):
            self.rig.h2load(proxy.tls if tls else proxy.clear, self.token, clients, streams, n, tls=tls, expect_bytes=16)
            return n
        self.compare(name, target, "µs/request", proxies, work, 1000)

    def h2c_4x32(self):
        self.unary("exec unary, h2c → h2c, 4 × 32", 0.65, 4, 32, 30000)

    def h2c_16x1(self):
        self.unary("exec unary, h2c → h2c, 16 × 1", 0.75, 16, 1, 15000)

    def tls_4x32(self):
        self.unary("exec unary, h2 TLS → h2c, 4 × 32", 0.80, 4, 32, 30000, tls=True)

    def big_h2c(self):
        n = self.size(400, 8)

        def down(proxy):
            self.rig.h2load(proxy.clear, self.token, 2, 4, n, path="/process.Process/Update", expect_bytes=MIB)
            return n * MIB

        def up(proxy):
            self.rig.h2load(proxy.clear, self.token, 2, 4, n, body=b"x" * MIB, expect_bytes=16)
            return n * MIB
        self.compare("1 MiB responses, h2c → h2c", 0.85, "ns/byte", self.h2(), down)
        self.compare("1 MiB uploads, h2c → h2c", 0.85, "ns/byte", self.h2(), up)

    def ports(self):
        origin = self.rig.nginx_origin()
        agent = self.rig.agent()
        routes = self.rig.dir / "ports.yaml"
        routes.write_text(f"""computers: {{cmp_1: {{state: running, agent: "127.0.0.1:{agent}", boot: "1"}}}}
hosts:
  "direct--box.ports.test": {{computer: cmp_1, port: {origin}, via: direct, protocol: http1, visibility: public}}
  "tunnel--box.ports.test": {{computer: cmp_1, port: {origin}, via: agent, protocol: http1, visibility: public}}
""")
        gateway = self.rig.gateway(agent, routes=f'{{file: "{routes}"}}', more="ports: {domain: ports.test}", name="exec-gateway")
        port = free_port()
        nginx = self.rig.nginx("proxy", f"""keepalive_requests 100000000; upstream o {{ server 127.0.0.1:{origin}; keepalive 64; }}
    proxy_buffering on; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""", port)
        proxies = [gateway, self.rig.haproxy(origin, "h1", name="haproxy"), self.rig.nghttpx(origin, "h1"),
                   rig.Proxy(nginx, "nginx", port), self.relay(origin)]

        def load(path, n, clients, size, host):
            def work(proxy):
                self.rig.h2load(proxy.clear, None, clients, 1, n, path=path, h1=True, body=None, expect_bytes=size, authority=host)
                return n if size < MIB else n * size
            return work
        n, big = self.size(10000, 16), self.size(200, 4)
        self.compare("published port, h1 → h1 direct, 16 × 1", 0.85, "µs/request", proxies, load("/small", n, 16, 16, "direct--box.ports.test"), 1000)
        self.compare("published port, h1 → h1 through the agent's tunnel, 16 × 1", "report", "µs/request", proxies,
                     load("/small", n, 16, 16, "tunnel--box.ports.test"), 1000)
        self.compare("1 MiB responses, h1 → h1", 0.85, "ns/byte", proxies, load("/big", big, 4, MIB, "direct--box.ports.test"))

    def streams(self):
        """Start streams of 100 events; the guest agent runs real processes for all of them."""
        emit = BIN / "exec-load-emit"
        if not emit.exists():
            raise Failure(f"{emit} is missing: it is a target of tests/load")
        agent = self.rig.agent()
        gateway = self.rig.gateway(agent)
        token = self.rig.token(gateway)
        proxies = [gateway, self.rig.haproxy(agent), self.rig.nghttpx(agent), self.relay(agent)]
        n = self.size(1000, 100)

        def start(rate, seconds):
            message = json.dumps({"process": {"cmd": str(emit), "args": [str(rate), "32", str(seconds)]}}).encode()
            return b"\0" + len(message).to_bytes(4, "big") + message

        def work(proxy):
            size = self.rig.h2load(proxy.clear, token, 10, max(n // 10, 1), n, path="/process.Process/Start", body=start(20, 5),
                                   content_type="application/connect+json")
            if size < 100 * 60:
                raise Failure(f"{proxy.name}: only {size} bytes per stream of 100 events")
            return n * 100
        rounds, self.rounds = self.rounds, min(self.rounds, 2)  # each takes five seconds
        self.compare(f"Start streams of 100 small events, {n} open: per event", 0.75, "µs/event", proxies, work, 1000)
        self.rounds = rounds

        self.quiet_streams(agent, n, start(0.05, 20))

    def quiet_streams(self, agent, n, message):
        """In a gateway of its own: what has carried other streams holds their memory ready and would show nothing."""
        gateway = self.rig.gateway(agent)
        token = self.rig.token(gateway)
        self.rig.h2load(gateway.clear, token, 10, 1, 10, body=b"{}")  # connections of both sides have been there
        body = self.rig.dir / "quiet"
        body.write_bytes(message)
        before = rss_bytes(gateway.pid)
        load = subprocess.Popen([tool("h2load"), "-c10", f"-m{n // 10}", f"-n{n}", "-t1", "-d", body, "-H", f"authorization: Bearer {token}", "-H",
                                 "content-type: application/connect+json", f"http://127.0.0.1:{gateway.clear}/process.Process/Start"],
                                stdout=subprocess.DEVNULL)
        time.sleep(10)
        self.row(f"memory: one of {n} open quiet Start streams, both sides, ten connections included", "≤ 3 KiB", "KiB",
                 {"exec-gateway": (rss_bytes(gateway.pid) - before) / n / 1024})
        idle = cpu_ns(gateway.pid)
        time.sleep(3)
        self.row(f"{n} open quiet streams: CPU", "report", "ms/s", {"exec-gateway": (cpu_ns(gateway.pid) - idle) / 3e6})
        load.wait()

    def configured(self):
        """The peers with what a user would configure instead of us: haproxy with jwt_verify ES256 and a map from token to computer."""
        upstream = self.rig.nghttpd()
        gateway = self.rig.gateway(upstream)
        token = self.rig.token(gateway)
        (self.rig.dir / "computers.map").write_text("cmp_1 b\n")
        check = f"""http-request set-var(txn.token) {{bearer}}
  http-request deny unless {{{{ var(txn.token),jwt_header_query('$.alg') -m str ES256 }}}}
  http-request deny unless {{{{ var(txn.token),jwt_payload_query('$.iss') -m str bench }}}}
  http-request deny unless {{{{ var(txn.token),jwt_verify(txn.alg,"{self.rig.dir}/sign.pub") -m int 1 }}}}
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny if {{{{ var(txn.exp),sub(txn.now) -m int lt 0 }}}}
  use_backend %[var(txn.token),jwt_payload_query('$.cid'),map({self.rig.dir}/computers.map,b)]"""
        check = check.replace("jwt_verify(txn.alg", 'jwt_verify("ES256"')
        warm = self.rig.haproxy(upstream, front=check.format(bearer="http_auth_bearer"), name="haproxy")
        n = self.size(10000, 128)

        def work(proxy):
            self.rig.h2load(proxy.clear, token, 4, 32, n, expect_bytes=16)
            return n
        self.compare("exec unary 4 × 32 against haproxy with jwt_verify ES256 + map", 0.35, "µs/request", [gateway, warm], work, 1000)

        cold = self.rig.haproxy(upstream, front=check.format(bearer="url_param(access_token)"), name="haproxy-cold")
        cold.name = "haproxy"
        minted = self.compiled("tokens", "-lcrypto")
        m = self.size(4000, 64)

        def work_cold(proxy):
            uris = self.rig.dir / "uris"
            uris.write_bytes(subprocess.check_output([minted, self.rig.dir / "sign.key", str(m), str(self.next_token)]))
            self.next_token += m
            self.rig.h2load(proxy.clear, None, 1, 32, m, uris=uris, expect_bytes=16)
            return m
        self.compare("cold tokens: each request a new ES256 token", 1.0, "µs/request", [gateway, cold], work_cold, 1000)

    def handshakes(self):
        gateway, haproxy, nghttpx, _ = self.h2()
        port = free_port()
        nginx = rig.Proxy(self.rig.nginx("tls", f"""server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {self.rig.dir}/cert.pem;
            ssl_certificate_key {self.rig.dir}/cert.key; ssl_session_tickets on; ssl_protocols TLSv1.2 TLSv1.3; }}""", port), "nginx", port, port)

        def work(flags):
            def run(proxy):
                out = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{proxy.tls}", *flags, "-time", "3"], capture_output=True, text=True)
                done = re.search(r"(\d+) connections in \d+ real", out.stdout)
                if not done or int(done[1]) < 5:
                    raise Failure(f"{proxy.name}: s_time: {out.stdout[-300:]}{out.stderr[-300:]}")
                return int(done[1])
            return run
        proxies = [gateway, haproxy, nghttpx, nginx]
        self.compare("TLS 1.3 handshake, full", 1.0, "µs/handshake", proxies, work(["-new", "-tls1_3"]), 1000)
        self.compare("TLS 1.2 handshake, full", 1.0, "µs/handshake", proxies, work(["-new", "-tls1_2"]), 1000)
        self.compare("TLS 1.2 handshake, resumed by ticket", 1.0, "µs/handshake", proxies, work(["-reuse", "-tls1_2"]), 1000)

    def idle_tls(self):
        gateway, haproxy, nghttpx, _ = self.h2()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        n, medians = 300, {}
        for proxy in (gateway, haproxy, nghttpx):
            kept = []

            def open_some(count):
                for _ in range(count):
                    s = context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.tls)))
                    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                    s.recv(4096)
                    kept.append(s)
                time.sleep(0.5)
            open_some(50)
            before = rss_bytes(proxy.pid)
            open_some(n)
            medians[proxy.name] = (rss_bytes(proxy.pid) - before) / n / 1024
            for s in kept:
                s.close()
        self.row("memory: idle TLS h2 connection", "≤ 32 KiB", "KiB", medians)

    def growth(self):
        """The same unary work with few and with very many routes; with and without many verified tokens."""
        upstream = self.rig.nghttpd()
        few = self.rig.gateway(upstream, computers=10, name="exec-gateway")
        many = self.rig.gateway(upstream, computers=100000, name="exec-gateway-many")
        token = self.rig.token(few)
        n = self.size(20000, 128)

        def load(proxy):
            self.rig.h2load(proxy.clear, token, 4, 32, n, expect_bytes=16)
            return n

        def cost(proxies):
            for proxy in proxies:
                load(proxy)
            samples = {p.name: [] for p in proxies}
            for _ in range(self.rounds):
                for proxy in proxies:
                    samples[proxy.name].append(self.spent(proxy, load))
            return {p: statistics.median(v) for p, v in samples.items()}
        costs = cost([few, many])
        self.row("growth: CPU per call, 100,000 routes against 10", "≤ 1.1", "×", {"exec-gateway": costs["exec-gateway-many"] / costs["exec-gateway"]})
        minted = self.compiled("tokens", "-lcrypto")
        m = self.size(20000, 1000)
        uris = self.rig.dir / "uris"
        uris.write_bytes(subprocess.check_output([minted, self.rig.dir / "sign.key", str(m), "50000000"]))
        self.rig.h2load(many.clear, None, 1, 32, m, uris=uris)
        costs = cost([few, many])
        self.row(f"growth: CPU per call, 100,000 routes and {m} cached tokens against 10 and 1", "≤ 1.1", "×",
                 {"exec-gateway": costs["exec-gateway-many"] / costs["exec-gateway"]})

    def spent(self, proxy, load):
        before = cpu_ns(proxy.pid)
        count = load(proxy)
        return (cpu_ns(proxy.pid) - before) / count

    def redis(self):
        """Round trips to Redis per call in the steady state."""
        upstream = self.rig.nghttpd()
        port = free_port()
        self.rig.start("redis", [tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.rig.dir], port=port)

        def cli(*args):
            return subprocess.check_output(["redis-cli", "-p", str(port), *args], text=True)
        cli("HSET", "computer:{cmp_1}", "state", "running", "agent", f"127.0.0.1:{upstream}", "boot", "1")
        cli("HSET", "session:{ses_1}", "kind", "exec", "computer", "cmp_1")
        gateway = self.rig.gateway(upstream, routes=f'{{source: redis, redis: {{url: "redis://127.0.0.1:{port}"}}}}', name="exec-gateway-redis")
        token = self.rig.token(gateway)
        n = self.size(10000, 1000)
        self.rig.h2load(gateway.clear, token, 4, 32, 256, expect_bytes=16)

        def calls():
            stats = cli("INFO", "commandstats")
            return sum(int(c) for name, c in re.findall(r"cmdstat_([^:]+):calls=(\d+)", stats) if name not in ("info", "ping"))
        before = calls()
        self.rig.h2load(gateway.clear, token, 4, 32, n, expect_bytes=16)
        self.row(f"Redis commands in {n} calls", "0", "commands", {"exec-gateway": calls() - before})


CASES = {name.replace("_", "-"): getattr(Bench, name) for name in
         ("h2c_4x32", "h2c_16x1", "tls_4x32", "ports", "big_h2c", "streams", "configured", "handshakes", "idle_tls", "growth", "redis")}


def machine():
    from pathlib import Path
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = {}
    for name, args in (("haproxy", ["-v"]), ("nginx", ["-v"]), ("nghttpx", ["--version"]), ("h2load", ["--version"])):
        out = subprocess.run([tool(name), *args], capture_output=True, text=True)
        versions[name] = (out.stdout or out.stderr).splitlines()[0]
    return dict(cpu=model[1] if model else platform.machine(), cores=os.cpu_count(), kernel=platform.release(), commit=commit,
                load=os.getloadavg()[0], time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), versions=versions)


def table(rows):
    names = ["exec-gateway", "haproxy", "nginx", "nghttpx", "floor"]
    lines = ["| work | " + " | ".join(names) + " | ratio | target |", "| --- |" + " --- |" * (len(names) + 2)]
    for r in rows:
        cells = [f"{r['medians'][n]:.2f}" if n in r["medians"] else "" for n in names]
        ratio = f"**{r['ratio']:.2f}** ({r['best']})" if r["ratio"] else ""
        target = f"≤ {r['target']}" if isinstance(r["target"], float) else r["target"]
        lines.append(f"| {r['name']} ({r['unit']}) | " + " | ".join(cells) + f" | {ratio} | {target} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--out", default=None, help="JSON result; default bench/results/<date>.json; the plot goes beside it")
    parser.add_argument("case", nargs="*", help="default: all: " + " ".join(CASES))
    options = parser.parse_args()
    bench, failed = Bench(options.rounds, 0.1 if options.quick else 1), []
    try:
        for name in options.case or CASES:
            try:
                CASES[name](bench)
            except Failure as failure:
                failed.append(name)
                print(f"bench: {name}: {failure}", file=sys.stderr)
    finally:
        bench.rig.stop()
    out = ROOT / "bench" / "results" / f"{datetime.date.today().isoformat()}.json" if options.out is None else rig.pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(dict(machine=machine(), rounds=options.rounds, quick=options.quick, failed=failed, rows=bench.rows), indent=1) + "\n")
    plot.write([r for r in bench.rows if r["ratio"]], out.with_suffix(".svg"))
    print("\n" + table(bench.rows) + f"\n\nwritten: {out}, {out.with_suffix('.svg')}")
    if failed:
        raise Failure("did not do the same work: " + ", ".join(failed))
    return 0


if __name__ == "__main__":
    sys.exit(rig.run(main))
