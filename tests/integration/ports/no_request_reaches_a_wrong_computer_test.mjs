// 500 hosts, 50 computers with the same port numbers, traffic of every kind from connections that are kept and shared, and records that
// change in Redis all the while: no request is answered by a computer or port that its host did not name at the time, and nothing fails
// while nothing changes. PORTS_SECONDS sets the length (two minutes by hand).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { Rig, isSanitized, sleep, toLoopback, until } from '../../support/harness.mjs';
import { ask, openSession } from '../../support/http_client.mjs';
import { MovingRoutes } from '../../support/moving_routes.mjs';
import { redisClient } from '../../support/redis_client.mjs';

const rig = new Rig();
const SECONDS = Number(process.env.PORTS_SECONDS ?? 20);
const COMPUTERS = 50;
const REAL_AGENTS = 5;
const HOSTS = 500;
const CALLERS = isSanitized ? 16 : 32;
const CHANGES_PER_SECOND = 40;
const HANG_MS = 30000;
const GRACE_MS = isSanitized ? 1000 : 100; // DESIGN §7; what this process itself is late (lagMs) comes on top
let gateway, redis, routes, tokens;
const tally = { kinds: {}, statuses: {}, wrong: [], failed: [], cut: 0 };

before(async () => {
    const server = await rig.startRedis();
    const farmChild = await rig.startApp('farm', { file: 'farm.mjs', args: [String(COMPUTERS), String(REAL_AGENTS)] });
    const farm = JSON.parse(/^farm (.*)$/m.exec(farmChild.out)[1]);
    for (const computer of farm)
        if (computer.lives.length === 0) computer.lives.push({ agent: (await rig.startAgent()).address });
    redis = await redisClient(server.port);
    routes = new MovingRoutes(farm, HOSTS, GRACE_MS);
    await routes.putAll(redis);
    gateway = await rig.startPortsGateway({ agent: { address: '' }, redis: server });
    tokens = farm.map(({ id }, c) => rig.signedToken({ kind: 'browser', cid: id, sid: `acs_${c}` }));
});
after(async () => {
    redis?.close();
    await rig.stop();
});

// ---- callers' connections: few, shared by all hosts ----

/** Node keeps sockets apart by name: 500 hosts would be more connections than one address may have. These are for any host. */
const sharedAgent = ({ Agent }) => Object.assign(new Agent({ keepAlive: true, maxSockets: 64 }), { getName: () => 'any' });
const keepAlive = { http: sharedAgent(http), https: sharedAgent(https) };
const sessions = [];
function sharedSession(tls) {
    const slot = (tls ? 0 : 4) + Math.floor(Math.random() * 4);
    const session = sessions[slot];
    if (session && !session.closed && !session.destroyed && !session.isLeaving) return session;
    // One name for all: the streams say which host they are for, as browsers do on a wildcard certificate.
    const fresh = openSession({ host: 'any.computer.test', port: tls ? gateway.tls : gateway.clear, ca: tls ? rig.certificates.pem : undefined });
    fresh.on('goaway', () => { fresh.isLeaving = true; });
    sessions[slot] = fresh;
    return fresh;
}

function way(host, isHttp2) {
    const tls = Math.random() < 0.5;
    const at = { host: host.name, port: tls ? gateway.tls : gateway.clear, ca: tls ? rig.certificates.pem : undefined, http: isHttp2 ? '2' : '1.1' };
    return isHttp2 ? { ...at, session: sharedSession(tls) } : { ...at, agent: tls ? keepAlive.https : keepAlive.http };
}

/** What the gateway says as a gRPC status, as the HTTP status that it stands for. */
const GRPC_STATUSES = { 5: 404, 7: 403, 14: 503, 16: 401 };

// ---- kinds of traffic: each returns { status, who: [names] } or throws ----

