// ws clients through a port host, over clear and TLS HTTP/1.1: big messages, pings, close codes, sub-protocols, compression, refusals; and
// over HTTP/2 by extended CONNECT from Node's own client.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { createHash, randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { Rig, isSanitized, toLoopback, until } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';

const rig = new Rig();
const MB = 1000 * 1000;
let gateway, app, token, admin;

before(async () => {
    const agent = await rig.startAgent();
    app = await rig.startApp('sockets');
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            'app--box.computer.test': { port: app.port, visibility: 'public' },
            'direct--box.computer.test': { port: app.port, visibility: 'public', via: 'direct' },
            'private--box.computer.test': { port: app.port, visibility: 'session' },
            'local--box.computer.test': { port: app.port, visibility: 'public', host_header: 'localhost' },
        },
        config: { admin: { address: `unix:${rig.path('admin.sock')}` } },
    });
    admin = new Admin({ socketPath: rig.path('admin.sock') });
    token = rig.accessToken();
});
after(() => rig.stop());

function open(path, { host = 'app--box', tls = false, protocols = [], ...options } = {}) {
    const url = `${tls ? 'wss' : 'ws'}://${host}.computer.test:${tls ? gateway.tls : gateway.clear}${path}`;
    const socket = new WebSocket(url, protocols, { lookup: toLoopback, ca: rig.certificates.pem, maxPayload: 256 * MB, perMessageDeflate: false, ...options });
    socket.closed = new Promise((done) => socket.on('close', (code, reason) => done({ code, reason: String(reason) })));
    socket.refused = new Promise((done) => socket.on('unexpected-response', (request, response) => {
        let body = '';
        response.on('data', (part) => { body += part; }).on('end', () => done({ status: response.statusCode, headers: response.headers, body }));
    }));
    socket.on('error', () => {});
    return socket;
}

/** The status of the refusal; 'open' when there is none. */
function refusal(path, options) {
    const socket = open(path, options);
    return Promise.race([socket.refused.then((answer) => answer.status), new Promise((done) => socket.on('open', () => { socket.terminate(); done('open'); }))]);
}

const once = (socket, event) => new Promise((done, fail) => {
    socket.once(event, (...values) => done(values.length > 1 ? values : values[0]));
    socket.once('close', (code) => fail(new Error(`closed with ${code} before "${event}"`)));
});
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function echo(socket, words) {
    const answer = once(socket, 'message');
    socket.send(words);
    return String((await answer)[0]);
}

for (const tls of [false, true])
    describe(tls ? 'over TLS' : 'in clear', () => {
        // Once at full length: the clients' own JavaScript takes seconds for it.
        const BIG = (tls && !isSanitized ? 100 : 20) * MB;
        test(`${BIG / MB} MB binary each way, byte for byte`, async () => {
            const give = open(`/ws/give?bytes=${BIG}`, { tls });
            const [data, isBinary] = await once(give, 'message');
            assert.ok(isBinary);
            assert.equal(data.length, BIG);
            assert.equal(data[BIG - 1], ((((BIG - 1) % 65536) * 31) + (((BIG - 1) % 65536) >> 8)) & 255);
            give.close(1000);
            assert.equal((await give.closed).code, 1000);

            const bytes = Buffer.concat(Array(BIG / MB).fill(randomBytes(MB)));
            const take = open('/ws/take', { tls });
            await once(take, 'open');
            const answer = once(take, 'message');
            take.send(bytes);
            assert.deepEqual(JSON.parse(String((await answer)[0])), { bytes: BIG, sha256: sha256(bytes) });
            take.close();
        });

        test('text and binary keep their kind, empty messages too', async () => {
            const socket = open('/ws', { tls });
            await once(socket, 'open');
            for (const [message, binary] of [['', false], ['grüße', false], [Buffer.alloc(0), true], [Buffer.from([0, 255]), true]]) {
                const answer = once(socket, 'message');
                socket.send(message, { binary });
                const [data, isBinary] = await answer;
                assert.equal(isBinary, binary);
                assert.deepEqual(data, Buffer.from(message));
            }
            socket.close();
        });

        test('pings pass in both directions, as do pongs', async () => {
            const socket = open('/ws/ping', { tls });
            const asked = once(socket, 'ping');
            const told = once(socket, 'message');
            assert.equal(String(await asked), 'from the app');
            assert.equal(String((await told)[0]), 'pong from the app');
            const pong = once(socket, 'pong');
            socket.ping('from the client');
            assert.equal(String(await pong), 'from the client');
            socket.close();
        });

        test('close codes pass in both directions', async () => {
            for (const code of [1000, 1001, 1011, 3000, 4001, 4999]) {
                const socket = open(`/ws/close?code=${code}`, { tls });
                assert.deepEqual(await socket.closed, { code, reason: 'as told' });
            }
            const socket = open('/ws', { tls });
            await once(socket, 'open');
            socket.close(4321, 'mine');
            assert.deepEqual(await socket.closed, { code: 4321, reason: 'mine' });
        });
    });

