// Slow peers, full houses and PROXY headers of strangers: each has a deadline or a bound, and the loop never spins.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import { once } from 'node:events';
import { Admin } from '../support/admin.mjs';
import { rawExchange, rssKiB, sleep, until, gatewayBin, isSanitized } from '../support/harness.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { F, H2Raw, T, frame, hpack, setting } from './h2_raw.mjs';

const rig = new AttackRig();
const admin = new Admin({ socketPath: rig.path('admin.sock') });

before(() => rig.setUp({
    listeners: [{}, { proxy_protocol: true, proxy_protocol_from: ['127.0.0.1'] }, { proxy_protocol: true, proxy_protocol_from: ['10.9.9.9'] }],
    config: { workers: 1, admin: { address: `unix:${rig.path('admin.sock')}` }, limits: { h1: { head_timeout: '700ms', keepalive: '700ms' }, proxy_header_timeout: '700ms', write_stall: '1s', connections_per_address: 60, h2: { idle: '700ms' } } },
}));
after(() => rig.stop());

/** Sends `text` a piece every `gap` ms until closed; how long that took. */
async function drip(port, text, gap, ms = within(6000)) {
    const socket = connect(port, '127.0.0.1');
    let got = '';
    let closed = false;
    socket.on('data', (b) => { got += b.toString('latin1'); });
    socket.on('error', () => {});
    socket.on('close', () => { closed = true; });
    await once(socket, 'connect');
    const began = Date.now();
    for (let i = 0; !closed && Date.now() - began < ms; i++) {
        if (i < text.length) socket.write(text[i], 'latin1');
        await sleep(gap);
    }
    socket.destroy();
    return { ms: Date.now() - began, closed, got };
}

const slow = {
    'a head that never ends': [0, 'GET / HTTP/1.1\r\nHost: exec.computer.test\r\n' + 'X-A: b\r\n'.repeat(500)],
    'a head that stops': [0, 'GET / HT'],
    'nothing at all': [0, ''],
    'half a preface': [0, 'PRI * HTTP/2.0\r\n\r\nSM'],
    'a PROXY header that stops': [1, 'PROXY TCP4 1.2.3'],
    'a v2 PROXY header that stops': [1, '\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02'],
    'no PROXY header': [1, ''],
};
for (const [name, [index, text]] of Object.entries(slow)) {
    test(`slow: ${name}: closed at its deadline`, async () => {
        const result = await drip(rig.gateway.ports[index], text, 20);
        assert.ok(result.closed, 'stays open');
        assert.ok(result.ms < within(2500), `${result.ms} ms`);
    });
}

test('each of them is counted, and has its reason in the log', async () => {
    assert.equal(await admin.metric('exec_gateway_connections_closed_total', { reason: 'head_timeout' }), 4);
    assert.equal(await admin.metric('exec_gateway_handshake_failures_total', { reason: 'timeout' }), 3);
    assert.equal(rig.gateway.err.match(/connection cut side=client reason=head_timeout peer=127\.0\.0\.1/g).length, 4);
    assert.equal(rig.gateway.err.match(/connection cut side=client reason=handshake_timeout peer=127\.0\.0\.1/g).length, 3);
});

const proxies = {
    'HTTP without the header': 'GET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n',
    'a line that is too long': `PROXY TCP4 ${'1'.repeat(200)}\r\n`,
    'a family of datagrams': '\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c\x01\x02\x03\x04\x01\x02\x03\x04\x00\x01\x00\x02',
    'a length beyond everything': `\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff${'\0'.repeat(3000)}`,
    'a TLV that is longer than the header': '\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\x01\x02\x03\x04\x01\x02\x03\x04\x00\x01\x00\x02\x04\x00\x50x',
    'a source that is a Unix socket': 'PROXY TCP4 unix:/x 127.0.0.1 1 443\r\n',
};
for (const [name, text] of Object.entries(proxies)) {
    test(`PROXY with ${name}: closed unanswered`, async () => {
        const answer = await rawExchange(rig.gateway.ports[1], [Buffer.from(text, 'latin1')], { ms: within(3000) });
        assert.ok(answer.closed);
        assert.equal(answer.text, '');
    });
}

