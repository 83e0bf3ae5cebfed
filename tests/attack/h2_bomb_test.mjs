// The HTTP/2 bomb: requests that cost their sender a few bytes (a hundred cookies from the dynamic table) for answers that it never takes
// (windows of 0 or 1, then one byte at a time), 100 streams on each of 100 connections, with good tokens of eight sessions of a computer:
// memory stays, every stream has ended in time, and nobody else notices. The one limit that is not the default is limits.write_stall, to
// keep the test short.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { isSanitized, rssKiB, sleep, until } from '../support/harness.mjs';
import { Admin } from '../support/admin.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { H2Raw, frame, hpack, hpackIndex, setting, u32, T, F } from './h2_raw.mjs';

const CONNS = isSanitized ? 10 : 100, STREAMS = 100, SESSIONS = 8, COOKIES = 100, STALL_MS = within(8000);
const RSS_MIB = 200; // 64 KiB for each of 2048 answers that were begun are 128 of them
const rig = new AttackRig();
const admin = new Admin({ socketPath: rig.path('admin.sock') });
let tokens;

/** In a process of its own: answers every request with 128 KiB, as far as the windows let it. */
const GUEST = `
    import http2 from 'node:http2';
    const big = Buffer.alloc(128 << 10, 'x');
    const guest = http2.createServer({ maxSessionMemory: 1000, settings: { maxConcurrentStreams: 2000 } });
    guest.on('session', (session) => session.on('error', () => {}));
    guest.on('stream', (stream) => { stream.on('error', () => {}); stream.respond({ ':status': 200, 'content-type': 'application/json' }); stream.end(big); });
    guest.listen(0, '127.0.0.1', () => console.log('listening ' + guest.address().port));
`;

before(async () => {
    const guest = rig.start('guest', process.execPath, [rig.write('guest.mjs', GUEST)]);
    const target = { address: `127.0.0.1:${(await guest.line(/listening (\d+)/))[1]}` };
    await rig.setUp({ target, config: { admin: { address: `unix:${rig.path('admin.sock')}` }, limits: { write_stall: `${STALL_MS}ms` }, log: { access: 'off' } } });
    tokens = Array.from({ length: SESSIONS }, (_, i) => rig.token({ computer: 'cmp_1', session: `ses_1_${i}` }));
});
after(() => rig.stop());

async function bomb(number, window) {
    const conn = await H2Raw.open(rig.port, { settings: setting(4, window) });
    const head = hpack({ ...rig.fields(), authorization: `Bearer ${tokens[number % tokens.length]}` });
    const first = Buffer.concat([head, hpack([['cookie', 'a=b']], { indexed: true })]);
    const cookies = Buffer.concat(Array.from({ length: COOKIES - 1 }, () => hpackIndex(62)));
    const more = Buffer.concat([head, hpackIndex(62), cookies]);
    const streams = Array.from({ length: STREAMS }, (_, i) => [
        frame(T.HEADERS, F.END_HEADERS, 2 * i + 1, i === 0 ? Buffer.concat([first, cookies]) : more), frame(T.DATA, F.END, 2 * i + 1, '{}'),
    ]);
    conn.send(Buffer.concat(streams.flat()));
    return conn;
}

/** Streams that were ended against their will, or with their connection. */
const dead = (conn) => (conn.closed ? STREAMS : new Set(conn.frames.filter((f) => f.type === T.RST || (f.flags & F.END && f.type <= T.HEADERS)).map((f) => f.id)).size);

for (const window of [0, 1]) {
    test(`bomb with a window of ${window} and a drip of WINDOW_UPDATEs of one byte: memory and time have their bounds`, async (t) => {
        const before = rssKiB(rig.gateway.pid);
        const result = await rig.besideBystander(async () => {
            const began = Date.now();
            const conns = await Promise.all(Array.from({ length: CONNS }, (_, number) => bomb(number, window)));
            const drip = Buffer.concat(Array.from({ length: STREAMS }, (_, i) => frame(T.WINDOW, 0, 2 * i + 1, u32(1))));
            let open = 0, atGuest = 0, peak = 0, ended;
            do {
                await sleep(1000);
                open = Math.max(open, await admin.metric('exec_gateway_open_requests'));
                atGuest = Math.max(atGuest, await admin.metric('exec_gateway_upstream_streams_open'));
                peak = Math.max(peak, (rssKiB(rig.gateway.pid) - before) / 1024);
                for (const conn of conns) conn.send(drip);
                ended = conns.reduce((sum, conn) => sum + dead(conn), 0);
            } while (ended < CONNS * STREAMS && Date.now() - began < 2 * STALL_MS + within(10000));
            t.diagnostic(`${open} open at once, ${atGuest} at the guest, ${ended} ended in ${Date.now() - began} ms, ${Math.round(peak)} MiB`);
            for (const conn of conns) conn.close();
            assert.ok(open >= 1000 * Math.min(1, CONNS * STREAMS / 2000), `only ${open} open`); // limits.requests_per_computer of each worker
            assert.equal(ended, CONNS * STREAMS, 'streams live on');
            if (!isSanitized) assert.ok(peak < RSS_MIB, `RSS grew by ${peak} MiB`);
            await until(async () => await admin.metric('exec_gateway_open_requests') <= 1, 'requests stay open', within(10000));
        }, { rssMiB: RSS_MIB, p99: 1000 });
        t.diagnostic(`grown by ${Math.round(result.grown)} MiB, bystander's p99 ${Math.round(result.p99)} ms`);
    });
}