test('sub-protocols and extensions are between client and app', async () => {
    const chat = open('/ws', { protocols: ['unknown', 'chat', 'chat.v2'], perMessageDeflate: true });
    await once(chat, 'open');
    assert.equal(chat.protocol, 'chat.v2');
    assert.match(chat.extensions, /permessage-deflate/);
    const words = 'compress me '.repeat(10000);
    assert.equal(await echo(chat, words), words);
    chat.close();
    const plain = open('/ws');
    await once(plain, 'open');
    assert.equal(plain.protocol, '');
    assert.equal(plain.extensions, '');
    plain.close();
});

test('open WebSockets are counted over both protocols, until they end', async () => {
    const tunnels = () => admin.metric('exec_gateway_open_tunnels');
    await until(async () => (await tunnels()) === 0, 'none is open');
    const sockets = [open('/ws'), open('/ws', { tls: true })];
    await Promise.all(sockets.map((socket) => once(socket, 'open')));
    assert.equal(await tunnels(), 2);
    for (const socket of sockets) socket.close();
    await until(async () => (await tunnels()) === 0, 'none is left');
});

test("a refused upgrade is the app's answer: status, headers, body; the connection does not linger", async () => {
    for (const tls of [false, true]) {
        const socket = open('/ws/refuse', { tls });
        const { status, headers, body } = await socket.refused;
        assert.equal(status, 403);
        assert.equal(headers['x-app'], 'sockets');
        assert.equal(body, 'not with me');
    }
});

test('a private port: token by header, query, cookie from the same origin, or sub-protocol; the app sees none of it', async () => {
    const host = 'private--box';
    const origin = `https://${host}.computer.test:${gateway.tls}`;
    const cookie = `a=b; agentcomputer_access_session=${token}; c=d`;
    const ways = [
        { headers: { 'x-access-token': token } },
        { path: `/ws?x=1&access_token=${token}` },
        { headers: { cookie, origin } },
        { protocols: ['chat', `access-token.${token}`] },
        { headers: { authorization: `Bearer ${token}` } },
    ];
    for (const { path = '/ws', ...options } of ways) {
        const socket = open(path, { host, tls: true, ...options });
        await Promise.race([once(socket, 'open'), socket.refused.then((r) => { throw new Error(`${JSON.stringify(options)}: ${r.status} ${r.body}`); })]);
        assert.equal(await echo(socket, 'in'), 'in');
        if (options.protocols) assert.equal(socket.protocol, 'chat');
        socket.close();
    }
    const seen = (await app.seen()).slice(-ways.length);
    assert.ok(!JSON.stringify(seen).includes(token));
    assert.ok(!JSON.stringify(seen).includes('access'), JSON.stringify(seen));
    assert.equal(seen[1].url, '/ws?x=1');
    assert.equal(seen[2].headers.cookie, 'a=b; c=d');
    assert.equal(seen[3].headers['sec-websocket-protocol'], 'chat');

    const only = open('/ws', { host, tls: true, protocols: [`access-token.${token}`] });
    // The client offered nothing but the token; whether it takes an answer without a sub-protocol is its business (ws does not).
    await Promise.race([only.closed, once(only, 'open').catch(() => {})]);
    only.terminate();
});

test('without a token 401, by cookie from elsewhere 403; nothing reaches the app', async () => {
    const before = (await app.seen()).length;
    const host = 'private--box';
    assert.equal(await refusal('/ws', { host, tls: true }), 401);
    const cookie = `agentcomputer_access_session=${token}`;
    for (const origin of [undefined, 'https://evil.example', `https://app--box.computer.test:${gateway.tls}`, `http://${host}.computer.test`, 'null'])
        assert.equal(await refusal('/ws', { host, tls: true, headers: { cookie, ...(origin ? { origin } : {}) } }), 403, String(origin));
    assert.equal((await app.seen()).length, before);
});