async function exchange(host, headers, nonce, { method = 'GET', query = '', body, isHttp2 = Math.random() < 0.5, more = {} } = {}) {
    const path = `/p%2F${nonce}?nonce=${nonce}${query}`;
    const answer = await ask(way(host, isHttp2), { method, path, headers: { ...headers, ...more, 'x-nonce': nonce }, body, ms: 20000 });
    const id = answer.headers['x-id'];
    if (id === undefined) return { status: GRPC_STATUSES[answer.headers['grpc-status']] ?? answer.status, who: [], words: `${answer.headers['x-gateway-error']} ${answer.body}`.slice(0, 200) };
    assert.equal(answer.headers['x-nonce'], nonce, "another request's answer");
    if (method === 'HEAD') return { status: answer.status, who: [id] };
    const text = String(answer.body);
    const first = query.includes('sse') ? text.slice(6, text.indexOf('\n')) : text.slice(0, (text.indexOf('\n') + 1 || text.length + 1) - 1);
    const told = JSON.parse(first);
    assert.equal(told.nonce, nonce, "another request's body");
    assert.equal(told.path, path, 'the path changed');
    assert.equal(told.computer, id.split('/')[0], 'the computer that the gateway told the app');
    if (!query.includes('early')) assert.equal(told.bytes, body?.length ?? 0, 'the body is not whole');
    if (query.includes('sse')) assert.equal(text.match(/data: /g).length, 5);
    const pad = Number(/pad=(\d+)/.exec(query)?.[1] ?? 0);
    if (pad) assert.equal(text.length, first.length + pad * (nonce.length + 1), 'the answer is not whole');
    return { status: answer.status, who: [id, told.id] };
}

function webSocket(host, headers, nonce) {
    const tls = Math.random() < 0.5;
    const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://${host.name}:${tls ? gateway.tls : gateway.clear}/ws?n=${nonce}`,
        { lookup: toLoopback, ca: rig.certificates.pem, headers: { ...headers, 'x-nonce': nonce }, perMessageDeflate: false, handshakeTimeout: 20000 });
    return new Promise((done, fail) => {
        const who = [];
        socket.on('error', fail);
        socket.on('close', (code) => fail(Object.assign(new Error(`closed with ${code}`), { who })));
        socket.on('unexpected-response', (request, response) => { response.resume(); request.destroy(); done({ status: response.statusCode, who: [] }); });
        socket.on('open', () => socket.send('0'));
        socket.on('message', (data) => {
            const told = JSON.parse(String(data));
            if (told.nonce !== nonce) fail(new Error("another socket's answer"));
            who.push(told.id);
            if (who.length < 4) setTimeout(() => socket.send(String(who.length)), 20);
            else done({ status: 101, who });
        });
    }).finally(() => { socket.on('error', () => {}); socket.terminate(); });
}

/** Leaves in the middle; what had come must still be right. */
async function leave(host, headers, nonce) {
    let id;
    let status;
    const isHttp2 = Math.random() < 0.5;
    const onHead = (head, stream) => {
        id = head.headers['x-id'];
        status = head.status;
        if (isHttp2) stream.close(8); else stream.destroy();
    };
    await ask(way(host, isHttp2), { path: `/?nonce=${nonce}&pad=200000`, headers: { ...headers, 'x-nonce': nonce }, onHead, onData() {}, ms: 20000 }).catch((error) => { if (!status) throw error; });
    return { status, who: id ? [id] : [] };
}

const KINDS = [
    { name: 'get', share: 30, run: (...a) => exchange(...a) },
    { name: 'get, closing', share: 4, run: (...a) => exchange(...a, { query: '&close=1' }) },
    { name: 'get, long', share: 8, run: (...a) => exchange(...a, { query: '&pad=3000' }) },
    { name: 'head', share: 5, run: (...a) => exchange(...a, { method: 'HEAD' }) },
    { name: 'post', share: 20, run: (...a) => exchange(...a, { method: 'POST', body: randomBytes(Math.floor(Math.random() ** 3 * 200000)) }) },
    { name: 'post, answered early', share: 4, run: (...a) => exchange(...a, { method: 'POST', query: '&early=1', body: randomBytes(5000) }) },
    { name: 'events', share: 8, run: (...a) => exchange(...a, { query: '&sse=1' }) },
    { name: 'grpc', share: 8, isH2c: true, run: (...a) => exchange(...a, { method: 'POST', body: randomBytes(1000), isHttp2: true, more: { 'content-type': 'application/grpc+x', te: 'trailers' } }) },
    { name: 'websocket', share: 8, isH2c: false, run: webSocket },
    { name: 'leave', share: 2, run: leave },
];
const shares = KINDS.flatMap((kind) => Array(kind.share).fill(kind));

/** How late a busy machine wakes this process; the gateway is given as much on top of GRACE_MS. */
let lagMs = 0;
const lagMeter = setInterval(() => {
    const now = performance.now();
    lagMs = Math.max(lagMs * 0.98, now - lagMeter.last - 20);
    lagMeter.last = now;
}, 20);
lagMeter.last = performance.now();
lagMeter.unref();

