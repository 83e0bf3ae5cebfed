#!/usr/bin/env python3
"""CPU time per request, byte or event of the gateway alone, beside Debian's haproxy, nginx and nghttpx doing the same work, in one run.

The figure is the CPU time of the proxy process (user + system, /proc/<pid>/task/*/schedstat) per successful unit of work: it stays
comparable on a noisy machine where wall time does not. Each case runs the proxies in turn, A B C A B C …, four times a round; the median
counts, and the gateway's ratio to the best peer of the same run is what to compare between machines. `floor` is a TCP relay on one
epoll loop (relay.c) that reads nothing of what it passes.

The gateway verifies a token, resolves the route, counts limits, metrics and writes its access log; the peers do none of that unless
the case says so. A case fails when a proxy did not do the same work: every request must have succeeded with the same number of bytes.

    bench/bench.py                     # all of it
    bench/bench.py --quick h2c-4x32    # a tenth of the work, some cases
"""
import argparse, datetime, json, os, pathlib, platform, re, subprocess, sys, time

import cases, network, plot, rig, states
from measure import Bench, aim, number, said
from rig import ROOT, Failure, tool

CASES = {case.__name__.replace("_", "-"): case for case in (
    cases.h2c_4x32, cases.h2c_16x1, cases.tls_4x32, cases.port_direct, cases.port_tunnel, cases.responses_h2, cases.responses_h1, cases.uploads_h2,
    cases.uploads_h1, states.streams, cases.haproxy_jwt, cases.nginx_lua, cases.cold_tokens, cases.handshakes_full, cases.handshakes_resumed,
    states.memory_tls, states.memory_streams, states.latency, states.growth_routes, states.growth_tokens, states.growth_streams,
    states.redis_round_trips, states.crowd)}
WHEN_NAMED = {"crowd"}


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = {}
    for name, args in (("haproxy", ["-v"]), ("nginx", ["-v"]), ("nghttpx", ["--version"]), ("h2load", ["--version"])):
        out = subprocess.run([tool(name), *args], capture_output=True, text=True)
        versions[name] = (out.stdout or out.stderr).splitlines()[0]
    return dict(cpu=model[1] if model else platform.machine(), cores=os.cpu_count(), kernel=platform.release(), commit=commit,
                congestion=network.congestion(), load=os.getloadavg()[0], time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), versions=versions)


def table(rows):
    names = ["exec-gateway", "haproxy", "nginx", "nghttpx", "floor", "direct"]
    lines = ["| work | " + " | ".join(names) + " | measured | target | met |", "| --- |" + " --- |" * (len(names) + 3)]
    for r in rows:
        cells = [f"{r['medians'][n]:.2f}" if n in r["medians"] else f"({number(r['rates'][n])}/s)" if n in r["rates"] else "" for n in names]
        met = {None: "", True: "yes", False: "**no**"}[r["met"]]
        lines.append(f"| {r['name']} ({r['unit']}) | " + " | ".join(cells) + f" | {said(r)} | {aim(r)} | {met} |")
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: --scale 0.1")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the work")
    parser.add_argument("--out", default=None, help="JSON result; default bench/results/<date>.json; the plot goes beside it")
    parser.add_argument("--host-network", action="store_true", help="the machine's loopback and TCP settings instead of a namespace with Debian's")
    parser.add_argument("--list", action="store_true", help="the names of the cases")
    parser.add_argument("case", nargs="*", help="default: all but crowd: " + " ".join(CASES))
    options = parser.parse_args()
    unknown = [name for name in options.case if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are: {' '.join(CASES)}")
    return options


def run_cases(bench, names):
    """Returns the names of those that failed."""
    failed = []
    for name in names:
        begin = time.monotonic()
        try:
            CASES[name](bench)
        except (Failure, subprocess.TimeoutExpired) as failure:
            failed.append(name)
            print(f"bench: {name}: {failure}", file=sys.stderr)
        print(f"  [{name}: {time.monotonic() - begin:.0f} s]", file=sys.stderr)
    return failed


def main():
    options = parse()
    if options.list:
        print("\n".join(CASES))
        return 0
    if not options.host_network:
        network.enter_own()
    scale = 0.1 if options.quick else options.scale
    bench, before = Bench(options.rounds, scale), machine()
    try:
        failed = run_cases(bench, options.case or [name for name in CASES if name not in WHEN_NAMED])
    finally:
        bench.rig.stop()
    out = pathlib.Path(options.out) if options.out else ROOT / "bench" / "results" / f"{datetime.date.today().isoformat()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(dict(machine=before, load_after=os.getloadavg()[0], rounds=options.rounds, scale=scale, failed=failed, rows=bench.rows), indent=1) + "\n")
    plot.write(bench.rows, out.with_suffix(".svg"))
    print("\n" + table(bench.rows) + f"\n\nwritten: {out}, {out.with_suffix('.svg')}")
    if failed:
        raise Failure("did not do the same work: " + ", ".join(failed))
    return 0


if __name__ == "__main__":
    sys.exit(rig.run(main))
