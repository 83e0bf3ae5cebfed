// HTTP/2 floods and bombs: the connection that does it ends (ENHANCE_YOUR_CALM), few requests reach the agent, memory stays, and
// the others' latency, too.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { isSanitized, sleep, until } from '../support/harness.mjs';
import { Admin } from '../support/admin.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { H2Raw, rawAgent, frame, statusOf, hpack, hpackIndex, setting, u32, T, F, CALM } from './h2_raw.mjs';

const rig = new AttackRig();
let agent; // counts requests, never answers
const admin = new Admin({ socketPath: rig.path('admin.sock') });

before(async () => {
    agent = await rawAgent();
    await rig.setUp({
        target: agent,
        config: {
            admin: { address: `unix:${rig.path('admin.sock')}` },
            limits: { write_stall: '3s' },
            log: { access: 'off' },
        },
    });
});
after(async () => {
    agent.stop();
    await rig.stop();
});

const request = (id, more = {}, flags = F.END_HEADERS | F.END) => frame(T.HEADERS, flags, id, hpack(rig.fields('/process.Process/List', more)));
const startRequest = (id) => frame(T.HEADERS, F.END_HEADERS, id, hpack(rig.fields('/process.Process/Start', { 'content-type': 'application/connect+json' })));

async function endedCalmly(conn, reason) {
    assert.ok(await conn.ended(within(5000)), 'the connection stays open');
    assert.equal(conn.goaway?.code, CALM, `GOAWAY ${JSON.stringify(conn.goaway)}`);
    if (reason) await until(() => new RegExp(`connection cut side=client reason=${reason} peer=127.0.0.1`).test(rig.gateway.err), `log line with reason=${reason}`);
}

test('rapid reset: at most 250 requests start upstream, the connection ends', async () => {
    await rig.besideBystander(async () => {
        const start = agent.requests;
        const conn = await H2Raw.open(rig.port);
        await conn.flood((i) => Buffer.concat([request(2 * i + 1), frame(T.RST, 0, 2 * i + 1, u32(8))]), { count: 20000, batch: 200 });
        await endedCalmly(conn, 'resets');
        await sleep(200);
        assert.ok(agent.requests - start <= 250, `${agent.requests - start} requests started`);
    });
});

test('rapid reset in step with the bucket still ends: half of the last 500 streams', async () => {
    const conn = await H2Raw.open(rig.port);
    let i = 0;
    const end = Date.now() + within(8000);
    while (!conn.closed && Date.now() < end && i < 4000) {
        // whole requests without a token between resets keep the bucket full for longer, not the share
        conn.send(Buffer.concat([request(2 * i + 1), frame(T.RST, 0, 2 * i + 1, u32(8))]));
        i++;
        if (i % 5 === 0) await sleep(5);
    }
    await endedCalmly(conn);
    assert.ok(i < 4000);
});

const primitives = {
    'WINDOW_UPDATE of 0': (id) => [startRequest(id), frame(T.WINDOW, 0, id, u32(0))],
    'WINDOW_UPDATE that overflows': (id) => [startRequest(id), frame(T.WINDOW, 0, id, u32(0x7fffffff))],
    'DATA beyond content-length': (id) => [frame(T.HEADERS, F.END_HEADERS, id, hpack(rig.fields('/process.Process/List', { 'content-length': '1' }))), frame(T.DATA, 0, id, 'xx')],
    'trailers without END_STREAM': (id) => [startRequest(id), frame(T.HEADERS, F.END_HEADERS, id, hpack({ 'x-t': 'v' }))],
    'DATA after END_STREAM': (id) => [request(id), frame(T.DATA, 0, id, 'x')],
    'HEADERS after END_STREAM': (id) => [request(id), request(id)],
    'PRIORITY of the wrong size': (id) => [startRequest(id), frame(T.PRIORITY, 0, id, 'xxxx')],
    'a field with a bad value in trailers': (id) => [startRequest(id), frame(T.HEADERS, F.END_HEADERS | F.END, id, hpack({ 'x-t': 'a\r\nb' }))],
};
for (const [name, make] of Object.entries(primitives)) {
    test(`made-you-reset by ${name}: at most 100 requests start upstream`, async () => {
        const start = agent.requests;
        const conn = await H2Raw.open(rig.port);
        await conn.flood((i) => Buffer.concat(make(2 * i + 1)), { count: 1000, batch: 10, ms: within(6000) });
        assert.ok(await conn.ended(within(5000)), 'the connection stays open');
        assert.ok(conn.goaway, 'no GOAWAY');
        await sleep(100);
        assert.ok(agent.requests - start <= 100, `${agent.requests - start} requests started`);
    });
}

