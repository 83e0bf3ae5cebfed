"""The cases about what stays open, what grows, and time: streams, memory, growth, latency, Redis."""
import contextlib, json, re, resource, socket, ssl, subprocess, sys, time

import cases, rig
from measure import OURS, middle
from rig import Failure, cpu_ns, rss_bytes, tool

EVENTS, PERIOD_US, EVENT_BYTES = 100, 50000, 60
KIB = 1024


def start_message():
    message = json.dumps({"process": {"cmd": "emit", "args": []}}).encode()
    return b"\0" + len(message).to_bytes(4, "big") + message


def streams(bench):
    """Start streams of 100 events, 20 a second each. The upstream is events.c: 1,000 real processes would be the machine's load, not the
    proxies'. No direct row: the schedule sets the rate."""
    upstream, _ = bench.rig.events(EVENTS, PERIOD_US, EVENT_BYTES)
    gateway = bench.rig.gateway(upstream)
    token = bench.rig.token(gateway)
    proxies = [gateway, bench.rig.haproxy(upstream), bench.rig.nginx_grpc(upstream), bench.rig.nghttpx(upstream), bench.relay(upstream)]
    n = bench.size(1000, 100) // 10 * 10

    def start(proxy, open_count):
        bench.rig.h2load(proxy.clear, token, 10, open_count // 10, open_count, path="/process.Process/Start", body=start_message(),
                         content_type="application/connect+json", expect_bytes=EVENTS * EVENT_BYTES + 7)
        bench.rig.elapsed = 0
        return open_count * EVENTS
    bench.together(lambda proxy: start(proxy, 20), proxies)
    bench.compare(f"Start streams of {EVENTS} small events, {n} open: per event", 0.75, "µs/event", proxies, lambda proxy: start(proxy, n), 1000, warm=False, slices=1)


def wait_for_streams(who, child, open_streams, count):
    """Until so many are open; `child` is who opens them."""
    end = time.monotonic() + 60
    while open_streams() < count:
        if time.monotonic() > end or child.poll() is not None:
            raise Failure(f"{who}: {open_streams()} streams are open instead of {count}")
        time.sleep(0.1)


@contextlib.contextmanager
def quiet_streams(bench, proxy, open_streams, token, connections, count):
    """`count` open Start streams on which nothing comes, for the time of the block."""
    body = bench.rig.dir / "start"
    body.write_bytes(start_message())
    before = open_streams()
    child = subprocess.Popen([tool("h2load"), f"-c{connections}", f"-m{count // connections}", f"-n{count}", "-t1", "-d", body, "-H",
                              f"authorization: Bearer {token}", "-H", "content-type: application/connect+json",
                              f"http://127.0.0.1:{proxy.clear}/process.Process/Start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bench.rig.children.append(child)

    try:
        wait_for_streams(proxy.name, child, lambda: open_streams() - before, count)
        time.sleep(3)  # quiet: what opening them took is over for all of the proxies
        yield
        if open_streams() - before < count or child.poll() is not None:
            raise Failure(f"{proxy.name}: only {open_streams() - before} of {count} streams stayed open")
    finally:
        bench.rig.end(child)
    end = time.monotonic() + 20
    while proxy.name == OURS and open_streams() != before:  # haproxy leaves them open until the upstream says something
        if time.monotonic() > end:
            raise Failure(f"{proxy.name}: {open_streams() - before} streams stay open after their clients have gone")
        time.sleep(0.1)


def memory_streams(bench):
    """Each in a process of its own: one that has carried other streams holds their memory ready and would show nothing. The connections
    of both sides are made before, so a stream is what is counted."""
    n, samples = bench.size(5000, 500), {}
    for make in (bench.rig.gateway, lambda port: bench.rig.haproxy(port, globals_="tune.h2.max-concurrent-streams 1000"),
                 lambda port: bench.rig.nghttpx(port, streams=1000)):
        upstream, open_streams = bench.rig.events(0, 1, EVENT_BYTES)
        proxy = make(upstream)
        if proxy.name == OURS:
            token = bench.rig.token(proxy)
        with quiet_streams(bench, proxy, open_streams, token, 10, 10):
            before = rss_bytes(proxy.pid)
            with quiet_streams(bench, proxy, open_streams, token, 10, n):
                samples[proxy.name] = [(rss_bytes(proxy.pid) - before) / n / KIB]
                if proxy.name == OURS:
                    idle = cpu_ns(proxy.pid)
                    time.sleep(2)
                    spent = (cpu_ns(proxy.pid) - idle) / 2e6
    bench.row(f"memory: open quiet Start stream, both sides ({n} over 10 connections, those included)", 3, "KiB", samples, samples[OURS][0])
    bench.row(f"{n} open quiet Start streams: CPU", None, "ms/s", {OURS: [spent]}, spent)


def memory_tls(bench):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    upstream = bench.rig.nghttpd()
    n, samples = bench.size(1000, 100), {}
    for proxy in (bench.rig.gateway(upstream), bench.rig.haproxy(upstream), bench.rig.nghttpx(upstream)):
        kept = []

        def open_some(count):
            for _ in range(count):
                s = context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.tls)))
                kept.append(s)
                s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                if s.selected_alpn_protocol() != "h2" or s.recv(4096)[3] != 4:
                    raise Failure(f"{proxy.name} did not answer with SETTINGS")
            time.sleep(0.5)
        open_some(50)
        before = rss_bytes(proxy.pid)
        open_some(n)
        samples[proxy.name] = [(rss_bytes(proxy.pid) - before) / n / KIB]
        for s in kept:
            s.settimeout(0)
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                if s.recv(4096) == b"":
                    raise Failure(f"{proxy.name} closed an idle connection")
            s.close()
    bench.row(f"memory: idle TLS h2 connection ({n} of them)", 32, "KiB", samples, samples[OURS][0])


