// What a strict HTTP/2 server owes a peer that breaks each rule of RFC 9113 and RFC 7541 (the sections that h2spec walks through):
// the right error, of the connection or of the stream alone, in clear and over TLS.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { until } from '../support/harness.mjs';
import { AttackRig, within } from './attack_rig.mjs';
import { F, H2Raw, T, frame, hpack, setting, u32 } from './h2_raw.mjs';

const rig = new AttackRig();
before(() => rig.setUp({ listeners: [{}, { tls: true }], certificate: rig.certificate(), config: { workers: 1 } }));
after(() => rig.stop());

const [PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION] = [1, 3, 5, 6, 9];
const head = (more = {}, path = '/process.Process/List') => rig.fields(path, more);
const whole = { ':method': 'GET', ':scheme': 'http', ':authority': 'exec.computer.test', ':path': '/health' };
const get = (id, fields = whole, flags = F.END_HEADERS | F.END) => frame(T.HEADERS, flags, id, hpack(fields));
const open = (id, more) => frame(T.HEADERS, F.END_HEADERS, id, hpack(head(more)));
const pairs = (fields, ...more) => [...Object.entries(fields), ...more];
const without = (name) => pairs(whole).filter(([key]) => key !== name);
const raw = (id, ...bytes) => frame(T.HEADERS, F.END_HEADERS | F.END, id, Buffer.from(bytes.flat()));
const good = [...hpack(whole)];

