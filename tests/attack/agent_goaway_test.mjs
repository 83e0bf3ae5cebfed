// An agent that says GOAWAY in the midst of its work: what is at or below its last id finishes, what is above it is sent once more to the
// next connection, and whatever the client is told, no request runs twice. Each call has a number in its body; the agent counts by it.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { Admin } from '../support/admin.mjs';
import { sleep, until } from '../support/harness.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { rawAgent, frame, hpack, setting, u32, T, F } from './h2_raw.mjs';

const CALLERS = 200, ROUNDS = 4, SESSIONS = 4, STREAMS = 20;
const REFUSED = 1; // by each GOAWAY: eight connections at most are under one, ten retries are kept
const OK = hpack({ ':status': '200', 'content-type': 'application/json' });
const rig = new AttackRig();
const admin = new Admin({ socketPath: rig.path('admin.sock') });
let agent, script, sessions;

before(async () => {
    agent = await rawAgent((conn) => script(conn));
    await rig.setUp({ target: agent, config: { workers: 1, admin: { address: `unix:${rig.path('admin.sock')}` }, upstream: { allow: ['127.0.0.0/8'], pending_timeout: '30s' } } });
    sessions = Array.from({ length: SESSIONS }, () => http2.connect(rig.gateway.url).on('error', () => {}));
});
after(async () => {
    for (const session of sessions ?? []) session.destroy();
    agent.stop();
    await rig.stop();
});

/** The next connections to the agent do this; `settings`: theirs. */
async function newAgent(does, settings) {
    script = does;
    agent.settings = settings;
    for (const conn of agent.conns.splice(0)) conn.close();
    await sleep(50);
}

/** `{ status, text, rst, delivered }` of a List whose body comes in `pieces`, a turn apart. */
async function call(number, pieces = [JSON.stringify({ number })]) {
    const stream = sessions[number % SESSIONS].request({ ':method': 'POST', ':path': '/process.Process/List', 'content-type': 'application/json', authorization: `Bearer ${rig.attackToken}` });
    const result = { number, status: 0, text: '' };
    stream.on('response', (head) => { result.status = head[':status']; result.delivered = head['x-gateway-delivered']; });
    stream.on('data', (chunk) => { result.text += chunk; });
    stream.on('error', () => {});
    const timer = setTimeout(() => stream.close(8), within(15000));
    const gone = new Promise((done) => stream.on('close', done));
    for (const piece of pieces) {
        stream.write(piece);
        if (pieces.length > 1) await sleep(20);
    }
    stream.end();
    await gone;
    clearTimeout(timer);
    return { ...result, rst: stream.rstCode };
}
const isSuccess = (result) => result.status === 200 && result.rst === 0 && JSON.parse(result.text).number === result.number;

/** The books of an agent: what arrived whole, how often, and what it has run. */
class Books {
    constructor() { Object.assign(this, { arrived: new Map(), ran: new Map(), refused: new Set(), goaways: 0 }); }

    static add(map, number) { map.set(number, (map.get(number) ?? 0) + 1); }

    /** Tells `then` of each whole request of `conn`; what it sends after GOAWAY above the last id is not looked at. */
    keep(conn, then) {
        const bodies = new Map();
        conn.open = new Map(); // stream → number, arrived and neither run nor refused
        conn.last = Infinity;
        conn.onFrame = (f) => {
            if (f.type === T.HEADERS) bodies.set(f.id, '');
            else if (f.type === T.DATA) bodies.set(f.id, bodies.get(f.id) + f.payload);
            if ((f.type !== T.HEADERS && f.type !== T.DATA) || !(f.flags & F.END)) return;
            const { number } = JSON.parse(bodies.get(f.id));
            Books.add(this.arrived, number);
            conn.open.set(f.id, number);
            if (f.id <= conn.last) then(f.id, number);
            else this.refuse(conn, f.id);
        };
    }

    run(conn, id) {
        const number = conn.open.get(id);
        conn.open.delete(id);
        Books.add(this.ran, number);
        conn.send(Buffer.concat([frame(T.HEADERS, F.END_HEADERS, id, OK), frame(T.DATA, F.END, id, JSON.stringify({ number }))]));
    }

    refuse(conn, id) {
        this.refused.add(conn.open.get(id));
        conn.open.delete(id);
    }

    /** GOAWAY: the streams above `last` will never run. */
    leave(conn, last) {
        this.goaways++;
        conn.last = last;
        conn.send(frame(T.GOAWAY, 0, 0, Buffer.concat([u32(last), u32(0)])));
        for (const id of [...conn.open.keys()].filter((each) => each > last)) this.refuse(conn, id);
    }
}

