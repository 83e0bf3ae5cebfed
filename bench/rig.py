"""What bench.py and count.py share: the upstreams, Debian's proxies and the gateway, each listening on a port of 127.0.0.1 that
the kernel picked, living in a folder of its own and ended with the run; and h2load, whose result is checked, never believed.

Only processes started here are ended, by pid. BUILD_DIR says where exec-gateway and guest-agent are (default: build/)."""
import os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("BUILD_DIR", ROOT / "build"))
ADMIN_SECRET = "secret-of-one-benchmark"
DIRECT_HOST, TUNNEL_HOST = "direct--box.ports.test", "tunnel--box.ports.test"

# What a production file has and a benchmark must not buy off: access log, limits, metrics, token, route. What is changed are the
# counts that h2load meets because it is one address and opens all its streams on few connections, where there would be many clients.
GATEWAY_YAML = """workers: {workers}
listeners:
  - {{address: "127.0.0.1:{clear}"}}
  - {{address: "{tls_host}:{tls}", tls: true}}
tls: {{certificates: [{{certificate: "{dir}/cert.pem", key: "{dir}/cert.key"}}]}}
exec: {{hosts: ["*"]}}
admin: {{address: "127.0.0.1:{admin}", secret_file: "{dir}/admin.secret"}}
auth: {{issuer: bench, keys: [{{kid: k, alg: ES256, file: "{dir}/sign.key"}}], cache_entries: 200000}}
routes: {routes}
upstream: {{allow: [127.0.0.0/8], pending: 100000}}
log: {{level: warn, access: "{dir}/log/access.log"}}
limits: {{requests_per_session: 100000, requests_per_computer: 100000, connections_per_address: 1000000, h2: {{streams_total: 100000000}}, h1: {{keepalive_requests: 100000000}}}}
{more}
"""

# nginx closes connections after so many requests; no other peer does.
NGINX_KEEP = "keepalive_requests 100000000;"
NGINX_H2 = f"{NGINX_KEEP} client_max_body_size 0; client_body_buffer_size 2m; grpc_read_timeout 600s;"


class Failure(Exception):
    """A proxy did not do the work; the run means nothing."""


handed_out = set()


def free_port():
    """Never the same twice: two listeners of one gateway would share it (SO_REUSEPORT), and each get half of the connections."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in handed_out:
            handed_out.add(port)
            return port


def cpu_ns(pid):
    """User and system time of all threads of a process, in nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return total


