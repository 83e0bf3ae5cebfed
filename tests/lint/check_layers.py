"""Every include in gateway/ points to the same layer or to one that gateway/layers.txt allows."""
import pathlib, re, sys

root = pathlib.Path(__file__).resolve().parents[2] / "gateway"
allowed = {}
for line in (root / "layers.txt").read_text().splitlines():
    layer, _, below = line.partition(":")
    allowed[layer.strip()] = set(below.split()) | {layer.strip()}

wrong = []
for layer, may_use in allowed.items():
    for path in sorted((root / layer).rglob("*.[ch]")):
        for used in re.findall(r'#include "(\w+)/', path.read_text()):
            if used not in may_use:
                wrong.append(f"{path.relative_to(root.parent)}: {layer} may not include {used}")
sys.exit("\n".join(wrong) or 0)
