// Upgrade attacks through a port host: a tunnel opens after a valid 101 to a WebSocket handshake and never else; bytes that a client
// sends before that reach nobody.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Rig, rawExchange, sleep, until, isSanitized } from '../support/harness.mjs';

const rig = new Rig();
const host = 'app--box.computer.test';
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const good = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
const app = { got: '', conns: 0, answer: good, delay: 0 };
let server, gateway;
const within = (ms) => (isSanitized ? 3 * ms : ms);

before(async () => {
    server = createServer((socket) => {
        app.conns++;
        socket.on('error', () => {});
        let answered = false;
        socket.on('data', (bytes) => {
            app.got += bytes.toString('latin1');
            if (answered || !app.got.includes('\r\n\r\n')) return;
            answered = true;
            setTimeout(() => { socket.write(app.answer, 'latin1'); if (app.ends) socket.end(); }, app.delay);
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const agent = await rig.startAgent();
    gateway = await rig.startPortsGateway({ agent, hosts: { [host]: { port: server.address().port, visibility: 'public' } }, config: { drain_timeout: '200ms' } });
});
after(async () => {
    server.close();
    await rig.stop();
});

const handshake = (more = {}) => {
    const fields = { Host: host, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Version': '13', ...more };
    return `${more.line ?? 'GET /ws HTTP/1.1'}\r\n${Object.entries(fields).filter(([n, v]) => n !== 'line' && v !== undefined).map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`;
};
const early = '\x81\x85\0\0\0\0EARLY';
const smuggled = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const reset = (answer = good, { delay = 0, ends = false } = {}) => Object.assign(app, { got: '', answer, delay, ends });

test('a valid handshake is a tunnel, and early bytes wait for the 101', async () => {
    reset(good, { delay: 300 });
    const socket = connect(gateway.clear, '127.0.0.1');
    let got = '';
    socket.on('data', (b) => { got += b.toString('latin1'); });
    socket.on('error', () => {});
    socket.write(handshake() + early, 'latin1');
    await until(() => app.got.includes('\r\n\r\n'), 'the handshake does not arrive', within(5000));
    await sleep(100);
    assert.ok(!app.got.includes('EARLY'), 'sent before the 101');
    await until(() => app.got.includes('EARLY'), 'the early bytes are lost', within(5000));
    assert.match(got, /^HTTP\/1\.1 101 /);
    socket.destroy();
});

const refusedByApp = {
    '200': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno',
    '403': 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno',
    '101 with a wrong Sec-WebSocket-Accept': good.replace(accept, 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='),
    '101 without Upgrade': 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n',
    '101 to h2c': good.replace('Upgrade: websocket', 'Upgrade: h2c'),
};
for (const [name, answer] of Object.entries(refusedByApp)) {
    test(`the app answers ${name}: no tunnel, what the client sent is nobody's`, async () => {
        reset(answer);
        const got = await rawExchange(gateway.clear, [Buffer.from(handshake() + smuggled + early, 'latin1')], { ms: within(1500) });
        await sleep(50);
        assert.ok(!got.text.startsWith('HTTP/1.1 101 '), got.text);
        assert.ok(!app.got.includes('EARLY'), app.got);
        assert.ok(!app.got.includes('/smuggled') || [...got.text.matchAll(/^HTTP\/1\.1 /gm)].length <= 2, 'smuggled');
    });
}

const refusedByUs = {
    POST: { line: 'POST /ws HTTP/1.1' },
    'a body': { 'Content-Length': '5' },
    'a chunked body': { 'Transfer-Encoding': 'chunked' },
    h2c: { Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' },
    'h2c beside websocket': { Upgrade: 'websocket, h2c' },
    'TLS/1.0': { Upgrade: 'TLS/1.0' },
    'HTTP/1.0': { line: 'GET /ws HTTP/1.0' },
    'no key': { 'Sec-WebSocket-Key': undefined },
    'no Connection': { Connection: 'keep-alive' },
};
for (const [name, more] of Object.entries(refusedByUs)) {
    test(`a handshake with ${name} opens no tunnel`, async () => {
        reset();
        const got = await rawExchange(gateway.clear, [Buffer.from(handshake(more) + early, 'latin1')], { ms: within(1500) });
        assert.ok(!got.text.startsWith('HTTP/1.1 101 '), got.text);
        assert.ok(!app.got.includes('EARLY'), app.got);
        assert.ok(!/^upgrade: (h2c|tls)/im.test(app.got), app.got);
        assert.ok(!/http2-settings/i.test(app.got));
    });
}

test('a 101 with a length is a tunnel (RFC 9110 §8.6), and the client hears of no length', async () => {
    reset(good.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\n\x81\x02hi'));
    const got = await rawExchange(gateway.clear, [Buffer.from(handshake(), 'latin1')], { ms: within(1500) });
    assert.match(got.text, /^HTTP\/1\.1 (101|502) /);
    assert.doesNotMatch(got.text, /content-length: 5/i);
});
