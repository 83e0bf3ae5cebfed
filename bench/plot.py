"""The ratios of a run as an SVG: one bar per case that is a ratio to the best peer or to the smaller case, a line for the spread of the
rounds, a tick for the target. No library."""
from xml.sax.saxutils import escape

LEFT, WIDTH, STEP, TOP, MOST = 430, 360, 30, 44, 2.0


def write(rows, path):
    rows = [row for row in rows if row["best"] or row["unit"] == "×"]
    height = TOP + STEP * len(rows) + 20

    def x(ratio):
        return LEFT + WIDTH * min(ratio, MOST) / MOST
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" font-family="system-ui,sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{LEFT}" y="18" font-weight="bold">CPU of exec-gateway as a ratio to the best peer of the same run (growth: to the smaller case)</text>',
           f'<text x="{LEFT}" y="34" fill="#555">left of the dashed line is cheaper; red: the target; black: the spread of the rounds</text>']
    for i, row in enumerate(rows):
        y = TOP + STEP * i
        end = x(max(row["value"], row["high"])) + 4
        out.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(row["name"])}</text>')
        out.append(f'<rect x="{LEFT}" y="{y + 3}" width="{x(row["value"]) - LEFT:.1f}" height="18" fill="{"#2e7d32" if row["met"] else "#6b8fb3"}"/>')
        out.append(f'<text x="{end:.1f}" y="{y + 16}">{row["value"]:.2f}</text>')
        out.append(f'<line x1="{x(row["low"]):.1f}" y1="{y + 12}" x2="{x(row["high"]):.1f}" y2="{y + 12}" stroke="black"/>')
        if row["target"] is not None:
            out.append(f'<rect x="{x(row["target"]) - 1:.1f}" y="{y}" width="2" height="24" fill="#c62828"/>')
    out.append(f'<line x1="{x(1)}" y1="{TOP - 4}" x2="{x(1)}" y2="{height - 16}" stroke="#333" stroke-dasharray="3 3"/>')
    path.write_text("\n".join(out) + "\n</svg>\n")
