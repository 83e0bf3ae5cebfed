// Agents that lie, stall or vanish: their own calls end as `unavailable` (or another error), never as a success, in bounded time;
// nobody else notices.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { sleep, until } from '../support/harness.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { rawAgent, frame, hpack, setting, u32, T, F } from './h2_raw.mjs';

const rig = new AttackRig();
let agent;
let script;

before(async () => {
    agent = await rawAgent((conn) => script(conn));
    script = () => {};
    await rig.setUp({
        target: agent,
        config: {
            limits: { ping_interval: '500ms', ping_timeout: '500ms', write_stall: '2s', response_head_timeout: '3s' },
            upstream: { allow: ['127.0.0.0/8'], connect_timeout: '1s', backoff_failures: 1000 },
        },
    });
});
after(async () => {
    agent.stop();
    await rig.stop();
});

/** One call to cmp_1: `{ status, code, error, ms }`; `body` is sent, in pieces of `many`. */
async function call({ path = '/process.Process/List', type = 'application/json', body = '{}', ms = within(8000), token = rig.attackToken } = {}) {
    const began = Date.now();
    const session = http2.connect(rig.gateway.url);
    session.on('error', () => {});
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': type, authorization: `Bearer ${token}` });
    const result = { status: 0, text: '', error: null };
    stream.on('response', (head) => { result.status = head[':status']; result.head = head; });
    stream.on('error', (error) => { result.error = error.code ?? error.message; });
    stream.on('data', (chunk) => { result.text += chunk; });
    stream.end(body);
    const timer = setTimeout(() => stream.close(8), ms);
    await new Promise((done) => stream.on('close', done));
    clearTimeout(timer);
    session.close();
    result.rst = stream.rstCode;
    result.ms = Date.now() - began;
    return result;
}
const isSuccess = (r) => r.status === 200 && r.rst === 0 && !/"code"/.test(r.text);

const OK = hpack({ ':status': '200', 'content-type': 'application/json' });
const onRequest = (conn, then) => { conn.onFrame = (f) => { if (f.type === T.HEADERS) then(f.id); }; };

const lies = {
    'rubbish instead of HTTP/2': (conn) => conn.send(Buffer.from('HTTP/1.1 200 OK\r\n\r\n')),
    'rubbish after the request': (conn) => onRequest(conn, () => conn.send(Buffer.alloc(64, 0xfe))),
    'closing after the request': (conn) => onRequest(conn, () => conn.socket.end()),
    'a reset of the connection': (conn) => onRequest(conn, () => conn.socket.resetAndDestroy()),
    'a response without :status': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack({ x: 'y' })))),
    'status 101': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack({ ':status': '101' })))),
    'status 99': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack({ ':status': '99' })))),
    'two :status': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack([[':status', '200'], [':status', '200']])))),
    'upper-case names': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack([[':status', '200'], ['X-Upper', '1']])))),
    'CRLF in a value': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack([[':status', '200'], ['x-a', 'a\r\nset-cookie: b']])))),
    'transfer-encoding': (conn) => onRequest(conn, (id) => conn.send(frame(T.HEADERS, 5, id, hpack([[':status', '200'], ['transfer-encoding', 'chunked']])))),
    'DATA before the head': (conn) => onRequest(conn, (id) => conn.send(frame(T.DATA, 1, id, '{}'))),
    'more than content-length': (conn) => onRequest(conn, (id) => conn.send(Buffer.concat([frame(T.HEADERS, 4, id, hpack({ ':status': '200', 'content-length': '2' })), frame(T.DATA, 1, id, '{}xx')]))),
    'less than content-length': (conn) => onRequest(conn, (id) => conn.send(Buffer.concat([frame(T.HEADERS, 4, id, hpack({ ':status': '200', 'content-length': '9' })), frame(T.DATA, 1, id, '{}')]))),
    'a head of 100 KiB': (conn) => onRequest(conn, (id) => { const block = hpack([[':status', '200'], ...Array.from({ length: 20 }, (_, i) => [`x-${i}`, 'v'.repeat(5000)])]); for (let at = 0; at < block.length; at += 16000) conn.send(frame(at ? T.CONT : T.HEADERS, at + 16000 >= block.length ? 4 : 0, id, block.subarray(at, at + 16000))); }),
    'endless CONTINUATION': (conn) => onRequest(conn, (id) => { conn.send(frame(T.HEADERS, 0, id, OK)); conn.flood(() => frame(T.CONT, 0, id), { count: 1000 }); }),
    'endless interim responses': (conn) => onRequest(conn, (id) => { conn.flood(() => frame(T.HEADERS, 4, id, hpack({ ':status': '103', link: '</x>' })), { count: 5000, batch: 50 }); }),
    'a pushed stream': (conn) => onRequest(conn, (id) => conn.send(frame(T.PUSH, 4, id, Buffer.concat([u32(2), hpack({ ':method': 'GET', ':path': '/', ':scheme': 'http', ':authority': 'x' })])))),
    'REFUSED_STREAM for ever': (conn) => onRequest(conn, (id) => conn.send(frame(T.RST, 0, id, u32(7)))),
    'CANCEL': (conn) => onRequest(conn, (id) => conn.send(frame(T.RST, 0, id, u32(8)))),
    'NO_ERROR without an answer': (conn) => onRequest(conn, (id) => conn.send(frame(T.RST, 0, id, u32(0)))),
    'HTTP_1_1_REQUIRED': (conn) => onRequest(conn, (id) => conn.send(frame(T.RST, 0, id, u32(13)))),
    'GOAWAY below the stream, for ever': (conn) => onRequest(conn, () => { conn.send(frame(T.GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)]))); }),
    'GOAWAY with an error in mid-stream, then the end': (conn) => onRequest(conn, (id) => { conn.send(Buffer.concat([frame(T.HEADERS, 4, id, OK), frame(T.GOAWAY, 0, 0, Buffer.concat([u32(id), u32(2)]))])); setTimeout(() => conn.socket.end(), 50); }),
    'MAX_CONCURRENT_STREAMS 0': setting(3, 0),
    'MAX_FRAME_SIZE 0': setting(5, 0),
    'MAX_FRAME_SIZE 2^24': setting(5, 1 << 24),
    'INITIAL_WINDOW_SIZE beyond 2^31': setting(4, 0xffffffff),
    'ENABLE_PUSH 7': setting(2, 7),
    'a flood of SETTINGS': (conn) => onRequest(conn, () => conn.flood(() => frame(T.SETTINGS, 0, 0), { count: 5000 })),
    'a flood of PING': (conn) => onRequest(conn, () => conn.flood(() => frame(T.PING, 0, 0, '12345678'), { count: 5000 })),
    'a flood of empty DATA': (conn) => onRequest(conn, (id) => { conn.send(frame(T.HEADERS, 4, id, OK)); conn.flood(() => frame(T.DATA, 0, id), { count: 5000 }); }),
    'silence, PINGs included': (conn) => { conn.acks = false; },
};