// `conn`: GOAWAY with one of these codes, then the end; `stream`: RST_STREAM (or GOAWAY, which the RFC allows as well); neither: nothing happens.
const cases = {
    '§4.1 a frame of unknown type is ignored': { send: () => frame(0x16, 0, 0, 'ignored!') },
    '§4.1 flags that mean nothing are ignored': { send: () => frame(T.PING, 0xfe, 0, 'xxxxxxxx') },
    '§4.1 the reserved bit of a stream id is ignored': { send: () => frame(T.PING, 0, 0x80000000, 'xxxxxxxx') },
    '§4.2 DATA above SETTINGS_MAX_FRAME_SIZE': { send: () => [open(1), frame(T.DATA, F.END, 1, Buffer.alloc(16385))], conn: [SIZE] },
    '§4.2 HEADERS above SETTINGS_MAX_FRAME_SIZE': { send: () => frame(T.HEADERS, F.END_HEADERS | F.END, 1, Buffer.alloc(16385)), conn: [SIZE] },
    '§4.3 a header block that is none': { send: () => raw(1, 0x40), conn: [COMPRESSION] },
    '§4.3 PRIORITY inside a header block': { send: () => [get(1, whole, F.END), frame(T.PRIORITY, 0, 1, Buffer.alloc(5)), frame(T.CONT, F.END_HEADERS, 1)], conn: [PROTOCOL] },
    '§4.3 HEADERS of another stream inside a header block': { send: () => [get(1, whole, F.END), get(3)], conn: [PROTOCOL] },
    '§5.1 idle: DATA': { send: () => frame(T.DATA, F.END, 1, 'x'), conn: [PROTOCOL] },
    '§5.1 idle: RST_STREAM': { send: () => frame(T.RST, 0, 1, u32(8)), conn: [PROTOCOL] },
    '§5.1 idle: WINDOW_UPDATE': { send: () => frame(T.WINDOW, 0, 1, u32(100)), conn: [PROTOCOL] },
    '§5.1 idle: CONTINUATION': { send: () => frame(T.CONT, F.END_HEADERS, 1, hpack(whole)), conn: [PROTOCOL] },
    '§5.1 half closed: DATA': { send: () => [frame(T.HEADERS, F.END_HEADERS | F.END, 1, hpack(head())), frame(T.DATA, F.END, 1, 'x')], stream: [CLOSED] },
    '§5.1 half closed: HEADERS': { send: () => [frame(T.HEADERS, F.END_HEADERS | F.END, 1, hpack(head())), get(1)], stream: [CLOSED] },
    '§5.1 half closed: CONTINUATION': { send: () => [frame(T.HEADERS, F.END_HEADERS | F.END, 1, hpack(head())), frame(T.CONT, F.END_HEADERS, 1, hpack(whole))], conn: [PROTOCOL, CLOSED] },
    '§5.1 closed: DATA behind a RST_STREAM goes nowhere': { send: () => [open(1), frame(T.RST, 0, 1, u32(8)), frame(T.DATA, F.END, 1, 'x')] },
    '§5.1.1 a stream id of the server': { send: () => get(2), conn: [PROTOCOL] },
    '§6.1 DATA of stream 0': { send: () => frame(T.DATA, F.END, 0, 'x'), conn: [PROTOCOL] },
    '§6.1 DATA with more padding than payload': { send: () => [open(1), frame(T.DATA, F.END | F.PADDED, 1, '\x06abcde')], conn: [PROTOCOL] },
    '§6.2 HEADERS of stream 0': { send: () => get(0), conn: [PROTOCOL] },
    '§6.2 HEADERS with more padding than payload': { send: () => frame(T.HEADERS, F.END_HEADERS | F.END | F.PADDED, 1, Buffer.concat([Buffer.from([255]), hpack(whole)])), conn: [PROTOCOL] },
    '§6.3 PRIORITY of stream 0': { send: () => frame(T.PRIORITY, 0, 0, Buffer.alloc(5)), conn: [PROTOCOL] },
    '§6.3 PRIORITY of four bytes': { send: () => [open(1), frame(T.PRIORITY, 0, 1, Buffer.alloc(4))], stream: [SIZE] },
    '§6.4 RST_STREAM of stream 0': { send: () => frame(T.RST, 0, 0, u32(8)), conn: [PROTOCOL] },
    '§6.4 RST_STREAM of three bytes': { send: () => [open(1), frame(T.RST, 0, 1, Buffer.alloc(3))], conn: [SIZE] },
    '§6.5 SETTINGS with ACK and a payload': { send: () => frame(T.SETTINGS, F.ACK, 0, setting(1, 0)), conn: [SIZE] },
    '§6.5 SETTINGS of a stream': { send: () => frame(T.SETTINGS, 0, 1, setting(3, 100)), conn: [PROTOCOL] },
    '§6.5 SETTINGS of three bytes': { send: () => frame(T.SETTINGS, 0, 0, Buffer.alloc(3)), conn: [SIZE] },
    '§6.5.2 ENABLE_PUSH 2': { send: () => frame(T.SETTINGS, 0, 0, setting(2, 2)), conn: [PROTOCOL] },
    '§6.5.2 INITIAL_WINDOW_SIZE 2^31': { send: () => frame(T.SETTINGS, 0, 0, setting(4, 0x80000000)), conn: [FLOW] },
    '§6.5.2 MAX_FRAME_SIZE 16383': { send: () => frame(T.SETTINGS, 0, 0, setting(5, 16383)), conn: [PROTOCOL] },
    '§6.5.2 MAX_FRAME_SIZE 2^24': { send: () => frame(T.SETTINGS, 0, 0, setting(5, 1 << 24)), conn: [PROTOCOL] },
    '§6.5.2 an unknown setting is ignored': { send: () => frame(T.SETTINGS, 0, 0, setting(0xff, 1)) },
    '§6.6 PUSH_PROMISE of a client': { send: () => [open(1), frame(T.PUSH, F.END_HEADERS, 1, Buffer.concat([u32(2), hpack(whole)]))], conn: [PROTOCOL] },
    '§6.7 PING of a stream': { send: () => frame(T.PING, 0, 1, 'xxxxxxxx'), conn: [PROTOCOL] },
    '§6.7 PING of six bytes': { send: () => frame(T.PING, 0, 0, 'xxxxxx'), conn: [SIZE] },
    '§6.7 an ACK that nobody asked for is ignored': { send: () => frame(T.PING, F.ACK, 0, 'yyyyyyyy') },
    '§6.8 GOAWAY of a stream': { send: () => frame(T.GOAWAY, 0, 1, Buffer.alloc(8)), conn: [PROTOCOL] },
    '§6.9 WINDOW_UPDATE of 0': { send: () => frame(T.WINDOW, 0, 0, u32(0)), conn: [PROTOCOL] },
    '§6.9 WINDOW_UPDATE of 0 for a stream': { send: () => [open(1), frame(T.WINDOW, 0, 1, u32(0))], stream: [PROTOCOL] },
    '§6.9 WINDOW_UPDATE of three bytes': { send: () => frame(T.WINDOW, 0, 0, Buffer.alloc(3)), conn: [SIZE] },
    '§6.9.1 windows above 2^31-1': { send: () => [frame(T.WINDOW, 0, 0, u32(0x7fffffff)), frame(T.WINDOW, 0, 0, u32(0x7fffffff))], conn: [FLOW] },
    '§6.9.1 a stream window above 2^31-1': { send: () => [open(1), frame(T.WINDOW, 0, 1, u32(0x7fffffff)), frame(T.WINDOW, 0, 1, u32(0x7fffffff))], stream: [FLOW] },
    '§6.9.2 a stream window above 2^31-1 by SETTINGS': { send: () => [open(1), frame(T.WINDOW, 0, 1, u32(0x7fff0000)), frame(T.SETTINGS, 0, 0, setting(4, 0x7fffffff))], conn: [FLOW] },
    '§6.10 CONTINUATION of stream 0': { send: () => [get(1, whole, F.END), frame(T.CONT, F.END_HEADERS, 0)], conn: [PROTOCOL] },
    '§6.10 CONTINUATION behind a block that has ended': { send: () => [open(1), frame(T.CONT, F.END_HEADERS, 1, hpack(whole))], conn: [PROTOCOL] },
    '§6.10 DATA inside a header block': { send: () => [get(1, whole, 0), frame(T.DATA, F.END, 1, 'x')], conn: [PROTOCOL] },
    '§8.1 a second HEADERS that does not end the stream': { send: () => [open(1), frame(T.HEADERS, F.END_HEADERS, 1, hpack({ x: 'y' }))], stream: [PROTOCOL] },
    '§8.1 a length other than the body\'s': { send: () => [open(1, { 'content-length': '1' }), frame(T.DATA, F.END, 1, 'xy')], stream: [PROTOCOL] },
    '§8.1 a length other than that of several DATA': { send: () => [open(1, { 'content-length': '9' }), frame(T.DATA, 0, 1, 'xy'), frame(T.DATA, F.END, 1, 'xy')], stream: [PROTOCOL] },
    '§8.2.1 a name in upper case': { send: () => get(1, pairs(whole, ['X-Upper', 'a'])), stream: [PROTOCOL] },
    '§8.2.1 a value with CR': { send: () => get(1, pairs(whole, ['x', 'a\rb'])), stream: [PROTOCOL] },
    '§8.2.2 connection': { send: () => get(1, pairs(whole, ['connection', 'keep-alive'])), stream: [PROTOCOL] },
    '§8.2.2 transfer-encoding': { send: () => get(1, pairs(whole, ['transfer-encoding', 'chunked'])), stream: [PROTOCOL] },
    '§8.2.2 te other than trailers': { send: () => get(1, pairs(whole, ['te', 'trailers, deflate'])), stream: [PROTOCOL] },
    '§8.3 an unknown pseudo field': { send: () => get(1, pairs(whole, [':test', 'x'])), stream: [PROTOCOL] },
    '§8.3 a pseudo field of responses': { send: () => get(1, pairs(whole, [':status', '200'])), stream: [PROTOCOL] },
    '§8.3 a pseudo field in trailers': { send: () => [open(1), frame(T.HEADERS, F.END_HEADERS | F.END, 1, hpack({ ':method': 'GET' }))], stream: [PROTOCOL] },
    '§8.3 a pseudo field behind a regular one': { send: () => get(1, [['x', 'y'], ...pairs(whole)]), stream: [PROTOCOL] },
    '§8.3.1 an empty :path': { send: () => get(1, { ...whole, ':path': '' }), stream: [PROTOCOL] },
    ...Object.fromEntries([':method', ':scheme', ':path'].flatMap((name) => [
        [`§8.3.1 without ${name}`, { send: () => get(1, without(name)), stream: [PROTOCOL] }],
        [`§8.3.1 ${name} twice`, { send: () => get(1, [[name, whole[name]], ...pairs(whole)]), stream: [PROTOCOL] }],
    ])),
    'RFC 7541 §2.3.3 index 0': { send: () => raw(1, good, 0x80), conn: [COMPRESSION] },
    'RFC 7541 §2.3.3 an index behind both tables': { send: () => raw(1, good, 0xff, 0x80, 0x01), conn: [COMPRESSION] },
    'RFC 7541 §4.2 a table size at the end of a block': { send: () => raw(1, good, 0x20), conn: [COMPRESSION] },
    'RFC 7541 §6.3 a table size above ours': { send: () => raw(1, 0x3f, 0xe2, 0x1f, good), conn: [COMPRESSION] },
    'RFC 7541 §5.2 Huffman padding of a whole byte': { send: () => raw(1, good, 0x00, 0x01, 0x78, 0x82, 0x1f, 0xff), conn: [COMPRESSION] },
    'RFC 7541 §5.2 Huffman padding with zeros': { send: () => raw(1, good, 0x00, 0x01, 0x78, 0x81, 0x18), conn: [COMPRESSION] },
    'RFC 7541 §5.2 the EOS symbol': { send: () => raw(1, good, 0x00, 0x01, 0x78, 0x84, 0xff, 0xff, 0xff, 0xff), conn: [COMPRESSION] },
};

