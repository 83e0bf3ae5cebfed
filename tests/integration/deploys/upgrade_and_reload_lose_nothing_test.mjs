// SIGUSR2 and SIGHUP again and again under mixed load: no request fails, no stream is cut, at most two generations live.
// By hand: UPGRADES=20 RELOADS=100 node --test <this file>.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Rig, isSanitized, sleep, until } from '../../support/harness.mjs';
import { Generations } from '../../support/generations.mjs';
import { startLoad } from '../../support/mixed_load.mjs';

const UPGRADES = Number(process.env.UPGRADES ?? (isSanitized ? 2 : 4));
const RELOADS = Number(process.env.RELOADS ?? 10);
const rig = new Rig();
let gateway, generations, agent, ports;

before(async () => {
    agent = await rig.startAgent();
    const app = await rig.startApp('app');
    const grpc = await rig.startApp('grpc', { file: 'grpc_app.mjs' });
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            'app--box.computer.test': { port: app.port, visibility: 'public' },
            'grpc--box.computer.test': { port: grpc.port, visibility: 'public', protocol: 'h2c' },
        },
        config: { exec: { hosts: ['*'] }, drain_timeout: '10s', admin: { address: `unix:${rig.path('admin.sock')}` } },
    });
    generations = new Generations(gateway);
    ports = { port: gateway.clear, app: 'app--box.computer.test', grpc: 'grpc--box.computer.test' };
});
after(async () => {
    try { await generations?.stop(); } finally { await rig.stop(); }
});

const load = () => startLoad({ url: `http://127.0.0.1:${gateway.clear}`, token: rig.token(), ports });

function report(t, { done, failures }) {
    t.diagnostic(JSON.stringify(done));
    assert.deepEqual(failures, []);
    for (const [name, count] of Object.entries(done)) assert.ok(count > 0, `${name} did nothing`);
}

test(`${UPGRADES} upgrades`, async (t) => {
    const running = load();
    await sleep(500);
    const fds = [];
    for (let i = 0; i < UPGRADES; i++) {
        await generations.upgrade();
        await generations.alone();
        await sleep(300);
        fds.push(generations.fds());
    }
    await sleep(500);
    report(t, await running.stop());
    t.diagnostic(`descriptors by generation: ${fds}`);
    assert.equal(generations.most, 2);
    assert.ok(fds.at(-1) < fds[0] + 60, `descriptors pile up: ${fds}`);
});

test(`${RELOADS} reloads`, async (t) => {
    const running = load();
    await sleep(500);
    const reloaded = () => gateway.err.split('gateway: reloaded').length - 1;
    for (let i = 0; i < RELOADS; i++) {
        const before = reloaded();
        generations.signal('SIGHUP');
        await until(() => reloaded() > before, 'reload');
        await sleep(50);
    }
    await sleep(500);
    report(t, await running.stop());
});

test('an upgrade that cannot start leaves the old one serving, and says why', async () => {
    const good = readFileSync(gateway.configFile, 'utf8');
    const { pid } = generations;
    writeFileSync(gateway.configFile, good.replace('"workers": 2', '"workers": "many"'));
    generations.signal('SIGUSR2');
    await until(() => /upgrade: failed, the new program ended before it served/.test(gateway.err), 'failure');
    assert.match(gateway.err, /yaml:\d+:\d+: workers: expected/);
    writeFileSync(gateway.configFile, good);
    assert.equal((await fetch(`http://127.0.0.1:${gateway.clear}/health`)).status, 200);
    assert.equal(generations.pid, pid);
    await generations.upgrade(); // and the next one works
    await generations.alone();
});

test('another number of workers, more and fewer, takes all sockets along', async (t) => {
    const good = readFileSync(gateway.configFile, 'utf8');
    const running = load();
    for (const workers of [5, 1, 2]) {
        writeFileSync(gateway.configFile, good.replace('"workers": 2', `"workers": ${workers}`));
        await generations.upgrade();
        await generations.alone();
        await sleep(300);
    }
    report(t, await running.stop());
    writeFileSync(gateway.configFile, good);
});

test('while the previous generation drains, the next upgrade waits for it', async () => {
    const controller = new AbortController();
    const open = fetch(`http://127.0.0.1:${gateway.clear}/process.Process/Start`, {
        method: 'POST', signal: controller.signal, headers: { authorization: `Bearer ${rig.token()}`, 'content-type': 'application/json', accept: 'application/x-ndjson' },
        body: JSON.stringify({ command: ['sleep', '60'] }),
    });
    const response = await open;
    await generations.upgrade();
    const before = gateway.err.split('upgrade: started').length;
    generations.signal('SIGUSR2');
    await until(() => /upgrade: waits until the previous generation has ended/.test(gateway.err), 'the wait');
    await sleep(500);
    assert.equal(gateway.err.split('upgrade: started').length, before);
    assert.equal(generations.alive(), 2);
    controller.abort();
    await response.text().catch(() => {});
    await until(() => gateway.err.split('upgrade: started').length > before, 'the upgrade that waited');
    const served = () => [...gateway.err.matchAll(/the new program serves pid=(\d+)/g)].map((m) => Number(m[1])).at(-1);
    await until(() => served() !== generations.pid, 'it serves', 30000);
    generations.pids.push(served());
    await generations.alone();
    assert.equal(generations.most, 2);
});