test('GOAWAY in the middle, again and again under 200 concurrent calls: all succeed, each ran exactly once', async () => {
    const books = new Books();
    await newAgent((conn) => {
        const runAll = () => { for (const id of [...conn.open.keys()]) books.run(conn, id); };
        books.keep(conn, (id) => {
            clearTimeout(conn.rest);
            if (conn.last !== Infinity) return books.run(conn, id);
            if (books.ran.size > CALLERS * (ROUNDS - 1)) return runAll(); // nobody begins any more: nothing would earn a retry
            if (conn.open.size < STREAMS) { conn.rest = setTimeout(runAll, 100); return; } // some fill no connection
            // Who was refused already is not among the last ones: twice is the next test.
            const ids = [...conn.open.keys()].sort((a, b) => a - b);
            let last = ids.length - 1 - REFUSED;
            for (let i = last + 1; i < ids.length; i++) if (books.refused.has(conn.open.get(ids[i]))) last = i;
            books.leave(conn, ids[last]);
            setTimeout(runAll, 5); // those below finish when the GOAWAY was heard
        });
    }, setting(3, STREAMS));
    const retries = await admin.metric('exec_gateway_retries_total');
    const results = [];
    await Promise.all(Array.from({ length: CALLERS }, async (_, caller) => {
        for (let round = 0; round < ROUNDS; round++) results.push(await call(caller + round * CALLERS));
    }));
    assert.deepEqual(results.filter((result) => !isSuccess(result)), []);
    assert.equal(books.ran.size, CALLERS * ROUNDS);
    assert.deepEqual([...books.ran].filter(([, count]) => count !== 1), [], 'ran more than once');
    assert.ok(books.goaways >= 10 && books.refused.size >= 10, `${books.goaways} GOAWAYs refused ${books.refused.size}`);
    assert.deepEqual([...books.arrived].filter(([number, count]) => count !== (books.refused.has(number) ? 2 : 1)), [], 'a refused one arrives twice, all others once');
    assert.equal(await admin.metric('exec_gateway_retries_total') - retries, books.refused.size);
});

test('refused by two GOAWAYs: two tries, an honest `unavailable`, and it never ran', async () => {
    const books = new Books();
    await newAgent((conn) => books.keep(conn, () => books.leave(conn, 0)));
    const result = await call(1);
    assert.deepEqual([result.status, JSON.parse(result.text).code, result.delivered], [503, 'unavailable', 'never']);
    assert.deepEqual([books.arrived.get(1), books.ran.size], [2, 0]);
});

test('a body that is still in our hands is sent again, byte for byte', async () => {
    const bodies = [];
    let hasLeft = false;
    await newAgent((conn) => {
        let body = '';
        conn.onFrame = (f) => {
            if (f.type !== T.DATA) return;
            body += f.payload;
            if (!hasLeft && body.length > 5000) {
                hasLeft = true;
                bodies.push(body);
                conn.send(frame(T.GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)])));
            } else if (f.flags & F.END) {
                bodies.push(body);
                conn.send(Buffer.concat([frame(T.HEADERS, F.END_HEADERS, f.id, OK), frame(T.DATA, F.END, f.id, '{"number":1}')]));
            }
        };
    });
    const pieces = ['{"number":1,"pad":"', ...Array.from({ length: 10 }, (_, i) => String(i).repeat(1000)), '"}'];
    const result = await call(1, pieces);
    assert.ok(isSuccess(result), JSON.stringify(result));
    assert.equal(bodies.length, 2);
    assert.ok(bodies[0].length < pieces.join('').length && pieces.join('').startsWith(bodies[0]));
    assert.equal(bodies[1], pieces.join(''));
});

test('a body that has been sent on and let go of is not sent again: the call fails, no second request', async () => {
    const seen = { requests: 0, bytes: 0 };
    await newAgent((conn) => {
        conn.onFrame = (f) => {
            if (f.type === T.HEADERS) seen.requests++;
            if (f.type !== T.DATA) return;
            seen.bytes += f.payload.length;
            if (seen.bytes > 400000) conn.send(frame(T.GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)])));
            else if (f.payload.length > 0) conn.send(Buffer.concat([frame(T.WINDOW, 0, 0, u32(f.payload.length)), frame(T.WINDOW, 0, f.id, u32(f.payload.length))]));
        };
    });
    const result = await call(1, ['{"number":1,"pad":"', ...Array.from({ length: 12 }, () => 'x'.repeat(50000)), '"}']);
    assert.ok(!isSuccess(result) && result.status >= 500, JSON.stringify({ ...result, text: result.text.slice(0, 200) }));
    await sleep(200);
    assert.equal(seen.requests, 1);
    assert.ok(seen.bytes > 400000, `${seen.bytes} bytes`);
});

test('GOAWAY for most of 200 calls at once: few are tried again, who succeeded ran once, who failed never ran', async () => {
    const books = new Books();
    await newAgent((conn) => {
        books.keep(conn, (id) => {
            if (books.hasLeft) return books.run(conn, id);
            if (books.arrived.size < CALLERS) return;
            books.hasLeft = true;
            for (const each of agent.conns.filter((other) => other.open?.size > 0)) {
                const ids = [...each.open.keys()].sort((a, b) => a - b);
                books.leave(each, ids[Math.floor(ids.length / 4)]);
                for (const below of [...each.open.keys()]) books.run(each, below);
            }
        });
    }, setting(3, CALLERS));
    const retries = await admin.metric('exec_gateway_retries_total');
    const results = await Promise.all(Array.from({ length: CALLERS }, (_, number) => call(number)));
    const tried = await admin.metric('exec_gateway_retries_total') - retries;
    assert.ok(books.refused.size > CALLERS / 2, `${books.refused.size} refused`);
    assert.ok(tried >= 1 && tried <= 10, `${tried} tried again`);
    for (const result of results) {
        const hasRun = books.ran.get(result.number) ?? 0;
        assert.equal(hasRun, isSuccess(result) ? 1 : 0, JSON.stringify(result));
        if (!isSuccess(result)) assert.equal(result.delivered, 'never', JSON.stringify(result));
    }
    assert.equal(results.filter(isSuccess).length, CALLERS - books.refused.size + tried);
});
