"""exec-load against what is there already, as against a deployment: a URL, given tokens, CPU and memory from /metrics, several threads; and
what its CPU time is counted for."""
import argparse, importlib.machinery, importlib.util, json, pathlib, shutil, socket, subprocess, sys, tempfile, unittest

build = pathlib.Path(sys.argv.pop(1)).resolve()
here = pathlib.Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("run", str(here / "run"))
sys.dont_write_bytecode = True
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)

SECRET = "secret-of-the-admin-listener"
CALLS = "name: case\nduration: 2s\nloads: [{name: list, kind: unary, connections: 3, rate: 50}]\nthresholds: [list.errors <= 0, list.done >= 100]\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Target(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="exec-load-target-"))
        (cls.work / "secret").write_text(SECRET + "\n")
        (cls.work / "secret").chmod(0o600)
        (cls.work / "other").write_text("another-secret-altogether\n")
        (cls.work / "scenario.yaml").write_text("computers: 2\nsessions_per_computer: 2\n")
        cls.admin = f"127.0.0.1:{free_port()}"
        args = argparse.Namespace(scenario_file=cls.work / "scenario.yaml", workers=1, access_log=False, redis=False)
        try:
            told = run.start_local(args, cls.work, build, {"admin": {"address": cls.admin, "secret_file": str(cls.work / "secret")}})
        except BaseException:
            run.stop_all()
            raise
        told = dict(zip(told[::2], told[1::2]))
        cls.url, cls.tls_url, cls.ca, cls.pid = told["--url"], told["--tls-url"], told["--ca"], told["--gateway-pid"]
        mint = [build / "exec-gateway", "token", "mint", "--issuer", run.ISSUER, "--alg", "ES256", "--kid", run.KID, "--key", told["--key"],
                "--user", "usr_load"]

        def token(*more):
            return subprocess.run([*mint, *more], check=True, capture_output=True, text=True).stdout.strip()

        cls.tokens = [token("--computer", f"cmp_load_{c}", "--session", f"ses_load_{c}_0") for c in range(2)]
        cls.access = [token("--kind", "browser", "--computer", "cmp_load_0", "--session", "acc_load_0_0")]
        (cls.work / "tokens").write_text("# of two computers\n" + "\n".join(cls.tokens) + "\n")
        (cls.work / "access-tokens").write_text(cls.access[0] + "\n")

    @classmethod
    def tearDownClass(cls):
        run.stop_all()
        shutil.rmtree(cls.work)

    def drive(self, text, *more, code=0):
        """Returns (standard error, report)."""
        report = self.work / "report"
        shutil.rmtree(report, ignore_errors=True)
        (self.work / "case.yaml").write_text(text)
        done = subprocess.run([sys.executable, here / "run", self.work / "case.yaml", "--build", build, "--report", report, *map(str, more)],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        files = list(report.glob("*"))
        for file in files:
            for secret in [SECRET, *self.tokens, *self.access]:
                self.assertNotIn(secret, file.read_text())
        return done.stderr, next((json.loads(f.read_text()) for f in files if f.suffix == ".json"), None)

    def known(self, report):
        self.assertGreater(report["gateway"]["rss_max_mib"], 1)
        self.assertGreaterEqual(report["gateway"]["cpu_s"], 0)
        self.assertIsNotNone(report["gateway"]["cpu_us_per_call"])

    def test_a_url_given_tokens_and_metrics_with_a_secret(self):
        _, report = self.drive(CALLS, "--url", self.url, "--tokens", self.work / "tokens", "--metrics", self.admin, "--metrics-secret",
                               self.work / "secret")
        self.assertEqual(report["loads"][0]["numbers"]["done"], 100)
        self.assertEqual(report["target"], self.url)
        self.known(report)

    def test_a_wrong_secret_and_a_wrong_place_are_said_before_the_run(self):
        for more in [["--metrics", self.admin], ["--metrics", self.admin, "--metrics-secret", self.work / "other"],
                     ["--metrics", f"127.0.0.1:{free_port()}"]]:
            error, _ = self.drive(CALLS, "--url", self.url, "--tokens", self.work / "tokens", *more, code=2)
            self.assertIn("no CPU and memory there", error)

    def test_metrics_on_a_unix_socket(self):
        config = json.loads((self.work / "gateway.yaml").read_text())
        config["admin"] = {"address": f"unix:{self.work}/admin.sock"}
        (self.work / "second.yaml").write_text(json.dumps(config))
        with open(self.work / "second.log", "w+") as log:
            gateway = run.start("second", [build / "exec-gateway", "serve", "-c", self.work / "second.yaml"], log)
            port = run.wait_for(log, r"listening address=127\.0\.0\.1:(\d+)", "exec-gateway", gateway)[0]
        _, report = self.drive(CALLS, "--url", f"http://127.0.0.1:{port}", "--tokens", self.work / "tokens", "--metrics",
                               f"unix:{self.work}/admin.sock")
        self.known(report)

    def test_tls_by_name_and_ports_with_given_tokens(self):
        port = self.tls_url.rsplit(":", 1)[1]
        text = ("name: case\nduration: 2s\nloads:\n  - {name: list, kind: unary, tls: true, connections: 2, rate: 20}\n"
                "  - {name: page, kind: http, tls: true, protocol: h1, connections: 2, rate: 20, authority: private--load0.computer.load, auth: cookie}\n"
                "thresholds: [list.errors <= 0, page.errors <= 0, page.done >= 40]\n")
        self.drive(text, "--tls-url", f"https://localhost:{port}", "--authority", "exec.computer.load", "--ca", self.ca, "--tokens",
                   self.work / "tokens", "--access-tokens", self.work / "access-tokens")

    def test_what_is_missing_or_double_is_said(self):
        tokens = ["--tokens", self.work / "tokens"]
        for more, words in [(["--url", self.url], "list needs --tokens or --key"), (["--url", "127.0.0.1:1", *tokens], "expected http:// or https://"),
                            (["--url", self.url, "--tls-url", self.url, *tokens], "expected one http:// and one https://"),
                            (["--url", "http://a:b@127.0.0.1:1", *tokens], "not into the URL"),
                            (["--url", self.url, "--tokens", self.work / "none"], "No such file"),
                            (["--url", "http://no.such.host.invalid", *tokens], "no such host")]:
            error, _ = self.drive(CALLS, *more, code=2)
            self.assertIn(words, error)

    def test_threads_share_the_load(self):
        _, report = self.drive("name: case\nduration: 3s\nloads:\n  - {name: list, kind: unary, connections: 5, rate: 100}\n"
                               "  - {name: held, kind: stream, connections: 4, sessions: 7, open_over: 1s, events: 5, bytes: 32}\n"
                               "thresholds: [list.errors <= 0, held.errors <= 0, held.open_max >= 7]\n", "--url", self.url, "--tokens",
                               self.work / "tokens", "--threads", "3", "--gateway-pid", self.pid)
        self.assertEqual(report["threads"], 3)
        self.assertEqual(report["loads"][0]["numbers"]["done"], 300)
        self.assertEqual(report["loads"][1]["numbers"]["done"], 7)
        self.assertGreater(report["loads"][1]["numbers"]["events"], 50)

    def test_the_cpu_time_of_the_warm_up_is_not_that_of_the_calls_that_count(self):
        _, report = self.drive("name: case\nduration: 4s\nwarmup: 2s\nloads:\n  - {name: before, kind: unary, connections: 4, rate: 1500, for: 1500ms}\n"
                               "  - {name: list, kind: unary, connections: 1, rate: 20}\n", "--url", self.url, "--tokens", self.work / "tokens",
                               "--gateway-pid", self.pid)
        self.assertEqual([load["numbers"]["done"] for load in report["loads"]], [0, 40])
        warm = sum(row[0] for row in report["process_series"]["rows"][:2])
        self.assertGreater(warm, 0.03)
        self.assertLess(report["gateway"]["cpu_s"], warm / 2)
        self.assertAlmostEqual(report["gateway"]["cpu_us_per_call"], report["gateway"]["cpu_s"] * 1e6 / 40, delta=1)


class Redis(unittest.TestCase):
    @unittest.skipUnless(shutil.which("redis-server"), "no redis-server")
    def test_a_local_run_with_routes_from_redis(self):
        with tempfile.TemporaryDirectory(prefix="exec-load-redis-") as folder:
            for scenario in ["unary", "ports"]:
                done = subprocess.run([sys.executable, here / "run", scenario, "--smoke", "--redis", "--threads", "2", "--build", build, "--report",
                                       folder], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


unittest.main(verbosity=2, warnings="ignore")