test('bad PROXY headers are counted, and have their reason in the log', async () => {
    const count = Object.keys(proxies).length;
    assert.equal(await admin.metric('exec_gateway_handshake_failures_total', { reason: 'malformed' }), count);
    assert.equal(rig.gateway.err.match(/connection cut side=client reason=handshake_malformed/g).length, count);
});

test('PROXY from a stranger: closed unheard, and what is announced is never believed', async () => {
    const answer = await rawExchange(rig.gateway.ports[2], ['PROXY TCP4 6.6.6.6 127.0.0.1 1 443\r\nGET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n'], { ms: within(3000) });
    assert.ok(answer.closed);
    assert.equal(answer.text, '');
    assert.match(rig.gateway.err, /not a trusted proxy/);
    assert.equal(await admin.metric('exec_gateway_handshake_failures_total', { reason: 'stranger' }), 1);
    const plainly = await rawExchange(rig.port, ['PROXY TCP4 6.6.6.6 127.0.0.1 1 443\r\nGET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n'], { ms: within(3000) });
    assert.match(plainly.text, /^HTTP\/1\.[01] 400 |^$/);
    assert.ok(plainly.closed);
});

test('PROXY from the balancer: the announced address is in the access log', async () => {
    const answer = await rawExchange(rig.gateway.ports[1], ['PROXY TCP4 6.6.6.7 127.0.0.1 1 443\r\nGET / HTTP/1.1\r\nHost: exec.computer.test\r\nConnection: close\r\n\r\n'], { ms: within(3000) });
    assert.match(answer.text, /^HTTP\/1\.1 [24]/);
    await until(() => rig.gateway.accessLog().includes('6.6.6.7'), 'not in the log');
});

test('a client that reads nothing of a long answer is cut after write_stall', async () => {
    const socket = await deafClient(rig.port);
    await until(() => /side=client reason=write_stall/.test(rig.gateway.err), 'not cut', within(8000));
    socket.destroy();
});