function withDeadline(call) {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(() => fail(Object.assign(new Error('hangs'), { code: 'ERR_ASSERTION' })), HANG_MS); });
    return Promise.race([call, late]).finally(() => clearTimeout(timer));
}

async function oneCall(host = routes.randomHost(), kind = shares[Math.floor(Math.random() * shares.length)]) {
    const route = host.history.latest;
    if (kind.isH2c !== undefined && kind.isH2c !== (route?.protocol === 'h2c')) return;
    // Mostly the right token, sometimes none, sometimes another computer's.
    const dice = Math.random();
    const tokenOf = dice < 0.05 || route === null ? null : dice < 0.1 ? Math.floor(Math.random() * COMPUTERS) : route.computer;
    const headers = tokenOf === null ? {} : { 'x-access-token': tokens[tokenOf] };
    const start = performance.now();
    let outcome;
    try {
        outcome = await withDeadline(kind.run(host, headers, randomBytes(8).toString('hex')));
    } catch (error) {
        outcome = { error, who: error.who ?? [] };
    }
    const end = performance.now();
    const { names, statuses, changed } = routes.allowed(host, tokenOf, start - lagMs, end);
    const told = `${kind.name} ${host.name} ${JSON.stringify(route)}: ${outcome.error?.message ?? outcome.status} ${outcome.words ?? ''} by ${outcome.who}; allowed ${[...names]} ${[...statuses]}${changed ? ', changed' : ''}`;
    tally.kinds[kind.name] = (tally.kinds[kind.name] ?? 0) + 1;
    tally.statuses[outcome.status ?? 'error'] = (tally.statuses[outcome.status ?? 'error'] ?? 0) + 1;
    if (outcome.who.some((name) => !names.has(name)) || new Set(outcome.who).size > 1 || outcome.error?.code === 'ERR_ASSERTION') tally.wrong.push(told);
    else if (outcome.error || outcome.who.length === 0 && !statuses.has(outcome.status)) {
        if (changed) tally.cut++; // the computer went in the middle of it: an error is right
        else tally.failed.push(told);
    }
}

test(`${SECONDS} s of traffic and change: every answer is by the computer and port that the host named`, { timeout: (SECONDS + 60) * 1000 }, async () => {
    const end = performance.now() + SECONDS * 1000;
    const caller = async () => { while (performance.now() < end && tally.wrong.length < 20) await oneCall(); };
    const changer = async () => {
        for (let next = performance.now(); next < end; next += 1000 / CHANGES_PER_SECOND) {
            await sleep(Math.max(0, next - performance.now()));
            routes.changeSomething(redis).catch((error) => tally.wrong.push(String(error)));
        }
    };
    await Promise.all([changer(), ...Array.from({ length: CALLERS }, caller)]);
    const calls = Object.values(tally.kinds).reduce((a, b) => a + b, 0);
    process.stdout.write(`# ${calls} calls, ${routes.changes} changes, ${tally.cut} cut by a change; ${JSON.stringify(tally.kinds)} ${JSON.stringify(tally.statuses)}\n`);
    assert.deepEqual(tally.wrong, []);
    assert.deepEqual(tally.failed.slice(0, 20), [], `${tally.failed.length} failed while nothing changed`);
    for (const { name } of KINDS) assert.ok(tally.kinds[name] > 0, `never ${name}`);
    for (const status of [101, 200, 401, 403, 404, 503]) assert.ok(tally.statuses[status] > 0, `never ${status}`);
    assert.ok(tally.cut < calls / 5, `${tally.cut} of ${calls} cut`);
});

test('when it is quiet again every host is where its record says', async () => {
    await until(() => routes.hosts.every((host) => !host.isBusy) && routes.busyComputers.size === 0, 'changes under way');
    await sleep(GRACE_MS + 50);
    tally.wrong = [];
    tally.failed = [];
    for (let i = 0; i < HOSTS; i += 20) await Promise.all(routes.hosts.slice(i, i + 20).map((host) => oneCall(host, KINDS[0])));
    assert.deepEqual(tally.wrong, []);
    assert.deepEqual(tally.failed, []);
    for (const session of sessions) session?.destroy();
    keepAlive.http.destroy();
    keepAlive.https.destroy();
});
