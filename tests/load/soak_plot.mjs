// tests/load/soak_plot.mjs — the gateway's memory and descriptors over time, with the faults as lines, as one SVG.
const WIDTH = 1200;
const PANEL = 220;
const LEFT = 80;

function panel(samples, marks, { title, valueOf, top }) {
    const [start, end] = [samples[0].t, samples.at(-1).t];
    const most = Math.max(...samples.map(valueOf)) * 1.1;
    const x = (t) => LEFT + (WIDTH - LEFT - 20) * (t - start) / Math.max(1, end - start);
    const y = (value) => top + PANEL - PANEL * value / most;
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => `<text x="${LEFT - 8}" y="${y(share * most) + 4}" text-anchor="end">${Math.round(share * most)}</text><line x1="${LEFT}" x2="${WIDTH - 20}" y1="${y(share * most)}" y2="${y(share * most)}" stroke="#ddd"/>`);
    const minutes = Array.from({ length: Math.floor((end - start) / 300000) + 1 }, (_, i) => `<text x="${x(start + i * 300000)}" y="${top + PANEL + 16}" text-anchor="middle">${i * 5} min</text>`);
    const lines = marks.map((mark) => `<line x1="${x(mark.from)}" x2="${x(mark.from)}" y1="${top}" y2="${top + PANEL}" stroke="#c55" stroke-opacity="0.35"><title>${mark.name}</title></line>`);
    const path = samples.map((s, i) => `${i ? 'L' : 'M'}${x(s.t).toFixed(1)},${y(valueOf(s)).toFixed(1)}`).join('');
    return `<text x="${LEFT}" y="${top - 8}" font-weight="bold">${title}</text>${ticks.join('')}${minutes.join('')}${lines.join('')}<path d="${path}" fill="none" stroke="#25c" stroke-width="1.5"/>`;
}

/** `samples`: [{ t, rssKiB, fds }], `marks`: [{ name, from }]; times in ms. */
export function soakPlot(samples, marks) {
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${2 * PANEL + 140}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>${
        panel(samples, marks, { title: 'resident memory of the gateway, MiB (red: faults)', valueOf: (s) => s.rssKiB / 1024, top: 40 })}${
        panel(samples, marks, { title: 'open descriptors of the gateway', valueOf: (s) => s.fds, top: 40 + PANEL + 60 })}</svg>\n`;
}