/** Starts an endless answer over HTTP/1.1 that nobody reads. */
async function deafClient(port) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.pause();
    const body = JSON.stringify({ process: { cmd: '/bin/sh', args: ['-c', 'head -c 30000000 /dev/zero | tr "\\0" x'] } });
    socket.write(`POST /process.Process/Start HTTP/1.1\r\nHost: exec.computer.test\r\nAuthorization: Bearer ${rig.quietToken}\r\nAccept: application/x-ndjson\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return socket;
}

test('memory is short (80 %): who stalls or idles already has five more seconds, not the rest of its minute', { skip: isSanitized && 'resident memory is the sanitizer\'s' }, async () => {
    const small = await rig.startGateway({ routes: { computers: { cmp_2: { state: 'running', agent: rig.agent.address, boot: '1' } }, sessions: {} }, config: { workers: 1, drain_timeout: '200ms', admin: { address: `unix:${rig.path('memory.sock')}` } } });
    const usage = new Admin({ socketPath: rig.path('memory.sock') });
    const good = readFileSync(small.configFile, 'utf8');
    const deaf = await deafClient(small.port);
    const h2 = await H2Raw.open(small.port, { settings: setting(4, 0) });
    h2.send(Buffer.concat([frame(T.HEADERS, F.END_HEADERS, 1, hpack({ ...rig.fields(), authorization: `Bearer ${rig.quietToken}` })), frame(T.DATA, F.END, 1, '{}')]));
    const idle = connect(small.port, '127.0.0.1');
    idle.on('error', () => {});
    const idleEnds = once(idle, 'close').then(() => true);
    idle.resume();
    idle.write('GET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n');
    await sleep(1500); // all of them wait by now
    assert.doesNotMatch(small.err, /reason=write_stall/);
    for (let i = 0; i < 20 && !/at or above 80%/.test(small.err); i++) { // each reload moves what is measured a little
        writeFileSync(small.configFile, good.replace('"workers": 1', `"workers": 1, "limits": {"memory": ${Math.round(rssKiB(small.pid) * 1024 / 0.84)}}`));
        small.kill('SIGHUP');
        await sleep(600);
    }
    assert.match(small.err, /at or above 80%/);
    await until(() => /connection cut side=client reason=write_stall/.test(small.err), 'the deaf client is not cut', within(9000));
    await until(() => h2.frames.some((f) => f.type === T.RST && f.payload.readUInt32BE(0) === 8), 'the stalled stream is not reset', within(12000));
    assert.ok(await Promise.race([idleEnds, sleep(within(9000))]), 'the idle connection stays');
    assert.equal(await usage.metric('exec_gateway_connections_closed_total', { reason: 'stalled' }), 1);
    assert.equal(await usage.metric('exec_gateway_connections_closed_total', { reason: 'idle' }), 1);
    deaf.destroy();
    h2.close();
});

test('connections of one address: the 61st is closed, and room comes back', async () => {
    const sockets = [];
    for (let i = 0; i < 80; i++) {
        const socket = connect(rig.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.on('close', () => { socket.gone = true; });
        socket.resume();
        sockets.push(socket);
    }
    await until(() => sockets.filter((s) => s.gone).length >= 15, 'none is closed', within(600));
    assert.match(rig.gateway.err, /too many connections of one address/);
    for (const socket of sockets) socket.destroy();
    await until(async () => /^HTTP\/1\.1 [24]/.test((await rawExchange(rig.port, ['GET / HTTP/1.1\r\nHost: exec.computer.test\r\nConnection: close\r\n\r\n'])).text), 'no room again', within(4000));
});

test('connections in all: at limits.connections every listener stops accepting, and goes on when there is room', async () => {
    const usage = new Admin({ socketPath: rig.path('limit.sock') });
    const small = await rig.startGateway({ routes: rig.routesFor(rig.agent), listeners: [{}, {}], config: { workers: 1, drain_timeout: '200ms', admin: { address: `unix:${rig.path('limit.sock')}` }, limits: { connections: 20, h1: { head_timeout: '60s' } } } });
    const sockets = [];
    for (let i = 0; i < 30; i++) {
        const socket = connect(small.ports[i % 2], '127.0.0.1');
        socket.on('error', () => {});
        sockets.push(socket);
    }
    await until(() => /limit of connections reached/.test(small.err), 'the limit is not reached', within(3000));
    await sleep(100);
    assert.equal(await usage.metric('exec_gateway_connections_open'), 20);
    assert.equal(await usage.metric('exec_gateway_accept_pauses_total', { reason: 'connections' }), 1);
    for (const socket of sockets) socket.destroy();
    for (const port of small.ports)
        assert.match((await rawExchange(port, ['GET / HTTP/1.1\r\nHost: exec.computer.test\r\nConnection: close\r\n\r\n'])).text, /^HTTP\/1\.1 [24]/);
});

test('limits.connections unset is half of the descriptors that are left to us', async () => {
    const like = await rig.startGateway({ routes: rig.routesFor(rig.agent), config: { workers: 1, drain_timeout: '200ms', admin: { address: `unix:${rig.path('half.sock')}` }, limits: { h1: { head_timeout: '60s' } } } });
    like.kill('SIGTERM');
    await like.exit;
    const small = rig.start('gateway-half', 'prlimit', ['--nofile=256:256', gatewayBin, 'serve', '-c', like.configFile]);
    const port = Number((await small.line(/listening address=127\.0\.0\.1:(\d+)/))[1]);
    const sockets = Array.from({ length: 150 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await until(() => /limit of connections reached/.test(small.err), 'the limit is not reached', within(5000));
    await sleep(200);
    assert.equal(await new Admin({ socketPath: rig.path('half.sock') }).metric('exec_gateway_connections_open'), (256 - 64) / 2);
    assert.doesNotMatch(small.err, /cannot accept/, 'descriptors are left for the agents');
    for (const socket of sockets) socket.destroy();
});

test('out of descriptors: no spin, the admin listener answers by its reserve, and it recovers', { timeout: within(20000) }, async () => {
    const small = await rig.startGateway({ routes: rig.routesFor(rig.agent), config: { workers: 1, drain_timeout: '200ms', admin: { address: `unix:${rig.path('full.sock')}` }, limits: { connections: 100000, connections_per_address: 100000, h1: { head_timeout: '60s' } } } });
    // RLIMIT_NOFILE of a running process: no shell has to be between us and its pid.
    const { execFileSync } = await import('node:child_process');
    execFileSync('prlimit', ['--pid', String(small.pid), '--nofile=128:128']);
    const sockets = [];
    for (let i = 0; i < 300; i++) {
        const socket = connect(small.port, '127.0.0.1');
        socket.on('error', () => {});
        sockets.push(socket);
    }
    await until(() => /cannot accept, pausing/.test(small.err), 'never out of descriptors', within(5000));
    const ticks = () => { const f = readFileSync(`/proc/${small.pid}/stat`, 'utf8').split(') ')[1].split(' '); return Number(f[11]) + Number(f[12]); };
    const start = ticks();
    await sleep(1000);
    const share = ticks() - start; // of 100 in a second
    assert.ok(share < (isSanitized ? 40 : 20), `${share} % of a CPU`);
    const usage = new Admin({ socketPath: rig.path('full.sock') });
    for (let i = 0; i < 20; i++) { // the reserve comes back after each
        for (const path of ['/readyz', '/healthz', '/livez']) assert.equal((await usage.call('GET', path)).status, 200, path);
        assert.ok(await usage.metric('exec_gateway_process_open_fds') >= 120, 'what is in use can still be told');
    }
    assert.ok(await usage.metric('exec_gateway_admin_reserve_used_total') >= 80);
    assert.ok(await usage.metric('exec_gateway_accept_pauses_total', { reason: 'descriptors' }) > 0);
    for (const socket of sockets) socket.destroy();
    await until(async () => /^HTTP\/1\.1 [24]/.test((await rawExchange(small.port, ['GET / HTTP/1.1\r\nHost: exec.computer.test\r\nConnection: close\r\n\r\n'])).text), 'does not recover', within(5000));
    assert.ok(gatewayBin);
});

test('an idle HTTP/2 connection gets GOAWAY, an idle HTTP/1.1 connection is closed', async () => {
    const session = http2.connect(rig.gateway.url);
    session.on('error', () => {});
    const goaway = once(session, 'goaway');
    const h1 = drip(rig.port, ['GET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n'], 20);
    const [code] = await goaway;
    assert.equal(code, 0);
    session.destroy();
    const result = await h1;
    assert.ok(result.closed && /^HTTP\/1\.1 [24]/.test(result.got) && result.ms < within(2500), `${result.ms} ms`);
});

test('a route to one of our own listeners is refused, however wide upstream.allow is', async () => {
    const loop = await rig.startGateway({
        routes: { computers: { cmp_1: { state: 'running', agent: `127.0.0.1:${rig.port}`, boot: '1', protocol: 'http1' } }, sessions: {} },
        config: { workers: 1, drain_timeout: '200ms', admin: { address: `unix:${rig.path('own.sock')}` } },
    });
    const own = await rig.startGateway({
        routes: { computers: {}, sessions: {} },
        config: { workers: 1, drain_timeout: '200ms' },
    });
    rig.write(own.routesFile.split('/').pop(), JSON.stringify({ computers: { cmp_1: { state: 'running', agent: `127.0.0.1:${own.port}`, boot: '1' } }, sessions: {} }));
    const ask = (port) => rawExchange(port, [`POST /process.Process/List HTTP/1.1\r\nHost: exec.computer.test\r\nAuthorization: Bearer ${rig.attackToken}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`], { ms: within(5000) });
    const answer = await until(async () => { const got = await ask(own.port); return !got.text.includes(' 404 ') && got; }, 'the route is not seen', within(5000));
    assert.match(answer.text, /route_refused/);
    assert.doesNotMatch((await ask(loop.port)).text, /route_refused/); // another gateway's listener is a computer like any other
});
