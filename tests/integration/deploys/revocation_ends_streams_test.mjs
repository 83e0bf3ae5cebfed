// A session revoked or deleted, a token past its `exp`, a computer deleted: new requests are refused, and open streams of every protocol end
// within a second on every worker, in their own protocol.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { ConnectError, Code } from '@connectrpc/connect';
import { Rig, isSanitized, sleep, toLoopback, until } from '../../support/harness.mjs';
import { processClient } from '../../support/process_client.mjs';

const rig = new Rig();
const LIMIT_MS = isSanitized ? 3000 : 1000;
const CLIENTS = [['connect', '2'], ['connect', '1.1'], ['grpc', '2'], ['grpc-web', '2'], ['grpc-web', '1.1']];
let agent, redis, gateway, app, count = 0;

before(async () => {
    agent = await rig.startAgent();
    app = await rig.startApp('sockets');
    redis = await rig.startRedis();
    gateway = await rig.startGateway({ redis, config: { workers: 3, ports: { domain: 'computer.test' }, auth: { leeway: '0s' } } });
    await until(async () => (await fetch(`${gateway.url}/health`)).ok, 'up');
});
after(() => rig.stop());

/** A computer and a session of its own, and streams of every kind on it, more than one per worker: [{ name, end: Promise<{ at, what }> }]. */
async function openAll(options = {}) {
    const n = ++count;
    const computer = `cmp_r${n}`;
    const session = `ses_r${n}`;
    redis.cli('HSET', `computer:{${computer}}`, 'state', 'running', 'agent', agent.address, 'boot', '1');
    redis.cli('HSET', `session:{${session}}`, 'kind', 'exec', 'computer', computer, 'user', 'usr_1');
    const token = rig.token({ computer, session, ...options });
    const streams = [];
    for (let i = 0; i < 2; i++) {
        for (const [protocol, http] of CLIENTS) {
            const stream = { name: `${protocol} h${http}` };
            const client = processClient({ url: gateway.url, token, protocol, http });
            stream.end = (async () => {
                try {
                    for await (const _ of client.start({ process: { cmd: 'sleep', args: ['60'] } })) stream.isOpen = true;
                    return { at: Date.now(), what: 'success' };
                } catch (error) { return { at: Date.now(), what: ConnectError.from(error).code }; }
            })();
            streams.push(stream);
        }
        for (const accept of ['application/x-ndjson', 'text/event-stream']) {
            const stream = { name: accept };
            stream.end = (async () => {
                const response = await fetch(`${gateway.url}/process.Process/Start`, {
                    method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept }, body: JSON.stringify({ command: ['sleep', '60'] }),
                });
                stream.isOpen = response.status === 200;
                const text = await response.text();
                return { at: Date.now(), what: /"code":"(\w+)"/.exec(text)?.[1] ?? text.slice(-200) };
            })();
            streams.push(stream);
        }
    }
    await until(() => streams.every((stream) => stream.isOpen), `open: ${streams.filter((s) => !s.isOpen).map((s) => s.name)}`, 20000);
    const again = () => fetch(`${gateway.url}/process.Process/List`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{}' });
    return { computer, session, streams, again };
}

const WORDS = { [Code.Unauthenticated]: 'unauthenticated', [Code.Unavailable]: 'unavailable', [Code.NotFound]: 'not_found' };

async function expectEnds({ streams }, began, code) {
    for (const { name, end } of streams) {
        const { at, what } = await end;
        assert.equal(typeof what === 'number' ? WORDS[what] : what, WORDS[code], name);
        assert.ok(at - began < LIMIT_MS, `${name} ended after ${at - began} ms`);
    }
}

describe('a session', () => {
    for (const [name, change] of [
        ['is revoked', (session) => redis.cli('HSET', `session:{${session}}`, 'revoked', '1')],
        ['is deleted', (session) => redis.cli('DEL', `session:{${session}}`)],
    ])
        test(name, async () => {
            const all = await openAll();
            change(all.session);
            const began = Date.now(); // redis-cli itself may take long on a busy machine
            await expectEnds(all, began, Code.Unauthenticated);
            assert.equal((await all.again()).status, 401);
        });
});

test('a computer is deleted', async () => {
    const all = await openAll();
    redis.cli('DEL', `computer:{${all.computer}}`);
    const began = Date.now();
    await expectEnds(all, began, Code.Unavailable);
    assert.equal((await all.again()).status, 404);
});

test('the token passes its exp', async () => {
    const ttl = isSanitized ? 20 : 8;
    const minted = Date.now();
    const all = await openAll({ ttl });
    await sleep(Math.max(0, minted + ttl * 1000 - 1000 - Date.now()));
    await expectEnds(all, minted + (ttl + 1) * 1000, Code.Unauthenticated); // `exp` is in whole seconds
    assert.equal((await all.again()).status, 401);
});

test('a WebSocket of a published port ends with 1008', async () => {
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'running', 'agent', agent.address, 'boot', '1');
    redis.cli('HSET', 'session:{acs_1}', 'kind', 'browser', 'computer', 'cmp_1', 'user', 'usr_1');
    redis.cli('HSET', 'host:{app--box.computer.test}', 'computer', 'cmp_1', 'port', app.port, 'visibility', 'session');
    const socket = new WebSocket(`ws://app--box.computer.test:${gateway.port}/ws`, { lookup: toLoopback, headers: { 'x-access-token': rig.accessToken() } });
    const closed = new Promise((done) => socket.on('close', (code) => done(code)));
    socket.on('error', () => {});
    await new Promise((done, fail) => { socket.on('open', done); socket.on('unexpected-response', (_, response) => fail(new Error(`status ${response.statusCode}`))); });
    redis.cli('HSET', 'session:{acs_1}', 'revoked', '1');
    const began = Date.now();
    assert.equal(await closed, 1008);
    assert.ok(Date.now() - began < LIMIT_MS);
});

test('on_expiry: allow lets an open stream live, and refuses the next request', async () => {
    const lenient = await rig.startGateway({ routes: rig.routesFor(agent), config: { auth: { leeway: '0s', on_expiry: 'allow' } } });
    const token = rig.token({ ttl: isSanitized ? 8 : 3 });
    const text = fetch(`${lenient.url}/process.Process/Start`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/x-ndjson' },
        body: JSON.stringify({ command: ['sh', '-c', `sleep ${isSanitized ? 11 : 5}; echo lived`] }),
    }).then((response) => response.text());
    assert.match(await text, /lived/);
    const next = await fetch(`${lenient.url}/process.Process/List`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{}' });
    assert.equal(next.status, 401);
});
