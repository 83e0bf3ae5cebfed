// The wall clock is set by an hour either way under a gateway at work (tests/support/faults.c: what it is told of CLOCK_REALTIME changes, the
// monotonic clock does not). Nothing is cut, no timer fires early or late, the watchdog keeps still; tokens are judged by the wall clock, and
// open streams end when it passes their `exp`.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { once } from 'node:events';
import WebSocket from 'ws';
import { ConnectError, Code } from '@connectrpc/connect';
import { Rig, isSanitized, sleep, toLoopback, until } from '../../support/harness.mjs';
import { processClient } from '../../support/process_client.mjs';
import { faultsEnv, setFaults } from '../../support/faults.mjs';

const rig = new Rig();
const HOUR_S = 3600, IDLE_MS = 3000, ADMIN_IDLE_MS = 10000, SECOND_CLOCK_MS = 1000;
const skip = isSanitized && 'the library brings allocations of its own';
let gateway, agent, frozen, app, day;

before(async () => {
    if (isSanitized) return;
    [agent, frozen] = [await rig.startAgent(), await rig.startAgent()];
    app = await rig.startApp();
    day = rig.token({ ttl: 24 * HOUR_S });
    gateway = await rig.startPortsGateway({
        agent, hosts: { 'app--box.computer.test': { port: app.port, visibility: 'public' } },
        computers: { cmp_2: { state: 'running', agent: frozen.address, boot: '1' } },
        config: {
            exec: { hosts: ['*'] }, watchdog: '2s', drain_timeout: '2s', admin: { address: `unix:${rig.path('admin.sock')}` }, auth: { leeway: '0s' },
            limits: { ping_interval: '1s', ping_timeout: '1s', h1: { keepalive: `${IDLE_MS}ms` }, h2: { idle: `${IDLE_MS}ms` } },
        },
        env: faultsEnv(rig),
    });
});
after(() => rig.stop());

const step = (seconds) => setFaults(rig, gateway, `clock=${seconds}`);

async function list(token = day) {
    const response = await fetch(`http://127.0.0.1:${gateway.clear}/process.Process/List`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', connection: 'close' }, body: '{}',
    });
    await response.arrayBuffer();
    return response.status;
}

/** A stream of exec that says something ten times a second: { name, count, end: null or { at, code } }. */
function execStream(token, protocol = 'connect', http = '2') {
    const stream = { name: `${protocol} h${http}`, count: 0, end: null };
    const client = processClient({ url: `http://127.0.0.1:${gateway.clear}`, token, protocol, http });
    (async () => {
        let code = 'success';
        try {
            for await (const _ of client.start({ process: { cmd: 'sh', args: ['-c', 'while :; do echo .; sleep 0.1; done'] } })) stream.count++;
        } catch (error) { code = ConnectError.from(error).code; }
        stream.end = { at: performance.now(), code };
    })();
    return stream;
}

function sseStream() {
    const stream = { name: 'exec sse', count: 0, end: null };
    (async () => {
        const response = await fetch(`http://127.0.0.1:${gateway.clear}/process.Process/Start`, {
            method: 'POST', headers: { authorization: `Bearer ${day}`, 'content-type': 'application/json', accept: 'text/event-stream' },
            body: JSON.stringify({ command: ['sh', '-c', 'while :; do echo .; sleep 0.1; done'] }),
        });
        try { for await (const _ of response.body) stream.count++; } catch { /* cut */ }
        stream.end = { at: performance.now() };
    })();
    return stream;
}

function webSocket() {
    const stream = { name: 'websocket', count: 0, end: null };
    const socket = new WebSocket(`ws://app--box.computer.test:${gateway.clear}/ws`, { lookup: toLoopback });
    socket.on('error', () => {}).on('open', () => socket.send('x'));
    socket.on('message', async () => { stream.count++; await sleep(100); socket.send('x'); });
    socket.on('close', (code) => { stream.end = { at: performance.now(), code }; });
    return stream;
}

/** A connection that has asked once and is quiet now: { name, limit, closed: null or when, in ms since it fell quiet }. */
async function quietH1(name, where, path, limit) {
    const quiet = { name, limit, closed: null };
    const socket = connect(where);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200/);
    const began = performance.now();
    socket.on('error', () => {}).on('data', () => {}).on('close', () => { quiet.closed ??= performance.now() - began; });
    return quiet;
}

async function quietH2() {
    const quiet = { name: 'h2', limit: IDLE_MS, closed: null };
    const session = http2.connect(`http://127.0.0.1:${gateway.clear}`);
    session.on('error', () => {});
    const request = session.request({ ':path': '/health' });
    request.resume();
    await once(request, 'close');
    const began = performance.now();
    session.on('goaway', () => { quiet.closed ??= performance.now() - began; }).on('close', () => { quiet.closed ??= performance.now() - began; });
    return quiet;
}