/** Nothing has happened: PING is answered, and no stream was reset. */
async function lives(conn) {
    conn.send(frame(T.PING, 0, 0, 'are you?'));
    await until(() => conn.frames.some((f) => f.type === T.PING && f.payload.toString() === 'are you?'), `no answer, GOAWAY ${JSON.stringify(conn.goaway)}`, within(3000));
    assert.equal(conn.goaway, null);
}

for (const [name, { send, conn: codes, stream }] of Object.entries(cases))
    test(name, async () => {
        for (const [index, tls] of [[0, false], [1, true]]) {
            const conn = await H2Raw.open(rig.gateway.ports[index], { tls });
            conn.send(Buffer.concat([send()].flat()));
            const reset = () => conn.frames.find((f) => f.type === T.RST)?.payload.readUInt32BE(0);
            if (codes) {
                assert.ok(await conn.ended(within(3000)), 'the connection stays');
                assert.ok(codes.includes(conn.goaway?.code), `GOAWAY ${JSON.stringify(conn.goaway)}`);
            } else if (stream) {
                await until(() => reset() !== undefined || conn.goaway, `no error, answer ${conn.status(1)}`, within(3000));
                assert.ok(stream.includes(reset() ?? conn.goaway.code), `RST_STREAM ${reset()}, GOAWAY ${JSON.stringify(conn.goaway)}`);
                if (!conn.goaway) await lives(conn);
            } else {
                await lives(conn);
                assert.equal(reset(), undefined);
            }
            conn.close();
        }
    });