# ---- growth ----

def same_calls(bench, token, requests):
    n = bench.size(requests, 1000)

    def work(proxy):
        bench.rig.h2load(proxy.clear, token, 4, 32, n, expect_bytes=16)
        return n
    return work


def growth_routes(bench):
    upstream = bench.rig.nghttpd()
    few = bench.rig.gateway(upstream, computers=10)
    many = bench.rig.gateway(upstream, computers=100000)
    work = same_calls(bench, bench.rig.token(few), 8000)
    bench.growth("growth: CPU per call, 100,000 routes against 10", 1.1, (few, work), (many, work))


def growth_tokens(bench):
    """First the calls of one token while the others rest in the cache, then calls that take the tokens in turn, so that each is looked up."""
    upstream = bench.rig.nghttpd()
    few, many = bench.rig.gateway(upstream), bench.rig.gateway(upstream)
    token = bench.rig.token(few)
    mint = bench.rig.compiled("tokens", "-lcrypto")
    counts = {"few": 100, "many": bench.size(100000, 1000)}
    n = bench.size(20000, 1000)
    uris = {}

    def fill(kind, proxy):
        uris[kind] = bench.rig.dir / f"uris-{kind}"
        uris[kind].write_bytes(subprocess.check_output([mint, bench.rig.dir / "sign.key", str(counts[kind]), str(50000000 + len(uris) * 1000000)]))
        bench.rig.h2load(proxy.clear, None, 1, 32, counts[kind], uris=uris[kind], expect_bytes=16)
    fill("many", many)
    work = same_calls(bench, token, 8000)
    bench.growth(f"growth: CPU per call of one token, {counts['many']} cached tokens against 1", 1.1, (few, work), (many, work))
    fill("few", few)

    def in_turn(kind):
        def run(proxy):
            before = bench.rig.metric(proxy, "exec_gateway_token_cache_hits_total")
            bench.rig.h2load(proxy.clear, None, 1, 32, n, uris=uris[kind], expect_bytes=16)
            hits = bench.rig.metric(proxy, "exec_gateway_token_cache_hits_total") - before
            if hits != n:
                raise Failure(f"{hits:.0f} of {n} tokens were in the cache")
            return n
        return run
    bench.growth(f"growth: CPU per call, {counts['many']} cached tokens in turn against 100", 1.1, (few, in_turn("few")), (many, in_turn("many")))


def growth_streams(bench):
    """The quiet streams belong to a second computer, whose agent is events.c."""
    quiet, open_streams = bench.rig.events(0, 1, EVENT_BYTES)
    upstream = bench.rig.nghttpd()
    few, many = bench.rig.gateway([upstream, quiet]), bench.rig.gateway([upstream, quiet])
    work = same_calls(bench, bench.rig.token(few), 8000)
    quiet_token = bench.rig.token(few, "cmp_2", "ses_2")
    n = bench.size(50000, 1000) // 50 * 50
    with quiet_streams(bench, few, open_streams, quiet_token, 10, 10), quiet_streams(bench, many, open_streams, quiet_token, 50, n):
        bench.growth(f"growth: CPU per call, {n} open quiet streams against 10", 1.1, (few, work), (many, work))


# ---- time ----

