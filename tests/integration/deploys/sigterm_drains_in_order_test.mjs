// SIGTERM with many open terminals: readiness first, GOAWAY in two steps, no terminal cut in the window, nothing half run, an end in each
// caller's own protocol at the deadline; a second signal ends at once.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import { connect as netConnect } from 'node:net';
import WebSocket from 'ws';
import { ConnectError, Code } from '@connectrpc/connect';
import { Rig, isSanitized, sleep, toLoopback, until } from '../../support/harness.mjs';
import { processClient } from '../../support/process_client.mjs';

const TERMINALS = Number(process.env.TERMINALS ?? (isSanitized ? 200 : 1000));
const rig = new Rig();
after(() => rig.stop());

const frameBytes = (type, flags, stream, payload = Buffer.alloc(0)) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
};

/** Raw frames of an HTTP/2 connection: [{ type, flags, stream, payload }]. Answers PINGs when told to. */
function rawH2(port) {
    const socket = netConnect(port, '127.0.0.1');
    const frames = [];
    let rest = Buffer.alloc(0);
    const it = { socket, frames, closed: false, answerPings: true, send: (...args) => socket.write(frameBytes(...args)) };
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frameBytes(4, 0, 0)]));
    socket.on('data', (chunk) => {
        rest = Buffer.concat([rest, chunk]);
        while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
            const length = rest.readUIntBE(0, 3);
            const frame = { type: rest[3], flags: rest[4], stream: rest.readUInt32BE(5), payload: rest.subarray(9, 9 + length) };
            frames.push(frame);
            if (frame.type === 4 && !(frame.flags & 1)) it.send(4, 1, 0);
            if (frame.type === 6 && !(frame.flags & 1) && it.answerPings) it.send(6, 1, 0, frame.payload);
            rest = rest.subarray(9 + length);
        }
    });
    socket.on('close', () => { it.closed = true; });
    socket.on('error', () => {});
    it.goaways = () => frames.filter((f) => f.type === 7).map((f) => f.payload.readUInt32BE(0));
    return it;
}

/** HPACK without compression: a literal field, never indexed. */
const literal = (name, value) => Buffer.concat([Buffer.from([0x10, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
const getHealth = () => Buffer.concat([literal(':method', 'GET'), literal(':scheme', 'http'), literal(':path', '/health'), literal(':authority', 'localhost')]);

async function openTerminal(client) {
    const terminal = { isOpen: false, lines: 0, end: undefined };
    const controller = new AbortController();
    terminal.cancel = () => controller.abort();
    terminal.done = (async () => {
        try {
            for await (const message of client.start({ process: { cmd: 'cat' }, pty: { size: { cols: 80, rows: 24 } } }, { signal: controller.signal })) {
                if (message.event?.event.case === 'start') terminal.pid = message.event.event.value.pid;
                terminal.isOpen = true;
                if (message.event?.event.case === 'data') terminal.lines++;
            }
            terminal.end = 'ended';
        } catch (error) {
            terminal.end = ConnectError.from(error);
        }
    })();
    return terminal;
}

test(`${TERMINALS} terminals: none is cut in the window, readiness first, the deadline tells "unavailable"`, async (t) => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({
        routes: rig.routesFor(agent),
        config: { drain_timeout: '8s', drain_delay: '1s', limits: { requests_per_session: 4000, requests_per_computer: 4000 } },
    });
    const token = rig.token();
    const perConn = 90;
    const clients = Array.from({ length: Math.ceil(TERMINALS / perConn) }, (_, i) => processClient({ url: gateway.url, token, protocol: i % 2 ? 'grpc' : 'connect' }));
    const terminals = [];
    for (let i = 0; i < TERMINALS; i++) {
        terminals.push(await openTerminal(clients[Math.floor(i / perConn)]));
        if (i % 50 === 49) await until(() => terminals.every((x) => x.isOpen || x.end), `terminals up to ${i} are open`, 60000);
    }
    await until(() => terminals.every((x) => x.isOpen || x.end), 'all open', 60000);
    assert.equal(terminals.filter((x) => x.end).length, 0, String(terminals.find((x) => x.end)?.end));
    const raw = rawH2(gateway.port);
    await until(() => raw.frames.length > 0, 'preface');

    gateway.kill('SIGTERM');
    await until(() => /not ready any more/.test(gateway.err), 'readiness flips');
    const health = await fetch(`${gateway.url}/health`, { headers: { connection: 'close' } });
    assert.equal(health.status, 503);
    assert.deepEqual(raw.goaways(), [], 'readiness comes first');
    const other = processClient({ url: gateway.url, token });
    await other.list({}); // still served

    await until(() => raw.goaways().length === 2, 'two GOAWAYs');
    assert.equal(raw.goaways()[0], 0x7fffffff);
    assert.equal(raw.goaways()[1], 0);
    await until(() => raw.closed, 'the conn without a stream closes');
    await assert.rejects(fetch(`${gateway.url}/health`), 'no new conns');
    assert.equal(terminals.filter((x) => x.end).length, 0);

    // A terminal of every conn still works, both ways, while it drains.
    for (let i = 0; i < clients.length; i++) {
        const terminal = terminals[i * perConn];
        assert.ok(terminal.pid > 0 && terminal.end === undefined);
    }
    await sleep(3000);
    assert.equal(terminals.filter((x) => x.end).length, 0, 'none is cut in the window');

    const { code } = await gateway.exit;
    assert.equal(code, 0);
    await Promise.all(terminals.map((x) => x.done));
    const codes = {};
    for (const { end } of terminals) codes[end instanceof ConnectError ? Code[end.code] : String(end)] = (codes[end instanceof ConnectError ? Code[end.code] : String(end)] ?? 0) + 1;
    t.diagnostic(JSON.stringify(codes));
    assert.deepEqual(codes, { Unavailable: TERMINALS });
    assert.ok(terminals.every((x) => /shutting down/.test(x.end.rawMessage)), terminals.find((x) => !/shutting down/.test(x.end.rawMessage))?.end.rawMessage);
});

test('a stream that comes between the two GOAWAYs is served, one after them is not begun', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { workers: 1 } });
    const raw = rawH2(gateway.port);
    await until(() => raw.frames.some((f) => f.type === 4), 'settings');
    raw.answerPings = false;
    const slow = http.request(`${gateway.url}/process.Process/Start`, { method: 'POST', agent: false, headers: { authorization: `Bearer ${rig.token()}`, 'content-type': 'application/json' } });
    slow.end(JSON.stringify({ command: ['sleep', '3'] })); // holds the process up
    const slowEnd = new Promise((done, fail) => { slow.on('response', (r) => { r.resume(); r.on('end', () => done(r)); }); slow.on('error', fail); });
    await sleep(300);
    gateway.kill('SIGTERM');
    await until(() => raw.goaways().length === 1, 'the first GOAWAY');
    assert.equal(raw.goaways()[0], 0x7fffffff);
    raw.send(1, 0x5, 1, getHealth());
    const ping = raw.frames.find((f) => f.type === 6);
    await until(() => raw.frames.some((f) => f.type === 1 && f.stream === 1), 'an answer between the GOAWAYs');
    raw.send(6, 1, 0, ping.payload);
    await until(() => raw.goaways().length === 2, 'the second GOAWAY');
    assert.equal(raw.goaways()[1], 1, 'names the stream that was taken');
    raw.send(1, 0x5, 3, getHealth());
    await sleep(300);
    assert.ok(!raw.frames.some((f) => f.stream === 3 && f.type === 1), 'nothing after it is begun');
    const answer = await slowEnd;
    assert.equal(answer.statusCode, 200);
    assert.equal(answer.headers.connection, 'close', 'an HTTP/1.1 answer says that the conn closes');
    assert.equal((await gateway.exit).code, 0);
});