test('something else than the preface ends the connection', async () => {
    const socket = connect({ port: rig.gateway.ports[1], host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], servername: 'exec.computer.test' });
    socket.on('error', () => {});
    socket.resume();
    const closed = new Promise((done) => socket.on('close', () => done(true)));
    socket.write('INVALID CONNECTION PREFACE\r\n\r\n');
    assert.equal(await closed, true);
});

test('SETTINGS are acknowledged, a PING comes back as it was, a shut window sends one byte when it is opened by one', async () => {
    const conn = await H2Raw.open(rig.port, { settings: setting(4, 0) });
    await until(() => conn.frames.some((f) => f.type === T.SETTINGS && f.flags & F.ACK), 'no ACK', within(3000));
    conn.send(get(1));
    await until(() => conn.find(T.HEADERS, 1), 'no head', within(3000));
    await lives(conn);
    assert.equal(conn.find(T.DATA, 1), undefined, 'DATA through a shut window');
    conn.send(frame(T.SETTINGS, 0, 0, setting(4, 1)));
    await until(() => conn.find(T.DATA, 1), 'no DATA', within(3000));
    assert.equal(conn.body(1).length, 1);
    conn.send(frame(T.WINDOW, 0, 1, u32(1000)));
    await until(() => conn.frames.some((f) => f.type === T.DATA && f.flags & F.END), 'not the whole body', within(3000));
    assert.equal(conn.body(1), '{"status":"ok"}\n');
    conn.close();
});