def latency(bench):
    """Wall time, so it needs a quiet machine. Half of what the gateway does at full speed with the same connections goes through each in
    turn; what direct takes is subtracted round by round. Not nginx: grpc_pass may be past its own full speed there."""
    proxies = {p.name: p for p in cases.h2(bench) if p.name != "nginx"}
    n = bench.size(10000, 1000)
    bench.rig.h2load(proxies[OURS].clear, bench.token, 16, 1, n, expect_bytes=16)
    rate = n / bench.rig.elapsed / 2
    client = bench.rig.compiled("latency", "-lm")
    seconds = max(3 * bench.scale, 0.5)
    took = {name: [] for name in proxies}
    for _ in range(bench.rounds):
        for name, proxy in proxies.items():
            out = subprocess.run([client, str(proxy.clear), f"{rate:.0f}", f"{seconds:.2f}", "16", "16", bench.token], capture_output=True, text=True,
                                 timeout=60)
            if out.returncode != 0:
                raise Failure(f"{name}: {out.stderr}")
            took[name].append([float(word) for word in out.stdout.split()[1:3]])
    for i, (what, target) in enumerate((("p50", 60), ("p99", 500))):
        added = {name: [mine[i] - bare[i] for mine, bare in zip(took[name], took[cases.DIRECT])] for name in proxies if name != cases.DIRECT}
        above = [ours - floor for ours, floor in zip(added[OURS], added["floor"])]
        added[cases.DIRECT] = [bare[i] for bare in took[cases.DIRECT]]
        bench.row(f"latency added at half load ({rate:.0f}/s), {what} against direct (direct: in all); the value is above the relay's", target, "µs",
                  added, middle(above), above)


def redis_round_trips(bench):
    """In the steady state."""
    upstream = bench.rig.nghttpd()
    port = bench.rig.redis(upstream)
    gateway = bench.rig.gateway(upstream, routes=f'{{source: redis, redis: {{url: "redis://127.0.0.1:{port}"}}}}')
    token = bench.rig.token(gateway)
    n = bench.size(10000, 1000)
    bench.rig.h2load(gateway.clear, token, 4, 32, 256, expect_bytes=16)

    def calls():
        stats = bench.rig.redis_cli(port, "INFO", "commandstats")
        return sum(int(c) for name, c in re.findall(r"cmdstat_([^:]+):calls=(\d+)", stats) if name not in ("info", "ping"))
    before = calls()
    bench.rig.h2load(gateway.clear, token, 4, 32, n, expect_bytes=16)
    count = calls() - before
    bench.row(f"Redis commands in {n} calls", 0, "commands", {OURS: [count]}, count)


def crowd(bench):
    """Only when asked for: the more descriptors the longer. Each connection holds a quiet Start stream, and stays while others call."""
    homes, batch = 4, 1000  # what comes at once must be done within the time that a handshake has
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(bench.size(100000, batch), (hard - 2000) // 2) // batch * batch  # the gateway takes as many as half of its descriptors
    quiet, open_streams = bench.rig.events(0, 1, EVENT_BYTES)
    gateway = bench.rig.gateway([bench.rig.nghttpd(), quiet], workers=2, homes=homes)
    token, quiet_token = bench.rig.token(gateway), bench.rig.token(gateway, "cmp_2", "ses_2")
    body, client = bench.rig.dir / "start", bench.rig.compiled("latency", "-lm")
    body.write_bytes(start_message())

    def p99():
        out = subprocess.run([client, str(gateway.clear), "500", "5", "16", "16", token], capture_output=True, text=True, timeout=60)
        if out.returncode != 0:
            raise Failure(f"the others: {out.stderr}")
        return float(out.stdout.split()[2])
    alone, before = [p99() for _ in range(bench.rounds)], rss_bytes(gateway.pid)
    args = [tool("h2load"), f"-c{batch}", "-m1", f"-n{batch}", "-t1", "-d", body, "-H", f"authorization: Bearer {quiet_token}",
            "-H", "content-type: application/connect+json", "-H", ":authority: 127.0.0.1"]  # the certificate has this name alone
    for opened in range(0, n, batch):
        home = opened // batch % homes + 1
        child = subprocess.Popen([*args, f"https://127.0.0.{home}:{gateway.tls}/process.Process/Start"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        bench.rig.children.append(child)
        wait_for_streams(OURS, child, open_streams, opened + batch)
        print(f"  {opened + batch} connections", end="\r", file=sys.stderr)
    time.sleep(3)
    kib = (rss_bytes(gateway.pid) - before) / n / KIB
    beside = [p99() for _ in range(bench.rounds)]
    spent = cpu_ns(gateway.pid)
    time.sleep(5)
    spent = (cpu_ns(gateway.pid) - spent) / 5e6
    if open_streams() != n:
        raise Failure(f"only {open_streams()} of {n} streams stayed open")
    name = f"{n} TLS connections with a quiet stream each"
    bench.row(f"{name}: memory of one", 35, "KiB", {OURS: [kib]}, kib)
    bench.row(f"{name}: CPU", None, "ms/s", {OURS: [spent]}, spent)
    bench.row(f"{name}: p99 of other calls (500/s), less what it was without", None, "µs",
              {OURS: [with_them - without for without, with_them in zip(alone, beside)]}, middle(beside) - middle(alone))
