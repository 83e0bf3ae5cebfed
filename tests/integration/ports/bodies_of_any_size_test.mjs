// Gigabytes through a port host in both directions: nothing is kept in the gateway or the agent. PORTS_BYTES sets the length (10 GiB by hand).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { Rig, isSanitized, rssKiB, sleep } from '../../support/harness.mjs';

const rig = new Rig();
const HOST = 'app--box.computer.test';
const BYTES = Number(process.env.PORTS_BYTES ?? (isSanitized ? 100_000_000 : 2 ** 30));
const GROWTH_KIB = isSanitized ? 64 * 1024 : 16 * 1024;
let gateway, agent;

before(async () => {
    // A sanitizer keeps freed memory back; a small quarantine makes growth a finding there too.
    const env = { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:quarantine_size_mb=4` };
    agent = await rig.startAgent([], { env: { ...process.env, ...env } });
    const app = await rig.startApp('bodies');
    gateway = await rig.startPortsGateway({ agent, hosts: { [HOST]: { port: app.port, visibility: 'public' } }, env });
});
after(() => rig.stop());

/** Runs curl, feeding it `BYTES` zeros when it uploads; tells its output, seconds, and how much gateway and agent grew at most. */
async function watchedCurl(args, isUpload) {
    const base = { gateway: rssKiB(gateway.pid), agent: rssKiB(agent.pid) };
    const most = { gateway: 0, agent: 0 };
    const began = performance.now();
    const curl = spawn('curl', ['-sS', '--fail', '-k', '--max-time', process.env.PORTS_BYTES ? '1800' : '280', '--connect-to', `::127.0.0.1:`, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (isUpload) createReadStream('/dev/zero', { end: BYTES - 1, highWaterMark: 1 << 20 }).pipe(curl.stdin).on('error', () => {});
    else curl.stdin.end();
    let output = '';
    curl.stdout.on('data', (part) => { output += part; });
    let code = null;
    curl.on('close', (status) => { code = status; });
    while (code === null) {
        most.gateway = Math.max(most.gateway, rssKiB(gateway.pid) - base.gateway);
        most.agent = Math.max(most.agent, rssKiB(agent.pid) - base.agent);
        await sleep(20);
    }
    const seconds = (performance.now() - began) / 1000;
    assert.equal(code, 0, `curl ended with ${code}`);
    process.stdout.write(`# ${args.at(-1).split('?')[0]} ${BYTES} bytes in ${seconds.toFixed(1)} s, ${(BYTES / seconds / 1e6).toFixed(0)} MB/s; ` +
        `grew by at most: gateway ${most.gateway} KiB (to ${base.gateway + most.gateway}), agent ${most.agent} KiB\n`);
    for (const [who, kib] of Object.entries(most)) assert.ok(kib < GROWTH_KIB, `${who} grew by ${kib} KiB`);
    return output;
}

for (const [name, flags, scheme] of [['HTTP/1.1 clear', ['--http1.1'], 'http'], ['HTTP/2 TLS', ['--http2'], 'https']]) {
    const url = (path) => `${scheme}://${HOST}:${scheme === 'http' ? gateway.clear : gateway.tls}${path}`;

    test(`download, ${name}`, async () => {
        const out = await watchedCurl([...flags, '-o', '/dev/null', '-w', '%{size_download} %{http_version}', url(`/file?bytes=${BYTES}`)], false);
        assert.equal(out, `${BYTES} ${scheme === 'http' ? '1.1' : '2'}`);
    });

    test(`upload, ${name}`, async () => {
        const out = await watchedCurl([...flags, '-T', '-', '-H', 'Expect:', url('/sink')], true);
        assert.equal(out, JSON.stringify({ bytes: BYTES }));
    });
}
