#!/usr/bin/env python3
"""CPU time per request of the gateway alone, beside Debian's haproxy and nghttpx doing the same work bare, in one run.

The figure is the CPU time of the proxy process (user + system, /proc/<pid>/task/*/schedstat) per successful request: it stays
comparable on a noisy machine where wall time does not. Each case runs the proxies in turn, A B C A B C …; the median of the rounds
counts, and the gateway's ratio to the best peer of the same run is what to compare between machines.

The gateway checks a token, resolves the route, counts limits and writes its access log; the peers do none of that.
A case fails when a proxy did not do the same work: every request must have succeeded with the same number of body bytes.
"""
import argparse, datetime, json, os, pathlib, platform, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("BUILD_DIR", ROOT / "build"))

CASES = {  # name: (h2load connections, streams each, requests)
    "h2c-unary-4x32": dict(clients=4, streams=32, requests=60000),
    "h2c-unary-16x1": dict(clients=16, streams=1, requests=30000),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, name, log_dir):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended at once:\n{(log_dir / (name + '.log')).read_text()}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"bench: {name} does not listen")


def cpu_ns(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return total


class Bench:
    def __init__(self, rounds):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="exec-gateway-bench-"))
        self.rounds = rounds
        self.keep = bool(os.environ.get("BENCH_KEEP"))
        self.children = []
        self.versions = {}

    def start(self, name, args, **kwargs):
        log = open(self.dir / f"{name}.log", "wb")
        child = subprocess.Popen([str(a) for a in args], stdout=kwargs.pop("stdout", log), stderr=log, **kwargs)
        self.children.append(child)
        return child

    def stop(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def upstream(self):
        docroot = self.dir / "docroot" / "process.Process"
        docroot.mkdir(parents=True)
        (docroot / "List").write_bytes(b'{"processes":[]}')
        port = free_port()
        wait_port(port, self.start("nghttpd", ["nghttpd", "--no-tls", "-n1", "-d", docroot.parent, port]), "nghttpd", self.dir)
        return port

    def haproxy(self, upstream):
        port = free_port()
        config = self.dir / "haproxy.cfg"
        config.write_text(f"""global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port} proto h2
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:{upstream} proto h2
""")
        process = self.start("haproxy", ["haproxy", "-db", "-f", config])
        wait_port(port, process, "haproxy", self.dir)
        return process.pid, port

    def nghttpx(self, upstream):
        port = free_port()
        process = self.start("nghttpx", ["nghttpx", "--conf=/dev/null", "-n1", "--single-process", f"-f127.0.0.1,{port};no-tls",
                                         f"-b127.0.0.1,{upstream};;proto=h2", "--accesslog-file=/dev/null",
                                         f"--errorlog-file={self.dir}/nghttpx.err"])
        wait_port(port, process, "nghttpx", self.dir)
        return process.pid, port

    def gateway(self, upstream):
        port = free_port()
        key = self.dir / "sign.key"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
        routes = self.dir / "routes.yaml"
        routes.write_text(f'computers: {{cmp_1: {{state: running, agent: "127.0.0.1:{upstream}", boot: "1"}}}}\n'
                          "sessions: {ses_1: {kind: exec, computer: cmp_1}}\n")
        config = self.dir / "gateway.yaml"
        config.write_text(f"""workers: 1
listeners: [{{address: "127.0.0.1:{port}"}}]
exec: {{hosts: ["*"]}}
auth: {{issuer: bench, keys: [{{kid: k, alg: ES256, file: "{key}"}}]}}
routes: {{file: "{routes}"}}
upstream: {{allow: [127.0.0.0/8]}}
log: {{access: "{self.dir}/access.log"}}
limits: {{h2: {{streams_total: 100000000}}}}
""")
        process = self.start("exec-gateway", [BIN / "exec-gateway", "serve", "-c", config])
        wait_port(port, process, "exec-gateway", self.dir)
        self.token = subprocess.check_output([BIN / "exec-gateway", "token", "mint", "-c", config, "--computer", "cmp_1",
                                              "--session", "ses_1"], text=True).strip()
        return process.pid, port

    def load(self, port, case, requests):
        """One run of h2load; returns (succeeded, body bytes)."""
        body = self.dir / "body"
        body.write_bytes(b"{}")
        out = subprocess.run(["h2load", f"-c{case['clients']}", f"-m{case['streams']}", f"-n{requests}", "-t1", "-d", str(body),
                              "-H", "content-type: application/json", "-H", f"authorization: Bearer {self.token}",
                              f"http://127.0.0.1:{port}/process.Process/List"], capture_output=True, text=True, timeout=300).stdout
        done = re.search(r"(\d+) succeeded, (\d+) failed", out)
        codes = re.search(r"status codes: (\d+) 2xx", out)
        data = re.search(r"\(([\d.]+\w*)\) data|, [\d.]+\w+ \((\d+)\) data", out)
        if not done or int(done[1]) != requests or int(codes[1]) != requests:
            sys.exit(f"bench: port {port} did not do the work:\n{out}")
        return int(done[1]), int(data[2] or 0) if data else 0

    def run(self, quick):
        upstream = self.upstream()
        proxies = {"exec-gateway": self.gateway(upstream), "haproxy": self.haproxy(upstream), "nghttpx": self.nghttpx(upstream)}
        results = {}
        for name, case in CASES.items():
            requests = case["requests"] // (10 if quick else 1)
            samples = {proxy: [] for proxy in proxies}
            sizes = set()
            for proxy, (pid, port) in proxies.items():
                self.load(port, case, max(requests // 10, case["clients"] * case["streams"]))  # warm
            for turn in range(self.rounds):
                for proxy, (pid, port) in proxies.items():
                    before = cpu_ns(pid)
                    count, size = self.load(port, case, requests)
                    samples[proxy].append((cpu_ns(pid) - before) / count / 1000)
                    sizes.add(size)
                    print(f"  {name} round {turn + 1}/{self.rounds} {proxy}: {samples[proxy][-1]:.2f} µs", file=sys.stderr)
            if len(sizes) != 1:
                sys.exit(f"bench: {name}: the proxies carried different amounts of data: {sizes}")
            medians = {proxy: statistics.median(values) for proxy, values in samples.items()}
            best = min((p for p in medians if p != "exec-gateway"), key=medians.get)
            results[name] = dict(samples_us=samples, median_us=medians, best_peer=best, ratio=medians["exec-gateway"] / medians[best])
        return results


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return dict(cpu=model[1] if model else platform.machine(), cores=os.cpu_count(), kernel=platform.release(), commit=commit,
                time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--out", type=pathlib.Path, default=None, help="JSON result; default bench/results/<date>.json")
    options = parser.parse_args()
    bench = Bench(options.rounds)
    try:
        results = bench.run(options.quick)
    finally:
        bench.stop()
    out = options.out or ROOT / "bench" / "results" / f"{datetime.date.today().isoformat()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(dict(machine=machine(), unit="µs of CPU per request, proxy process alone", results=results), indent=2) + "\n")
    print(f"\n| work | exec-gateway | haproxy | nghttpx | ratio to the best peer |\n| --- | --- | --- | --- | --- |")
    for name, row in results.items():
        m = row["median_us"]
        print(f"| {name} | {m['exec-gateway']:.2f} µs | {m['haproxy']:.2f} µs | {m['nghttpx']:.2f} µs | {row['ratio']:.2f} ({row['best_peer']}) |")
    print(f"\nwritten: {out}")


if __name__ == "__main__":
    main()
