"""What exec-load says with its exit code and its report: a broken threshold fails, a wrong scenario is refused with its place, SIGINT
ends a run cleanly with a report, a target that is not there is an error of each call and not of the program."""
import json, os, pathlib, signal, subprocess, sys, tempfile, time, unittest

build = pathlib.Path(sys.argv.pop(1)).resolve()
here = pathlib.Path(__file__).resolve().parent
LOADS = "loads: [{name: list, kind: unary, connections: 2, rate: 20}]\n"


class Verdict(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="exec-load-test-")
        self.report = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, text):
        path = self.report / "case.yaml"
        path.write_text(text)
        return path

    def run_local(self, text, *more):
        return subprocess.run([sys.executable, here / "run", self.write(text), "--build", build, "--report", self.report, *more],
                              capture_output=True, text=True, timeout=60)

    def json(self):
        return json.loads(next(self.report.glob("*.json")).read_text())

    def test_a_threshold_that_does_not_hold_fails_the_run(self):
        done = self.run_local("name: case\nduration: 2s\n" + LOADS + "thresholds: [list.errors <= 0, list.p50_ms < 0.001]\n")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("FAIL  list.p50_ms < 0.001", done.stdout)
        self.assertEqual([t["holds"] for t in self.json()["thresholds"]], [True, False])
        self.assertFalse(self.json()["passed"])

    def test_thresholds_that_hold_pass_and_the_report_has_the_numbers(self):
        done = self.run_local("name: case </script>\nduration: 2s\n" + LOADS + "thresholds: [list.errors <= 0, list.done >= 30]\n")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        load = self.json()["loads"][0]
        self.assertEqual(load["numbers"]["done"], 40)
        self.assertEqual(load["numbers"]["started"], 40)
        self.assertGreater(self.json()["gateway"]["rss_max_mib"], 1)
        page = next(self.report.glob("*.html")).read_text()
        self.assertEqual(page.count("</script>"), 1)
        self.assertNotIn("http://www.", page.replace("http://www.w3.org/2000/svg", ""))

    def test_sigint_ends_a_run_with_a_report(self):
        child = subprocess.Popen([sys.executable, here / "run", self.write("name: long\nduration: 10m\n" + LOADS), "--build", build, "--report",
                                  self.report], stdout=subprocess.PIPE, text=True)
        for line in child.stdout:
            if "2s" in line:
                break
        child.send_signal(signal.SIGINT)
        out = child.stdout.read()
        self.assertEqual(child.wait(30), 0, out)
        child.stdout.close()
        self.assertTrue(self.json()["stopped_early"])
        self.assertEqual(self.json()["loads"][0]["numbers"]["errors"], 0)

    def test_a_wrong_scenario_names_its_place(self):
        for text, words in [("name: x\nloads:\n  - {name: a, kind: unary, rate: 1, color: red}\n", ':3:37: loads: unknown key "color"'),
                            ("name: x\nloads:\n  - {name: a, kind: blue, rate: 1}\n", "expected one of unary, stream"),
                            ("name: x\nloads:\n  - {name: a, kind: unary}\n", "rate: how many a second?"),
                            ("duration: 5\n" + LOADS, "expected a duration"),
                            (LOADS + "thresholds: [list.p98_ms < 1]\n", "there is no number list.p98_ms"),
                            (LOADS + "thresholds: [list.p99_ms == 1]\n", "LOAD.METRIC < NUMBER"),
                            ("loads: [\n", "case.yaml:")]:
            done = subprocess.run([build / "exec-load", "--check", "--scenario", self.write(text)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(words, done.stderr)

    def test_a_target_that_is_not_there_is_an_error_of_each_call(self):
        tokens = self.report / "tokens"
        tokens.write_text("not-a-token\n")
        done = subprocess.run([build / "exec-load", "--scenario", self.write("name: x\nduration: 1s\n" + LOADS + "thresholds: [list.errors <= 0]\n"),
                               "--url", "http://127.0.0.1:1", "--tokens", tokens, "--json", self.report / "out.json"], capture_output=True,
                              text=True, timeout=30)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(sum(self.json()["loads"][0]["errors_by_code"].values()), 20)

    def test_every_scenario_reads(self):
        for path in (here / "scenarios").glob("*.yaml"):
            self.assertEqual(subprocess.run([build / "exec-load", "--check", "--scenario", path]).returncode, 0, path)


unittest.main(verbosity=2)