test('via: direct, and host_header: localhost rewrites Host and Origin together', async () => {
    const direct = open('/ws/whoami', { host: 'direct--box' });
    assert.equal(String((await once(direct, 'message'))[0]), 'sockets');
    direct.close();
    const local = open('/ws/whoami', { host: 'local--box', tls: true, headers: { origin: `https://local--box.computer.test:${gateway.tls}` } });
    await once(local, 'message');
    local.close();
    const last = (await app.seen()).at(-1);
    assert.match(last.headers.host, /^localhost(:\d+)?$/);
    assert.match(last.headers.origin, /^https?:\/\/localhost(:\d+)?$/);
});

test('a client that vanishes frees the app, an app that vanishes ends the client', async () => {
    const doomed = await rig.startApp('doomed');
    gateway.putRoutes((routes) => { routes.hosts['doomed--box.computer.test'] = { computer: 'cmp_1', port: doomed.port, visibility: 'public' }; });
    const socket = await until(() => new Promise((done) => {
        const attempt = open('/ws', { host: 'doomed--box' });
        attempt.on('open', () => done(attempt));
        attempt.refused.then(() => done(null));
    }), 'the new host does not serve');
    doomed.kill('SIGKILL');
    assert.equal((await socket.closed).code, 1011, 'the gateway says so in the WebSocket');
});

/** A frame of a client (masked), shorter than 126 bytes. */
function frame(opcode, payload) {
    const mask = Buffer.from([1, 2, 3, 4]);
    return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, Buffer.from(payload).map((byte, i) => byte ^ mask[i & 3])]);
}

for (const tls of [false, true])
    test(`extended CONNECT (RFC 8441), ${tls ? 'TLS' : 'clear'}: echo, sub-protocol, close, refusal`, async () => {
        const host = 'app--box.computer.test';
        const origin = `${tls ? 'https' : 'http'}://${host}:${tls ? gateway.tls : gateway.clear}`;
        const session = http2.connect(origin, { lookup: toLoopback, ca: rig.certificates.pem });
        session.on('error', () => {});
        await new Promise((done) => session.once('remoteSettings', done));
        assert.equal(session.remoteSettings.enableConnectProtocol, true);
        const connect = (path, more = {}) => {
            const stream = session.request({
                ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, ':scheme': tls ? 'https' : 'http', ':authority': origin.split('//')[1],
                'sec-websocket-version': '13', origin, ...more,
            }, { endStream: false });
            stream.bytes = Buffer.alloc(0);
            stream.on('data', (part) => { stream.bytes = Buffer.concat([stream.bytes, part]); });
            stream.on('error', () => {});
            stream.head = new Promise((done, fail) => { stream.once('response', done); stream.once('close', () => fail(new Error(`closed ${stream.rstCode}`))); });
            return stream;
        };
        const stream = connect('/ws', { 'sec-websocket-protocol': 'other, chat' });
        const head = await stream.head;
        assert.equal(head[':status'], 200);
        assert.equal(head['sec-websocket-protocol'], 'chat');
        assert.equal(head['sec-websocket-accept'], undefined);
        assert.equal(head.connection, undefined);
        stream.write(frame(1, 'over h2'));
        await until(() => stream.bytes.length >= 9, 'no echo');
        assert.deepEqual(stream.bytes, Buffer.concat([Buffer.from([0x81, 7]), Buffer.from('over h2')]));
        const ended = new Promise((done) => stream.once('end', done));
        stream.write(frame(8, [3, 232])); // 1000
        await ended;
        stream.end();

        const refused = connect('/ws/refuse');
        assert.equal((await refused.head)[':status'], 403);
        await new Promise((done) => refused.once('end', done));
        assert.equal(String(refused.bytes), 'not with me');
        const wrong = session.request({ ':method': 'CONNECT', ':protocol': 'other', ':path': '/', ':scheme': 'https', ':authority': origin.split('//')[1] }, { endStream: false });
        wrong.on('error', () => {});
        const answer = await new Promise((done) => { wrong.once('response', (h) => done(h[':status'])); wrong.once('close', () => done('reset')); });
        assert.ok(answer === 'reset' || answer >= 400, String(answer));
        session.destroy();
    });