test('at the deadline NDJSON, SSE and Connect over HTTP/1.1 end in their own form', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { drain_timeout: '1s' } });
    const token = rig.token();
    const plain = (accept) => fetch(`${gateway.url}/process.Process/Start`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept }, body: JSON.stringify({ command: ['sleep', '30'] }),
    });
    const [lines, events] = await Promise.all([plain('application/x-ndjson'), plain('text/event-stream')]);
    const terminals = await Promise.all(['connect', 'grpc-web'].map((protocol) => openTerminal(processClient({ url: gateway.url, token, protocol, http: '1.1' }))));
    await until(() => terminals.every((x) => x.isOpen), 'open');
    gateway.kill('SIGTERM');
    const [lineText, eventText] = await Promise.all([lines.text(), events.text()]);
    assert.match(lineText.trim().split('\n').at(-1), /"code":"unavailable"/);
    assert.match(eventText, /"code":"unavailable"/);
    await Promise.all(terminals.map((x) => x.done));
    for (const { end } of terminals) assert.equal(end.code, Code.Unavailable, String(end));
    assert.equal((await gateway.exit).code, 0);
});

test('a second signal ends at once, with exit code 0', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { drain_timeout: '60s' } });
    const terminal = await openTerminal(processClient({ url: gateway.url, token: rig.token() }));
    await until(() => terminal.isOpen, 'open');
    gateway.kill('SIGTERM');
    await until(() => /draining/.test(gateway.err), 'drain');
    await sleep(500);
    assert.equal(gateway.exited, false);
    const began = Date.now();
    gateway.kill('SIGTERM');
    assert.deepEqual(await gateway.exit, { code: 0, signal: null });
    assert.ok(Date.now() - began < (isSanitized ? 6000 : 1000), `took ${Date.now() - began} ms`);
    await terminal.done;
    assert.notEqual(terminal.end, 'ended', 'a cut stream is no success');
});

test('idle conns are told one after another over the spread', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent), config: { workers: 1, drain_timeout: '60s', drain_spread: '4s' } });
    const raws = Array.from({ length: 120 }, () => rawH2(gateway.port));
    await until(() => raws.every((raw) => raw.frames.some((f) => f.type === 4)), 'settings');
    const began = Date.now();
    const when = raws.map(async (raw) => { await until(() => raw.goaways().length > 0, 'GOAWAY', 15000); return Date.now() - began; });
    gateway.kill('SIGTERM');
    const times = (await Promise.all(when)).sort((a, b) => a - b);
    assert.ok(times.at(-1) - times[0] > 2500, `from ${times[0]} to ${times.at(-1)} ms`);
    for (let at = 0; at < times.at(-1); at += 500) {
        const count = times.filter((ms) => ms >= at && ms < at + 500).length;
        assert.ok(count <= 40, `${count} in one half second`);
    }
    assert.equal((await gateway.exit).code, 0);
});

test('WebSockets get 1001 at the deadline', async () => {
    const agent = await rig.startAgent();
    const app = await rig.startApp('sockets');
    const gateway = await rig.startPortsGateway({ agent, hosts: { 'app--box.computer.test': { port: app.port, visibility: 'public' } }, config: { drain_timeout: '1s' } });
    const socket = new WebSocket(`ws://app--box.computer.test:${gateway.clear}/ws`, { lookup: toLoopback });
    const closed = new Promise((done) => socket.on('close', (code) => done(code)));
    socket.on('error', () => {});
    await new Promise((done) => socket.on('open', done));
    gateway.kill('SIGTERM');
    assert.equal(await closed, 1001);
    assert.equal((await gateway.exit).code, 0);
});
