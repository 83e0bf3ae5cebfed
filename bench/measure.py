"""How a case measures and what a row of the table is. cases.py and states.py have the cases."""
import statistics, sys
from concurrent.futures import ThreadPoolExecutor

from rig import Rig, cpu_ns

OURS = "exec-gateway"
NOT_PEERS = ("floor", "direct", OURS)


def middle(values):
    return statistics.median(values)


SLICES = 4  # of a round's work


class Bench:
    """One run: the rig, how much work, the rows so far."""

    def __init__(self, rounds, scale):
        self.rig, self.rounds, self.scale = Rig(), rounds, scale
        self.rows, self.made = [], {}
        self.next_token = 0

    def once(self, name, make):
        """What several cases share, made by the first that asks."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def size(self, count, least=1):
        """Units of work of this run: all of them, or the part that --quick and --scale leave."""
        return max(int(count * self.scale), least)

    def share(self, count, least=1):
        """The same for work that compare() lets each proxy do in slices."""
        return max(int(count * self.scale / SLICES), least)

    def relay(self, upstream):
        return self.rig.relay(upstream)

    def together(self, work, proxies):
        """For warming with work that takes its time whoever does it."""
        with ThreadPoolExecutor(len(proxies)) as pool:
            list(pool.map(work, proxies))

    def compare(self, name, target, unit, proxies, work, divisor=1, warm=True, slices=SLICES):
        """CPU per unit of each proxy. `work(proxy)` does a slice and returns how many units it was; proxies in turn, slice after slice:
        what disturbs the machine lasts for seconds, and should meet all of them. The ratio is ours to the best peer's;
        its spread is that of the slices, each with the same slice of that peer."""
        cpu, rates = {}, {}
        if warm:
            for proxy in proxies:
                work(proxy)
        for _ in range(self.rounds * slices):
            for proxy in proxies:
                before = cpu_ns(proxy.pid) if proxy.pid else 0
                count = work(proxy)
                if proxy.pid:
                    cpu.setdefault(proxy.name, []).append((cpu_ns(proxy.pid) - before) / count / divisor)
                if self.rig.elapsed:
                    rates.setdefault(proxy.name, []).append(count / self.rig.elapsed)
        peers = {p: middle(v) for p, v in cpu.items() if p not in NOT_PEERS}
        best = min(peers, key=peers.get) if peers else None
        ratios = [ours / peer for ours, peer in zip(cpu[OURS], cpu[best])] if best else []
        value = middle(cpu[OURS]) / peers[best] if best else middle(cpu[OURS])
        self.row(name, target, unit, cpu, value, ratios or cpu[OURS], best=best, rates={p: middle(v) for p, v in rates.items()})

    def growth(self, name, target, few, many):
        """Each of the two is (proxy, work); the value is how many times more CPU per unit the second takes."""
        cpu = {"few": [], "many": []}
        for turn in range(3 * self.rounds + 1):  # the first warms; many short turns, since a ratio near 1 is to be seen
            for kind, (proxy, work) in (("few", few), ("many", many)):
                before = cpu_ns(proxy.pid)
                count = work(proxy)
                if turn > 0:
                    cpu[kind].append((cpu_ns(proxy.pid) - before) / count)
        ratios = [after / before for before, after in zip(cpu["few"], cpu["many"])]
        self.row(name, target, "×", {OURS: ratios}, middle(ratios), ratios)

    def row(self, name, target, unit, samples, value, values=(), best=None, rates=None):
        """`value` is what the target (a number, or None: report only) is about, `values` the same of each round; `best`: value is a
        ratio to this peer."""
        met = None if target is None else value <= target
        row = dict(name=name, unit=unit, target=target, value=value, low=min(values, default=value), high=max(values, default=value), best=best,
                   met=met, medians={p: middle(v) for p, v in samples.items()}, samples=samples, rates=rates or {})
        self.rows.append(row)
        print(f"  {name}: " + ", ".join(f"{p} {m:.2f}" for p, m in row["medians"].items()) + f" {unit}; {said(row)}; target {aim(row)}",
              file=sys.stderr)


def number(value):
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.2f}"


def said(row):
    """The measured value with its spread."""
    spread = f"{number(row['low'])} – {number(row['high'])}" if row["low"] != row["high"] else ""
    return number(row["value"]) + (f" ({', '.join(filter(None, (row['best'], spread)))})" if row["best"] or spread else "")


def aim(row):
    if row["target"] is None:
        return "report"
    unit = "" if row["best"] or row["unit"] == "×" else f" {row['unit']}"
    return f"≤ {row['target']:g}{unit}"
