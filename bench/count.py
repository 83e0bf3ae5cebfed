#!/usr/bin/env python3
"""Instructions per call of the gateway, counted by callgrind, so that a regression of a few percent shows on any machine.

The figure is the difference between two run lengths divided by the difference in requests: start, handshakes and the first misses
drop out. Times and the kernel are not in it (bench.py measures those). It fails when a workload costs 3 % more than
bench/instructions.json says; --update writes that file anew (commit it with the reason).

    bench/count.py                  # compare (make bench-quick)
    bench/count.py --update         # after a change that was meant
    bench/count.py --peers          # haproxy and nghttpx beside it, bare
    bench/count.py --syscalls       # system calls per request instead (strace), for 16 connections of one stream
"""
import argparse, json, pathlib, re, subprocess, sys, time

import rig
from rig import Failure, Rig

FILE = pathlib.Path(__file__).resolve().parent / "instructions.json"
TOLERANCE = 0.03
PAIRS = 2

WORKLOADS = {  # name: connections, streams each, requests of a piece, what differs
    "h2c-unary-4x32": dict(clients=4, streams=32, requests=1024),
    "h2c-unary-16x1": dict(clients=16, streams=1, requests=1024),
    "h2-tls-unary-4x32": dict(clients=4, streams=32, requests=1024, tls=True),
    "h1-unary-16": dict(clients=16, streams=1, requests=1024, h1=True),
    "h1-port-direct-16": dict(clients=16, streams=1, requests=1024, h1=True, path="/small", port=True),
    "h2c-1MiB-response": dict(clients=1, streams=4, requests=16, path="/process.Process/Update", bytes=1 << 20),
}


def valgrind(out):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--instr-atstart=yes"]


def dump(proxy):
    """Dumps and zeroes the counters of a running process."""
    subprocess.run(["callgrind_control", "-d", "x", str(proxy.pid)], check=True, capture_output=True, timeout=60)


def totals(out):
    """Of each dump, in order."""
    parts = sorted(out.parent.glob(out.name + ".[0-9]*"), key=lambda p: int(p.suffix[1:]))
    return [int(re.search(r"^summary: (\d+)", p.read_text(errors="replace"), re.M)[1]) for p in parts]


def load(r, proxy, token, w, requests):
    is_port = w.get("port", False)
    r.h2load(proxy.tls if w.get("tls") else proxy.clear, None if is_port else token, w["clients"], w["streams"], requests, tls=w.get("tls", False),
             h1=w.get("h1", False), path=w.get("path", "/process.Process/List"), expect_bytes=w.get("bytes", 16),
             body=None if is_port else b"{}", authority=rig.DIRECT_HOST if is_port else None)


def count(r, proxy, out, token, w):
    """Pairs of a short and a long run: what one costs more than the other is a piece's requests. The least of the pairs is what the
    code costs; more is a turn of the loop that found fewer requests waiting, which is the machine's doing."""
    n = w["requests"]
    load(r, proxy, token, w, max(n // 2, w["clients"] * w["streams"]))
    dump(proxy)
    for _ in range(PAIRS):
        load(r, proxy, token, w, n)
        dump(proxy)
        load(r, proxy, token, w, 2 * n)
        dump(proxy)
    runs = totals(out)[-2 * PAIRS:]
    return min((long - short) / n for short, long in zip(runs[::2], runs[1::2]))


def measure(names, with_peers):
    r = Rig()
    results = {name: {} for name in names}
    try:
        for is_port in (False, True):
            chosen = [name for name in names if WORKLOADS[name].get("port", False) == is_port]
            if chosen:
                measure_behind(r, is_port, chosen, with_peers, results)
    finally:
        r.stop()
    return results


def measure_behind(r, is_port, names, with_peers, results):
    out = r.dir / f"cg-gateway{'-port' if is_port else ''}"
    upstream = r.nginx_origin() if is_port else r.nghttpd()
    gateway = r.ports_gateway(upstream, valgrind(out)) if is_port else r.gateway(upstream, valgrind(out))
    token = None if is_port else r.token(gateway)
    proxies = [(gateway, out)]
    if with_peers:
        for start in (r.haproxy, r.nghttpx):
            out = r.dir / f"cg-{start.__name__}{'-port' if is_port else ''}"
            proxies.append((start(upstream, "h1" if is_port else "h2", prefix=valgrind(out)), out))
    for name in names:
        w = WORKLOADS[name]
        for proxy, out in proxies:
            if proxy is not gateway and w.get("h1") and not is_port:
                continue  # their upstream side is set for HTTP/2 both ways
            results[name][proxy.name] = round(count(r, proxy, out, token, w))
            print(f"  {name} {proxy.name}: {results[name][proxy.name]}", file=sys.stderr)


def syscalls():
    """Per request, by strace, at 16 × 1 and 4 × 32."""
    r = Rig()
    try:
        gateway = r.gateway(r.nghttpd())
        token = r.token(gateway)
        for name in ("h2c-unary-16x1", "h2c-unary-4x32"):
            w = WORKLOADS[name]
            requests = 4 * w["requests"]
            r.h2load(gateway.clear, token, w["clients"], w["streams"], 512)
            out = r.dir / "strace.txt"
            tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out, "-p", str(gateway.pid)], stderr=subprocess.DEVNULL)
            time.sleep(1)
            r.h2load(gateway.clear, token, w["clients"], w["streams"], requests)
            tracer.send_signal(2)
            tracer.wait()
            print(f"\n{name}: system calls per request")
            for line in out.read_text().splitlines():
                part = line.split()
                if len(part) >= 5 and part[0][0].isdigit() and part[-1] != "total" and int(part[3]) * 50 > requests:
                    print(f"  {part[-1]:12} {int(part[3]) / requests:6.2f}")
    finally:
        r.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write bench/instructions.json")
    parser.add_argument("--peers", action="store_true", help="count haproxy and nghttpx as well")
    parser.add_argument("--syscalls", action="store_true", help="system calls per request instead")
    parser.add_argument("workload", nargs="*", default=None, help="default: all")
    options = parser.parse_args()
    if options.syscalls:
        syscalls()
        return 0
    results = measure(options.workload or list(WORKLOADS), options.peers)
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    worse = []
    print("\n| work | instructions per request | kept | change |" + (" haproxy | nghttpx | ratio |" if options.peers else ""))
    print("| --- | --- | --- | --- |" + (" --- | --- | --- |" if options.peers else ""))
    for name, row in results.items():
        now, before = row["exec-gateway"], kept.get(name)
        change = now / before - 1 if before else 0
        if before and change > TOLERANCE:
            worse.append(name)
        line = f"| {name} | {now} | {before or '—'} | {change:+.1%} |"
        if options.peers:
            peers = [row[p] for p in ("haproxy", "nghttpx") if p in row]
            line += f" {row.get('haproxy', '—')} | {row.get('nghttpx', '—')} | {f'{now / min(peers):.2f}' if peers else '—'} |"
        print(line)
    if options.update:
        FILE.write_text(json.dumps(kept | {name: row["exec-gateway"] for name, row in results.items()}, indent=2) + "\n")
        print(f"\nwritten: {FILE}")
        return 0
    if worse:
        raise Failure(f"more than {TOLERANCE:.0%} above bench/instructions.json: {', '.join(worse)}")
    return 0


if __name__ == "__main__":
    sys.exit(rig.run(main))
