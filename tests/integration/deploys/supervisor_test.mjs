// What a supervisor sees and gives: socket activation, sd_notify at start, reload, upgrade and stop; a bad reload; a loop that stands still;
// memory that runs short; too many connections of one address.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import { Child, Rig, freePort, gatewayBin, isSanitized, sleep, until } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';
import { Generations } from '../../support/generations.mjs';

const rig = new Rig();
after(() => rig.stop());

/** NOTIFY_SOCKET: what a gateway says to systemd, from a small Python receiver (Node has no Unix datagrams). */
async function notifySocket(name) {
    const path = rig.path(`${name}.notify`);
    const receiver = rig.start('notify', 'python3', ['-u', '-c', `
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(${JSON.stringify(path)}); print("bound")
while True: print(s.recv(4096).decode().replace("\\n", " "))`]);
    await receiver.line(/bound/);
    return { path, receiver };
}

test('systemd is told: ready, reloading, the successor, stopping; and that we live', async () => {
    const agent = await rig.startAgent();
    const { path, receiver } = await notifySocket('all');
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '900000' } });
    const generations = new Generations(gateway);
    await receiver.line(/^READY=1$/m);
    await receiver.line(/^WATCHDOG=1$/m);
    generations.signal('SIGHUP');
    await receiver.line(/^RELOADING=1 MONOTONIC_USEC=\d+$/m);
    await until(() => receiver.out.match(/^READY=1$/mg).length === 2, 'READY after the reload');
    await generations.upgrade();
    assert.equal((await receiver.line(/^READY=1 MAINPID=(\d+)$/m))[1], String(generations.pid));
    await generations.alone();
    assert.doesNotMatch(receiver.out, /STOPPING/, 'the service goes on');
    const lives = receiver.out.split('WATCHDOG=1').length;
    await until(() => receiver.out.split('WATCHDOG=1').length > lives + 1, 'the successor lives');
    await generations.stop();
    await receiver.line(/^STOPPING=1$/m);
});

for (const workers of [1, 3])
    test(`socket activation, ${workers} worker(s)`, async () => {
        const agent = await rig.startAgent();
        const port = await freePort();
        const config = rig.write(`activated-${workers}.yaml`, JSON.stringify({
            workers, drain_timeout: '5s', listeners: [{ address: `127.0.0.1:${port}` }], exec: { hosts: ['*'] },
            auth: { issuer: 'https://control.test', keys: [{ kid: 'test-1', alg: 'ES256', file: rig.keyFile }] },
            upstream: { allow: ['127.0.0.0/8'] }, log: { access: 'off' },
            routes: { source: 'file', file: rig.write('activated.routes.yaml', JSON.stringify(rig.routesFor(agent))) },
        }));
        // systemd-socket-activate listens, waits for the first client, and becomes the gateway.
        const gateway = rig.start(`gateway-activated-${workers}`, 'systemd-socket-activate', ['-l', `127.0.0.1:${port}`, '-E', `ASAN_OPTIONS=${process.env.ASAN_OPTIONS ?? ''}`, gatewayBin, 'serve', '-c', config]);
        await gateway.line(/Listening on/);
        const first = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(30000) });
        assert.equal(first.status, 200, 'the client that waited in the queue is served');
        for (let i = 0; i < 20; i++) assert.equal((await fetch(`http://127.0.0.1:${port}/health`, { headers: { connection: 'close' } })).status, 200);
        assert.doesNotMatch(gateway.err, /cannot listen|no listener/);
        assert.equal((await gateway.stop()).code, 0);
    });

test('a bad file, or a change that needs a restart, changes nothing and says why', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent) });
    const good = readFileSync(gateway.configFile, 'utf8');
    const refused = async (from, to, pattern) => {
        gateway.err = '';
        writeFileSync(gateway.configFile, good.replace(from, to));
        gateway.kill('SIGHUP');
        await gateway.line(/reload refused/);
        assert.match(gateway.err, pattern);
        assert.equal((await fetch(`${gateway.url}/health`)).status, 200);
    };
    await refused('"workers": 2', '"workers": 2, "wrokers": 3', /yaml:\d+:\d+: /);
    await refused('"workers": 2', '"workers": 3', /workers: changes only with a restart, or with SIGUSR2/);
    await refused('"127.0.0.0/8"', '"127.0.0.0/9"', /upstream\.allow: changes only/);
    await refused('"address": "127.0.0.1:0"', '"address": "127.0.0.1:0", "tls": false, "proxy_protocol": true, "proxy_protocol_from": ["127.0.0.1"]', /listeners: changes only/);
    await refused('"kid": "test-1"', '"kid": "test-1", "file": "/nonexistent"', /file: stands twice/);
    writeFileSync(gateway.configFile, good.replace('"workers": 2', '"workers": 2, "limits": {"connections_per_address": 7}'));
    gateway.kill('SIGHUP');
    await gateway.line(/gateway: reloaded/);
});

