// Redis stopped, slow, emptied, or without its invalidation link: known routes go on, unknown ones are `unavailable` in bounded
// time, changes are seen within a second of the link, and all comes back by itself.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import http2 from 'node:http2';
import { once } from 'node:events';
import { Rig, sleep, until, isSanitized } from '../support/harness.mjs';

const rig = new Rig();
let agent, redis, gateway, link;
const slack = isSanitized ? 3 : 1;

/** A wire to Redis that can be slow or cut. */
async function wire(port) {
    const it = { delay: 0, sockets: new Set() };
    const server = createServer((a) => {
        const b = connect(port, '127.0.0.1');
        const pass = (from, to) => {
            it.sockets.add(from);
            from.on('error', () => {});
            let last = Promise.resolve(); // in order, also when the delay changes
            from.on('data', (bytes) => {
                const due = Date.now() + it.delay;
                last = last.then(async () => {
                    if (due > Date.now()) await sleep(due - Date.now());
                    if (!to.destroyed) to.write(bytes);
                });
            });
            from.on('close', () => { it.sockets.delete(from); to.destroy(); });
        };
        pass(a, b);
        pass(b, a);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    it.port = server.address().port;
    it.cut = () => { for (const socket of it.sockets) socket.destroy(); };
    it.stop = () => { server.close(); it.cut(); };
    return it;
}

before(async () => {
    agent = await rig.startAgent();
    redis = await rig.startRedis();
    link = await wire(redis.port);
    rig.putRoutes(redis, agent);
    for (let i = 2; i < 10; i++) {
        redis.cli('HSET', `computer:{cmp_${i}}`, 'state', 'running', 'agent', agent.address, 'boot', '1');
        redis.cli('HSET', `session:{ses_${i}}`, 'kind', 'exec', 'computer', `cmp_${i}`, 'user', 'usr_1');
    }
    gateway = await rig.startGateway({
        redis: { port: link.port },
        config: { workers: 1, drain_timeout: '200ms' },
    });
});
after(async () => {
    link.stop();
    await rig.stop();
});

async function call(n = 1, ms = 10000) {
    const began = Date.now();
    const session = http2.connect(gateway.url);
    session.on('error', () => {});
    const stream = session.request({ ':method': 'POST', ':path': '/process.Process/List', 'content-type': 'application/json', authorization: `Bearer ${token(n)}` });
    const result = { status: 0, text: '' };
    stream.on('response', (head) => { result.status = head[':status']; });
    stream.on('error', () => {});
    stream.on('data', (chunk) => { result.text += chunk; });
    stream.end('{}');
    const timer = setTimeout(() => stream.close(8), ms);
    await new Promise((done) => stream.on('close', done));
    clearTimeout(timer);
    session.close();
    result.ms = Date.now() - began;
    return result;
}
const tokens = {};
const token = (n) => (tokens[n] ??= rig.token({ computer: `cmp_${n}`, session: `ses_${n}` }));
const works = (n) => async () => { const r = await call(n); return r.status === 200 && r; };

test('known routes go on while Redis is stopped, unknown ones are unavailable within lookup_timeout', async () => {
    assert.equal((await call(1)).status, 200);
    redis.process.kill('SIGSTOP');
    try {
        for (let i = 0; i < 20; i++) {
            assert.equal((await call(1)).status, 200);
            await sleep(50);
        }
        const unknown = await call(2);
        assert.equal(unknown.status, 503, unknown.text);
        assert.ok(unknown.ms < 4000 * slack, `${unknown.ms} ms`);
    } finally {
        redis.process.kill('SIGCONT');
    }
    await until(works(2), 'no recovery', 2500 * slack);
});

test('a slow Redis only makes the first request slow', async () => {
    link.delay = 150;
    const first = await call(3);
    assert.equal(first.status, 200, first.text);
    const next = await call(3);
    assert.equal(next.status, 200);
    assert.ok(next.ms < 140 * slack, `${next.ms} ms`);
    link.delay = 0;
});

test('FLUSHALL: the computers are gone within a second', async () => {
    assert.equal((await call(1)).status, 200);
    redis.cli('FLUSHALL');
    await until(async () => [401, 403, 404].includes((await call(1)).status), 'still served', 1000 * slack);
    rig.putRoutes(redis, agent);
    for (let i = 2; i < 10; i++) {
        redis.cli('HSET', `computer:{cmp_${i}}`, 'state', 'running', 'agent', agent.address, 'boot', '1');
        redis.cli('HSET', `session:{ses_${i}}`, 'kind', 'exec', 'computer', `cmp_${i}`, 'user', 'usr_1');
    }
    await until(works(1), 'does not come back', 3000 * slack);
});

test('losing only the invalidation link: a change meanwhile is seen when it is back, within a second or two', async () => {
    assert.equal((await call(4)).status, 200);
    for (let round = 0; round < 3; round++) {
        for (const line of redis.cli('CLIENT', 'LIST').split('\n')) {
            const id = /\bid=(\d+)/.exec(line)?.[1];
            if (id && (/\bsub=[1-9]/.test(line) || / flags=\S*[tP]/.test(line))) redis.cli('CLIENT', 'KILL', 'ID', id);
        }
        redis.cli('HSET', 'computer:{cmp_4}', 'state', round % 2 ? 'running' : 'stopped');
        await until(async () => ((await call(4)).status === 200) === (round % 2 === 1), `round ${round}: the change is not seen`, 2500 * slack);
    }
});

test('cut again and again under load: known routes never fail', async () => {
    assert.equal((await call(1)).status, 200);
    let failures = 0;
    for (let i = 0; i < 30; i++) {
        if (i % 5 === 0) link.cut();
        if ((await call(1)).status !== 200) failures++;
        await sleep(20);
    }
    assert.equal(failures, 0);
    await until(works(5), 'no recovery', 3000 * slack);
});

test('a reply that is no Redis: that connection is dropped, and the next one serves', async () => {
    const before = gateway.err.length;
    for (const socket of link.sockets) if (socket.remotePort !== redis.port) socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
    await until(works(6), 'no recovery', 4000 * slack);
    assert.equal((await call(1)).status, 200);
    assert.ok(gateway.err.length >= before);
});