test('streams over the limit are refused, and those that were reset count until their work is done', async () => {
    const slow = await rawAgent(); // takes streams, never lets go of one
    const gateway = await rig.startGateway({ routes: rig.routesFor(slow), config: { workers: 1, admin: { address: `unix:${rig.path('streams.sock')}` }, limits: { h2: { streams: 50, streams_untrusted: 50 } } } });
    const conn = await H2Raw.open(gateway.port);
    for (let i = 0; i < 60; i++) conn.send(startRequest(2 * i + 1));
    await until(() => conn.frames.filter((f) => f.type === T.RST).length === 10, 'no stream is refused', within(5000));
    for (const f of conn.frames.filter((g) => g.type === T.RST)) assert.equal(f.payload.readUInt32BE(0), 7);
    await until(() => slow.requests === 50, 'the others are not started', within(3000));
    assert.equal(await new Admin({ socketPath: rig.path('streams.sock') }).metric('exec_gateway_http_refused_streams_total'), 10);
    assert.equal(gateway.err.match(/http: stream cut side=client reason=streams peer=127\.0\.0\.1/g)?.length, 1, 'one line a connection');
    conn.close();
    slow.stop();
});

test('continuation flood: ends within 64 frames and 64 KiB', async () => {
    await rig.besideBystander(async () => {
        for (const size of [0, 1, 8000]) {
            const conn = await H2Raw.open(rig.port, { acks: false }); // an ACK between CONTINUATIONs would be the fault
            conn.send(frame(T.HEADERS, 0, 1, hpack(rig.fields())));
            const filler = size === 1 ? Buffer.from([0xa0]) : size ? hpack([['x', 'y'.repeat(size)]]) : Buffer.alloc(0);
            await conn.flood(() => frame(T.CONT, 0, 1, filler), { count: 100000, batch: 50 });
            await endedCalmly(conn, '(header_block|header_fields)');
            assert.ok(conn.sent < 4 << 20);
        }
    });
});

test('HPACK bomb: 431 or the end, and no memory', async () => {
    const { grown } = await rig.besideBystander(async () => {
        for (let round = 0; round < 10; round++) {
            const conn = await H2Raw.open(rig.port);
            const fat = hpack([['x-fat', 'f'.repeat(4000)]], { indexed: true });
            conn.send(frame(T.HEADERS, F.END_HEADERS | F.END, 1, Buffer.concat([hpack(rig.fields()), fat])));
            const bomb = Buffer.concat([hpack(rig.fields()), ...Array.from({ length: 14000 }, () => hpackIndex(62))]);
            for (let id = 3; id < 43; id += 2) conn.send(frame(T.HEADERS, F.END_HEADERS | F.END, id, bomb));
            assert.ok(await conn.ended(within(5000)));
            assert.equal(conn.goaway?.code, CALM);
        }
    }, { rssMiB: 16 });
    assert.ok(grown < 100);
});

test('cookie bomb with a drip of WINDOW_UPDATE: 431, and no memory', async () => {
    await rig.besideBystander(async () => {
        const conns = [];
        for (let c = 0; c < (isSanitized ? 5 : 20); c++) { // sanitized, more would take longer than write_stall
            const conn = await H2Raw.open(rig.port, { settings: setting(4, 0) });
            conn.send(frame(T.HEADERS, F.END_HEADERS | F.END, 1, Buffer.concat([hpack(rig.fields()), hpack([['cookie', 'a=b']], { indexed: true })])));
            const bomb = Buffer.concat([hpack(rig.fields()), ...Array.from({ length: 900 }, () => hpackIndex(62))]);
            for (let id = 3; id < 201; id += 2) conn.send(frame(T.HEADERS, F.END_HEADERS | F.END, id, bomb));
            conns.push(conn);
        }
        for (let i = 0; i < 20; i++) {
            for (const conn of conns) for (let id = 3; id < 23; id += 2) conn.send(frame(T.WINDOW, 0, id, u32(1)));
            await sleep(50);
        }
        for (const conn of conns) {
            await until(() => conn.closed || conn.counts[T.HEADERS] >= 99, 'not all are answered', within(5000));
            assert.equal(statusOf(conn.frames.find((f) => f.type === T.HEADERS).payload), 431);
        }
        for (const conn of conns) conn.close();
    }, { rssMiB: 64 });
});