test('connections of one address are limited in the whole process, whichever worker has them', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { workers: 3, limits: { connections_per_address: 20 } } });
    let closed = 0;
    const sockets = Array.from({ length: 50 }, () => {
        const socket = netConnect(gateway.port, '127.0.0.1');
        socket.on('close', () => { closed++; }).on('error', () => {}).resume();
        return socket;
    });
    await until(() => closed === 30, `30 of 50 are closed (now ${closed})`);
    await sleep(200);
    assert.equal(closed, 30);
    assert.match(gateway.err, /too many connections of one address/);
    for (const socket of sockets) socket.destroy();
    await until(async () => { try { return (await fetch(`${gateway.url}/health`)).ok; } catch { return false; } }, 'room again');
});

test('a loop that stands still ends the process, with the stack that it stands in', { skip: isSanitized ? 'ptrace and LeakSanitizer exclude each other' : false }, async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { watchdog: '2s' } });
    const threads = readdirSync(`/proc/${gateway.pid}/task`).map(Number).filter((tid) => tid !== gateway.pid);
    // A tracer stops one thread alone, as a loop without end or a stuck system call would.
    rig.start('tracer', 'python3', ['-c', `
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
tid = ${threads.at(-1)}
assert libc.ptrace(0x4206, tid, None, None) == 0, ctypes.get_errno()
assert libc.ptrace(0x4207, tid, None, None) == 0, ctypes.get_errno()
time.sleep(30)`]);
    const result = await gateway.exit;
    assert.equal(result.signal, 'SIGABRT');
    assert.match(gateway.err, /watchdog: a worker's loop stands still/);
});

test('memory that runs short: new calls are refused, then nothing is accepted; a reload with room ends it', async () => {
    const agent = await rig.startAgent();
    const admin = new Admin({ socketPath: rig.path('memory.sock') });
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { admin: { address: `unix:${rig.path('memory.sock')}` } } });
    const good = readFileSync(gateway.configFile, 'utf8');
    const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))[1]) * 1024;
    const list = () => fetch(`${gateway.url}/process.Process/List`, { method: 'POST', headers: { authorization: `Bearer ${rig.token()}`, 'content-type': 'application/json' }, body: '{}', signal: AbortSignal.timeout(3000) });
    const withMemory = (bytes) => { writeFileSync(gateway.configFile, good.replace('"workers": 2', `"workers": 2, "limits": {"memory": ${Math.round(bytes)}}`)); gateway.kill('SIGHUP'); };
    assert.equal((await list()).status, 200);
    for (let i = 0; i < 20 && !/at or above 90%/.test(gateway.err); i++) { // each reload moves what is measured a little
        withMemory(rss() * 100);
        await sleep(400);
        withMemory(rss() / 0.92);
        await sleep(600);
    }
    assert.match(gateway.err, /memory: at or above 90%/);
    withMemory(rss() / 0.92);
    await sleep(600);
    const refused = await list();
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('x-gateway-error'), 'overloaded');
    assert.ok(refused.headers.get('retry-after'));
    withMemory(rss() / 2);
    await gateway.line(/memory: at or above 95%/);
    for (const percent of ['80', '90', '95'])
        assert.ok(await admin.metric('exec_gateway_memory_pressure_total', { percent }) >= 1, percent);
    assert.ok(await admin.metric('exec_gateway_connections_closed_total', { reason: 'memory' }) >= 1, 'the idle connection of fetch() ends');
    gateway.err = '';
    withMemory(rss() * 100);
    await gateway.line(/memory: enough again/);
    await until(async () => { try { return (await list()).status === 200; } catch { return false; } }, 'served again');
});