for (const [name, lie] of Object.entries(lies)) {
    test(`agent with ${name}: an error within seconds, the bystander goes on`, async () => {
        script = typeof lie === 'function' ? lie : () => {};
        agent.settings = typeof lie === 'function' ? undefined : lie;
        for (const conn of agent.conns.splice(0)) conn.close();
        await sleep(20);
        await rig.besideBystander(async () => {
            const started = agent.requests;
            const result = await call();
            assert.ok(!isSuccess(result), JSON.stringify(result));
            assert.ok(result.ms < within(6000), `took ${result.ms} ms`);
            assert.ok(agent.requests - started <= 2, `${agent.requests - started} tries`);
        });
    });
}

test('hostile settings are over', () => { agent.settings = undefined; });

test('an agent that shrinks the window to nothing and opens it again gets the whole request', async () => {
    let got = 0;
    script = (conn) => {
        conn.send(frame(T.SETTINGS, 0, 0, setting(4, 0)));
        conn.onFrame = (f) => {
            if (f.type === T.HEADERS) setTimeout(() => conn.send(frame(T.WINDOW, 0, f.id, u32(1))), 100);
            if (f.type !== T.DATA) return;
            got += f.payload.length;
            if (f.flags & F.END) conn.send(Buffer.concat([frame(T.HEADERS, 4, f.id, OK), frame(T.DATA, 1, f.id, '{}')]));
            else conn.send(frame(T.WINDOW, 0, f.id, u32(got > 5 ? 1000 : 1)));
        };
    };
    for (const conn of agent.conns.splice(0)) conn.close();
    const result = await call({ body: JSON.stringify({ pad: 'x'.repeat(200) }) });
    assert.ok(isSuccess(result), JSON.stringify(result));
    assert.ok(got > 200);
});

test('an agent that takes nothing of a request: the call ends after write_stall, not the bystander', async () => {
    script = (conn) => conn.send(frame(T.SETTINGS, 0, 0, setting(4, 0)));
    for (const conn of agent.conns.splice(0)) conn.close();
    await rig.besideBystander(async () => {
        const result = await call({ body: JSON.stringify({ pad: 'x'.repeat(200000) }) }); // more than passes before its SETTINGS are here
        assert.ok(!isSuccess(result));
        assert.ok(result.ms < within(6000), `took ${result.ms} ms`);
    });
});

test('REFUSED_STREAM once: tried again once, and only then', async () => {
    let refused = 0;
    script = (conn) => onRequest(conn, (id) => {
        if (refused++ === 0) conn.send(frame(T.RST, 0, id, u32(7)));
        else conn.send(Buffer.concat([frame(T.HEADERS, 4, id, OK), frame(T.DATA, 1, id, '{}')]));
    });
    for (const conn of agent.conns.splice(0)) conn.close();
    await sleep(50);
    const result = await call();
    assert.ok(isSuccess(result), JSON.stringify(result));
    assert.equal(refused, 2);
});

test('a real agent that is stopped (SIGSTOP) is given up by PING, an open stream ends as unavailable', async () => {
    const victim = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(victim), config: { drain_timeout: '200ms', limits: { ping_interval: '500ms', ping_timeout: '500ms' } } });
    const session = http2.connect(gateway.url);
    const stream = session.request({ ':method': 'POST', ':path': '/process.Process/Start', 'content-type': 'application/json', accept: 'application/x-ndjson', authorization: `Bearer ${rig.attackToken}` });
    let text = '';
    stream.on('data', (chunk) => { text += chunk; });
    stream.on('error', () => {});
    stream.end(JSON.stringify({ process: { cmd: '/bin/sleep', args: ['60'] } }));
    await until(() => text.includes('start'), `not started: ${text}`, within(5000));
    victim.process.kill('SIGSTOP');
    const began = Date.now();
    await until(() => stream.closed, 'the stream stays open', within(6000));
    assert.match(text, /"code":"unavailable"/);
    assert.ok(Date.now() - began < within(4000));
    session.close();
    victim.process.kill('SIGCONT');
    await until(() => /side=agent reason=ping_timeout/.test(gateway.err), 'log line');
});