test('zero-window stall: streams that nobody reads are reset after write_stall', async () => {
    const conn = await H2Raw.open(rig.port, { settings: setting(4, 0) });
    const quiet = { ...rig.fields(), authorization: `Bearer ${rig.quietToken}` };
    for (let id = 1; id < 41; id += 2) conn.send(Buffer.concat([frame(T.HEADERS, F.END_HEADERS, id, hpack(quiet)), frame(T.DATA, F.END, id, '{}')]));
    await until(() => conn.frames.filter((f) => f.type === T.RST && f.payload.readUInt32BE(0) === 8).length === 20, 'streams are not reset', within(8000));
    assert.equal(await admin.metric('exec_gateway_http_stalled_streams_total'), 20);
    assert.match(rig.gateway.err, /http: stream cut side=client reason=write_stall peer=127\.0\.0\.1/);
    // the connection itself is fine
    conn.send(frame(T.PING, 0, 0, '12345678'));
    await until(() => conn.frames.some((f) => f.type === T.PING && f.flags & F.ACK), 'no PING answer');
    conn.close();
});

const floods = {
    ping: [() => frame(T.PING, 0, 0, '12345678'), 'ping'],
    settings: [() => frame(T.SETTINGS, 0, 0, setting(3, 100)), 'settings'],
    priority: [(i) => frame(T.PRIORITY, 0, 3 + 2 * (i % 1000), Buffer.concat([u32(0), Buffer.from([16])])), 'priority'],
    window_update: [() => frame(T.WINDOW, 0, 0, u32(1)), 'window_update'],
    'empty DATA': [(i) => (i === 0 ? startRequest(1) : frame(T.DATA, 0, 1)), 'empty_data'],
    'padded empty DATA': [(i) => (i === 0 ? startRequest(1) : frame(T.DATA, F.PADDED, 1, Buffer.from([3, 0, 0, 0]))), 'empty_data'],
    'unknown frames': [() => frame(0xee, 0, 0, Buffer.alloc(16000)), 'overhead'],
    'frames of extensions': [() => frame(0x0a, 0, 0, Buffer.alloc(100)), 'overhead'],
};
for (const [name, [make, reason]] of Object.entries(floods)) {
    test(`flood of ${name}: ends with ENHANCE_YOUR_CALM`, async () => {
        await rig.besideBystander(async () => {
            const conn = await H2Raw.open(rig.port);
            await conn.flood(make, { count: 200000, batch: 200 });
            await endedCalmly(conn, reason);
        });
    });
    test(`flood of ${name} by a client that does not read: ends, too`, async () => {
        await rig.besideBystander(async () => {
            const conn = await H2Raw.open(rig.port, { reads: false });
            await conn.flood(make, { count: 200000, batch: 200, ms: within(6000) });
            conn.socket.resume();
            assert.ok(await conn.ended(within(7000)));
        });
    });
}

test('a request byte by byte, in many CONTINUATIONs, is the request', async () => {
    const fields = { ...rig.fields(), authorization: `Bearer ${rig.quietToken}` };
    const block = hpack(fields);
    const ask = async (pieces) => {
        const conn = await H2Raw.open(rig.port, { acks: false }); // an ACK of ours would stand amidst the bytes
        const parts = [];
        const step = Math.ceil(block.length / 20);
        for (let at = 0; at < block.length; at += step)
            parts.push(frame(at === 0 ? T.HEADERS : T.CONT, at + step >= block.length ? F.END_HEADERS : 0, 1, block.subarray(at, at + step)));
        const bytes = Buffer.concat([...parts, frame(T.DATA, F.END, 1, '{}')]);
        for (let at = 0; at < bytes.length; at += pieces) {
            conn.send(bytes.subarray(at, at + pieces));
            if (pieces < 100) await sleep(0);
        }
        await until(() => conn.frames.some((f) => f.id === 1 && f.flags & F.END), 'no answer', within(10000));
        const answer = [conn.status(1), conn.body(1)];
        conn.close();
        return answer;
    };
    const whole = await ask(1 << 20);
    assert.equal(whole[0], 200);
    assert.deepEqual(await ask(1), whole);
});