def rss_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def tool(name):
    for folder in ("/usr/sbin", "/usr/bin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise Failure(f"{name} is not installed: make deps-bench")


class Proxy:
    def __init__(self, process, name, clear, tls=None):
        self.process, self.name, self.clear, self.tls = process, name, clear, tls
        self.pid = process and process.pid  # None: no proxy at all, the client talks to the upstream ("direct")


class Rig:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="exec-gateway-bench-"))
        (self.dir / "log").mkdir()
        self.children = []
        self.elapsed = 0.0  # seconds that the last h2load says its requests took
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.dir / "sign.key"], check=True)
        subprocess.run(["openssl", "ec", "-in", self.dir / "sign.key", "-pubout", "-out", self.dir / "sign.pub"], check=True, capture_output=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.dir / "cert.key", "-out", self.dir / "cert.pem"],
                       check=True, capture_output=True)
        (self.dir / "admin.secret").write_text(ADMIN_SECRET)
        (self.dir / "admin.secret").chmod(0o600)
        (self.dir / "both.pem").write_text((self.dir / "cert.pem").read_text() + (self.dir / "cert.key").read_text())

    # ---- processes ----

    def start(self, name, args, prefix=(), port=None, **kwargs):
        log = open(self.dir / "log" / f"{name}.log", "ab")
        child = subprocess.Popen([*map(str, prefix), *map(str, args)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, **kwargs)
        self.children.append(child)
        if port is not None:
            self.wait_for_port(name, child, port, 60 if prefix else 15)
        return child

    def wait_for_port(self, name, child, port, seconds=15):
        deadline = time.monotonic() + seconds
        while True:
            if child.poll() is not None:
                raise Failure(f"{name} ended at once:\n{(self.dir / 'log' / (name + '.log')).read_text()}")
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if time.monotonic() > deadline:
                raise Failure(f"{name} does not listen")
            time.sleep(0.05)

    def compiled(self, name, *libraries):
        """One of the small C programs beside this file."""
        binary = self.dir / name
        if not binary.exists():
            subprocess.run(["cc", "-O2", "-std=c17", "-D_GNU_SOURCE", "-o", binary, ROOT / "bench" / f"{name}.c", *libraries], check=True)
        return binary

    def end(self, child):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def stop(self):
        for child in reversed(self.children):
            self.end(child)
        if not os.environ.get("BENCH_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- upstreams ----

    def nghttpd(self):
        """h2c: /process.Process/List (16 bytes), /big (1 MiB)."""
        docroot = self.dir / "docroot"
        (docroot / "process.Process").mkdir(parents=True, exist_ok=True)
        (docroot / "process.Process" / "List").write_bytes(b'{"processes":[]}')
        (docroot / "process.Process" / "Update").write_bytes(b"x" * (1 << 20))
        port = free_port()
        self.start("nghttpd", [tool("nghttpd"), "--no-tls", "-n1", "-d", docroot, port], port=port)
        return port

    def events(self, count, period_us, size=60):
        """h2c: every request is a Start stream of `count` events (0: one, and then it stays open). See events.c."""
        port = free_port()
        file = self.dir / f"events-{port}"
        with file.open("wb") as out:
            child = subprocess.Popen([self.compiled("events"), str(port), str(count), str(period_us), str(size)], stdout=out,
                                     stderr=open(self.dir / "log" / "events.log", "ab"), stdin=subprocess.DEVNULL)
        self.children.append(child)
        self.wait_for_port("events", child, port)

        def open_streams():
            text = file.read_text().split()
            return int(text[1]) if len(text) == 3 else 0
        return port, open_streams

    def nginx_origin(self):
        """HTTP/1.1: /small, /big; an upload to /upload is read to its end and answered with the length that it announced."""
        root = self.dir / "docroot-h1"
        (root / "process.Process").mkdir(parents=True, exist_ok=True)
        (root / "small").write_bytes(b'{"processes":[]}')
        (root / "big").write_bytes(b"x" * (1 << 20))
        port = free_port()
        self.nginx("origin", f"""keepalive_requests 100000000; client_max_body_size 0;
    client_body_buffer_size 2m;
    server {{ listen 127.0.0.1:{port}; root {root}; location /upload {{ echo_read_request_body; echo -n $content_length; }} }}""", port, ["ngx_http_echo"])
        return port

    def nginx(self, name, http, port, modules=()):
        base = pathlib.Path(tempfile.mkdtemp(prefix=f"nginx-{name}-", dir=self.dir))
        load = "".join(f"load_module /usr/lib/nginx/modules/{m}_module.so; " for m in modules)
        (base / "nginx.conf").write_text(f"""{load}daemon off; master_process off; worker_processes 1; pid {base}/pid; error_log {base}/error.log warn;
events {{ worker_connections 8192; }}
http {{ access_log off; client_body_temp_path {base}/a; proxy_temp_path {base}/b; fastcgi_temp_path {base}/c; uwsgi_temp_path {base}/d;
    scgi_temp_path {base}/e; keepalive_timeout 600s; {http} }}
""")
        return self.start(f"nginx-{name}", [tool("nginx"), "-c", base / "nginx.conf"], port=port)

    def agent(self):
        port = free_port()
        self.start("guest-agent", [BIN / "guest-agent", "--listen", f"127.0.0.1:{port}"], port=port)
        return port

    def redis(self, agent):
        """Routes of computer cmp_1 and session ses_1."""
        port = free_port()
        self.start("redis", [tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.dir], port=port)
        self.redis_cli(port, "HSET", "computer:{cmp_1}", "state", "running", "agent", f"127.0.0.1:{agent}", "boot", "1")
        self.redis_cli(port, "HSET", "session:{ses_1}", "kind", "exec", "computer", "cmp_1")
        return port

    def redis_cli(self, port, *words):
        return subprocess.check_output([tool("redis-cli"), "-p", str(port), *words], text=True)

    # ---- proxies ----

    def relay(self, upstream):
        port = free_port()
        return Proxy(self.start("relay", [self.compiled("relay"), port, upstream], port=port), "floor", port)

    def nginx_grpc(self, upstream):
        """HTTP/2 on both sides; grpc_pass is the only upstream of nginx that speaks it."""
        port = free_port()
        return Proxy(self.nginx("grpc", f"""{NGINX_H2} upstream o {{ server 127.0.0.1:{upstream}; keepalive 256; {NGINX_KEEP} }}
    server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://o; }} }}""", port), "nginx", port)

    def nginx_h1(self, upstream):
        port = free_port()
        return Proxy(self.nginx("proxy", f"""keepalive_requests 100000000; client_max_body_size 0; proxy_request_buffering off;
    upstream o {{ server 127.0.0.1:{upstream}; keepalive 64; {NGINX_KEEP} }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""", port), "nginx", port)

    def nginx_tls(self):
        port = free_port()
        return Proxy(self.nginx("tls", f"""server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {self.dir}/cert.pem;
    ssl_certificate_key {self.dir}/cert.key; ssl_session_tickets on; ssl_protocols TLSv1.2 TLSv1.3; }}""", port), "nginx", port, port)

    def nginx_lua(self, redis):
        """peer.lua: token, session and route, as we have them."""
        port = free_port()
        return Proxy(self.nginx("lua", f"""{NGINX_H2} lua_package_path "{ROOT}/bench/?.lua;;";
    init_by_lua_block {{ require("peer").init("{self.dir}/sign.pub", "bench", {redis}) }}
    upstream o {{ server 0.0.0.1; balancer_by_lua_block {{ require("peer").balance() }} keepalive 256; {NGINX_KEEP} }}
    server {{ listen 127.0.0.1:{port} http2; location / {{ access_by_lua_block {{ require("peer").access() }} grpc_pass grpc://o; }} }}""",
                                port, ["ndk_http", "ngx_http_lua"]), "nginx", port)

    def ports_gateway(self, origin, prefix=()):
        """One app, published twice: straight to the origin, and through the agent's tunnel."""
        agent = self.agent()
        routes = self.dir / "ports.yaml"
        routes.write_text(f"""computers: {{cmp_1: {{state: running, agent: "127.0.0.1:{agent}", boot: "1"}}}}
hosts:
  "{DIRECT_HOST}": {{computer: cmp_1, port: {origin}, via: direct, protocol: http1, visibility: public}}
  "{TUNNEL_HOST}": {{computer: cmp_1, port: {origin}, via: agent, protocol: http1, visibility: public}}
""")
        return self.gateway(agent, prefix, routes=f'{{file: "{routes}"}}', more="ports: {domain: ports.test}")

    def must_refuse(self, proxy, token):
        """A peer that lets a broken token pass does not do our work."""
        at = token.rindex(".") + 10
        broken = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]
        for wrong in (None, broken):
            try:
                self.h2load(proxy.clear, wrong, 1, 1, 1)
            except Failure:
                continue
            raise Failure(f"{proxy.name} let a {'broken' if wrong else 'missing'} token pass")

    def haproxy(self, upstream, proto="h2", front=None, globals_="", prefix=(), name="haproxy"):
        clear, tls = free_port(), free_port()
        alpn = "alpn h2" if proto == "h2" else "alpn http/1.1"
        bind_proto = "proto h2" if proto == "h2" else ""
        config = self.dir / f"{name}-{clear}.cfg"
        config.write_text(f"""global
  nbthread 1
  maxconn 8000
  tune.ssl.default-dh-param 2048
  {globals_}
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend f
  bind 127.0.0.1:{clear} {bind_proto}
  bind 127.0.0.1:{tls} ssl crt {self.dir}/both.pem {alpn}
  {front or ""}
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:{upstream} {bind_proto}
""")
        return Proxy(self.start(name, [tool("haproxy"), "-db", "-f", config], prefix, clear), name, clear, tls)

    def nghttpx(self, upstream, proto="h2", prefix=(), streams=128):
        clear, tls = free_port(), free_port()
        process = self.start("nghttpx", [tool("nghttpx"), "--conf=/dev/null", "-n1", "--single-process", f"-f127.0.0.1,{clear};no-tls",
                                         f"-f127.0.0.1,{tls}", f"-b127.0.0.1,{upstream};;proto={'h2' if proto == 'h2' else 'http/1.1'}",
                                         f"--frontend-http2-max-concurrent-streams={streams}", "--accesslog-file=/dev/null", f"--errorlog-file={self.dir}/log/nghttpx.err",
                                         self.dir / "cert.key", self.dir / "cert.pem"], prefix, clear)
        return Proxy(process, "nghttpx", clear, tls)

    def gateway(self, agent, prefix=(), routes=None, computers=1, more="", workers=1, name="exec-gateway", homes=1):
        """`agent`: port of the agent, or several: session ses_K leads to computer cmp_K and so to the Kth; `computers`: as many routes at least; `homes`: addresses
        of this machine, 127.0.0.1 and the next ones, on which TLS is spoken: each has 28,000 ports for clients."""
        agents = agent if isinstance(agent, list) else [agent]
        clear, tls, admin = free_port(), free_port(), free_port()
        folder = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=self.dir))
        if routes is None:
            file = folder / "routes.yaml"
            with file.open("w") as out:
                out.write("computers:\n")
                for i in range(max(computers, len(agents))):
                    out.write(f'  cmp_{i + 1}: {{state: running, agent: "127.0.0.1:{agents[i % len(agents)]}", boot: "1"}}\n')
                out.write("sessions:\n")
                for i in range(len(agents)):
                    out.write(f"  ses_{i + 1}: {{kind: exec, computer: cmp_{i + 1}}}\n")
            routes = f'{{file: "{file}"}}'
        config = folder / "gateway.yaml"
        config.write_text(GATEWAY_YAML.format(dir=self.dir, clear=clear, tls=tls, admin=admin, routes=routes, more=more, workers=workers,
                                              tls_host="127.0.0.1" if homes == 1 else "0.0.0.0"))
        process = self.start(name, [BIN / "exec-gateway", "serve", "-c", config], prefix, clear)
        proxy = Proxy(process, name, clear, tls)
        proxy.config, proxy.admin = config, admin
        return proxy

    def metric(self, gateway, name):
        """The sum of a metric's values over all its labels."""
        request = urllib.request.Request(f"http://127.0.0.1:{gateway.admin}/metrics", headers={"authorization": f"Bearer {ADMIN_SECRET}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}(\{{| )", line)]
        if not values:
            raise Failure(f"no metric {name}")
        return sum(values)

    def token(self, gateway, computer="cmp_1", session="ses_1"):
        return subprocess.check_output([BIN / "exec-gateway", "token", "mint", "-c", gateway.config, "--computer", computer,
                                        "--session", session], text=True).strip()

    # ---- load ----

    def h2load(self, port, token, clients, streams, requests, path="/process.Process/List", tls=False, body=b"{}", h1=False,
               content_type="application/json", expect_bytes=None, authority=None, uris=None):
        """One run of h2load; returns body bytes per request. Every request must have succeeded with 2xx."""
        args = [tool("h2load"), f"-c{clients}", f"-m{streams}", f"-n{requests}", "-t1"]
        if h1:
            args.append("--h1")
        if body is not None:
            file = self.dir / "body"
            file.write_bytes(body)
            args += ["-d", file]
        args += ["-H", f"content-type: {content_type}"]
        if token:
            args += ["-H", f"authorization: Bearer {token}"]
        if authority:
            args += ["-H", f":authority: {authority}"]
        base = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        args += ["-i", uris, "-B", base] if uris else [base + path]
        out = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=600).stdout
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
        data = re.search(r"traffic: .*\((\d+)\) data", out)
        took = re.search(r"finished in ([\d.]+)(us|ms|s)", out)
        self.elapsed = float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]] if took else 0.0
        if not codes or int(codes[1]) != requests or not data:
            raise Failure(f"port {port} did not do the work:\n{out}")
        size = int(data[1]) // requests
        if expect_bytes is not None and size != expect_bytes:
            raise Failure(f"port {port}: {size} bytes per response instead of {expect_bytes}")
        return size


def run(main):
    try:
        return main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