const quietOnes = () => Promise.all([
    quietH1('h1', { host: '127.0.0.1', port: gateway.clear }, '/health', IDLE_MS), quietH2(),
    quietH1('admin', { path: rig.path('admin.sock') }, '/livez', ADMIN_IDLE_MS),
]);

async function timersFireInTime(quiet) {
    await until(() => quiet.every(({ closed }) => closed !== null), 'an idle connection stays open', ADMIN_IDLE_MS + 5000);
    for (const { name, limit, closed } of quiet) assert.ok(closed > limit - 200 && closed < limit + 2000, `${name}: closed after ${closed} ms, not ${limit}`);
}

/** `seconds`: where the clock is set to. */
async function nothingIsCut(seconds) {
    const streams = [['connect', '2'], ['connect', '1.1'], ['grpc', '2'], ['grpc-web', '1.1']].map(([protocol, http]) => execStream(day, protocol, http));
    streams.push(sseStream(), webSocket());
    await until(() => streams.every(({ count }) => count > 2), 'streams begin');
    const quiet = await quietOnes();
    await step(seconds);
    assert.equal(await list(), 200, 'a token that is good before and after');
    const counts = streams.map(({ count }) => count);
    await timersFireInTime(quiet); // ten seconds, PINGs among them
    streams.forEach(({ name, count, end }, i) => {
        assert.equal(end, null, `${name} ended: ${JSON.stringify(end)}`);
        assert.ok(count > counts[i] + 20, `${name} stands still`);
    });
    assert.equal(gateway.exited, false, gateway.err.slice(-2000));
    await timersFireInTime(await quietOnes()); // those armed after the step
    return streams;
}

test('an hour forward: nothing is cut, no timer fires early', { skip }, async () => {
    await nothingIsCut(HOUR_S);
});

test('an hour back: nothing is cut, timers still fire', { skip }, async () => {
    await nothingIsCut(0);
});

test('a stream ends once the wall clock has passed the exp of its token, however it got there', { skip }, async () => {
    const soon = rig.token({ ttl: HOUR_S / 2 });
    const later = rig.token({ ttl: HOUR_S + 4 });
    const minted = performance.now();
    const [ends, follows, stays] = [execStream(soon), execStream(later), execStream(day)];
    await until(() => [ends, follows, stays].every(({ count }) => count > 0), 'streams begin');
    assert.equal(await list(soon), 200);
    await step(HOUR_S);
    const began = performance.now();
    assert.equal(await list(soon), 401, 'expired by the wall clock');
    await until(() => ends.end, 'an expired stream goes on', SECOND_CLOCK_MS + 1000);
    assert.equal(ends.end.code, Code.Unauthenticated);
    assert.ok(ends.end.at - began < SECOND_CLOCK_MS, `ended after ${ends.end.at - began} ms`);
    assert.equal(follows.end, null, 'it has four seconds left');
    await until(() => follows.end, 'its exp is passed', 6000);
    assert.equal(follows.end.code, Code.Unauthenticated);
    assert.ok(follows.end.at - minted > 2500, `ended ${follows.end.at - minted} ms after it was made`); // `exp` is in whole seconds
    await step(0);
    assert.equal(await list(soon), 200, 'good again');
    assert.equal(stays.end, null);
});

test('an hour back gives an open stream the hour, and no new token: not yet valid', { skip }, async () => {
    const short = rig.token({ ttl: 4 });
    const stream = execStream(short);
    await until(() => stream.count > 0, 'begins');
    await step(-HOUR_S);
    await sleep(6000);
    assert.equal(stream.end, null, 'its exp lies an hour ahead');
    assert.equal(await list(), 401, 'made in the future');
    await step(0);
    await until(() => stream.end, 'goes on past its exp', SECOND_CLOCK_MS + 1000);
    assert.equal(stream.end.code, Code.Unauthenticated);
});

test('a peer that stands still after a step is noticed; a drain begun after it ends in time', { skip }, async () => {
    const lost = execStream(rig.token({ computer: 'cmp_2', session: 'ses_2', ttl: 24 * HOUR_S }));
    const held = execStream(day);
    await until(() => lost.count > 0 && held.count > 0, 'streams begin');
    await step(-HOUR_S);
    frozen.kill('SIGSTOP');
    const stopped = performance.now();
    await until(() => lost.end, 'a dead agent is not noticed', 6000);
    frozen.kill('SIGCONT');
    assert.equal(lost.end.code, Code.Unavailable);
    assert.ok(lost.end.at - stopped < 4000, `${lost.end.at - stopped} ms`);
    assert.equal(held.end, null);
    const began = performance.now();
    gateway.kill('SIGTERM');
    await sleep(500);
    await setFaults(rig, gateway, `clock=${HOUR_S}`);
    assert.deepEqual(await gateway.exit, { code: 0, signal: null });
    const took = performance.now() - began;
    assert.ok(took > 1800 && took < 5000, `drained for ${took} ms of 2000`);
    assert.equal(held.end?.code, Code.Unavailable);
});
