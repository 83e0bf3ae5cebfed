// What an app sends leaves at once and as it is: server-sent events, ranges, HEAD, early hints, trailers, both directions at the same time.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { Rig, isSanitized, rawExchange, sleep } from '../../support/harness.mjs';
import { ask } from '../../support/http_client.mjs';

const rig = new Rig();
const HOST = 'app--box.computer.test';
const EVENT_MS = isSanitized ? 200 : 20;
let gateway, app;

before(async () => {
    const agent = await rig.startAgent();
    app = await rig.startApp('streams');
    gateway = await rig.startPortsGateway({ agent, hosts: { [HOST]: { port: app.port, visibility: 'public' } } });
});
after(() => rig.stop());

const ways = () => [
    { name: 'HTTP/1.1 clear', host: HOST, http: '1.1', port: gateway.clear },
    { name: 'HTTP/1.1 TLS', host: HOST, http: '1.1', port: gateway.tls, ca: rig.certificates.pem },
    { name: 'HTTP/2 clear', host: HOST, http: '2', port: gateway.clear },
    { name: 'HTTP/2 TLS', host: HOST, http: '2', port: gateway.tls, ca: rig.certificates.pem },
];

test(`events arrive within ${EVENT_MS} ms (95 of 100), each alone`, async () => {
    for (const at of ways()) {
        const late = [];
        let text = '';
        const { status, headers } = await ask(at, {
            path: '/events?count=100&gap=10',
            headers: { accept: 'text/event-stream' },
            onData(chunk) {
                const now = performance.timeOrigin + performance.now();
                text += chunk;
                for (const [, sent] of String(chunk).matchAll(/data: (\S+)/g)) late.push(now - Number(sent));
            },
        });
        assert.equal(status, 200);
        assert.equal(headers['content-type'], 'text/event-stream');
        assert.equal(late.length, 100, at.name);
        assert.equal(text.match(/^id: \d+$/gm).length, 100);
        late.sort((a, b) => a - b);
        assert.ok(late[94] < EVENT_MS, `${at.name}: 95th of 100 came after ${late[94].toFixed(1)} ms`);
    }
});

test('ranges and HEAD pass through', async () => {
    for (const at of ways()) {
        const whole = (await ask(at, { path: '/file?bytes=200000' })).body;
        assert.equal(whole.length, 200000);
        for (const [range, start, end] of [['bytes=0-0', 0, 1], ['bytes=1000-99999', 1000, 100000], ['bytes=199990-', 199990, 200000], ['bytes=-10', 199990, 200000]]) {
            const part = await ask(at, { path: '/file?bytes=200000', headers: { range } });
            assert.equal(part.status, 206, `${at.name} ${range}`);
            assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/200000`);
            assert.deepEqual(part.body, whole.subarray(start, end));
        }
        const none = await ask(at, { path: '/file?bytes=10', headers: { range: 'bytes=10-' } });
        assert.equal(none.status, 416);
        assert.equal(none.headers['content-range'], 'bytes */10');
        const head = await ask(at, { method: 'HEAD', path: '/file?bytes=123456789012' });
        assert.equal(head.status, 200);
        assert.equal(head.headers['content-length'], '123456789012');
        assert.equal(head.headers.etag, '"v1"');
        assert.equal(head.body.length, 0);
    }
});

test('HEAD over one connection: the next answer is not swallowed', async () => {
    const head = `HEAD /file?bytes=5000 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    const { text } = await rawExchange(gateway.clear, [head + head + `GET /whoami HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`]);
    assert.equal(text.match(/HTTP\/1\.1 200 OK/g).length, 3, text);
    assert.equal(text.match(/content-length: 5000/gi).length, 2);
    assert.match(text, /streams(\r\n0\r\n\r\n)?$/);
});

test('103 Early Hints come before the answer', async () => {
    for (const at of ways()) {
        const { status, hints, body } = await ask(at, { path: '/hints' });
        assert.equal(status, 200);
        assert.equal(String(body), 'hinted');
        assert.equal(hints.length, 1, at.name);
        assert.equal(hints[0].status, 103);
        assert.match(hints[0].headers.link, /preload/);
    }
});

test('trailers pass in both directions', async () => {
    for (const at of ways().filter((way) => way.http === '1.1')) {
        const { body, trailers } = await ask(at, { method: 'GET', path: '/trailers', headers: { te: 'trailers' } });
        assert.equal(JSON.parse(body).body, '');
        assert.equal(trailers['x-checksum'], 'abc', at.name);
    }
    for (const at of ways().filter((way) => way.http === '2'))
        assert.equal((await ask(at, { path: '/trailers', headers: { te: 'trailers' } })).trailers['x-checksum'], 'abc', at.name);
    const { text } = await rawExchange(gateway.clear, [
        `POST /trailers HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: x-mine\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nx-mine: 42\r\n\r\n`]);
    assert.match(text, /"body":"hello"/);
    assert.match(text, /"x-mine":"42"/);
});

test('Expect: 100-continue is asked of the app, whose no costs no body', async () => {
    const post = (path) => `POST ${path} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`;
    const yes = await rawExchange(gateway.clear, [post('/sink'), 'hello'], { gap: 300 });
    assert.match(yes.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
    assert.match(yes.text, /\{"bytes":5\}/);
    const no = await rawExchange(gateway.clear, [post('/refuse')], { gap: 300 });
    assert.match(no.text, /^HTTP\/1\.1 413 /);
    assert.match(no.text, /too large/);
});

test('request and response stream at the same time', async () => {
    for (const at of ways()) {
        const body = new PassThrough();
        const got = [];
        const answer = ask(at, { method: 'POST', path: '/duplex', body, onData: (part) => got.push(String(part)) });
        for (let i = 0; i < 5; i++) {
            body.write(`part ${i};`);
            for (let waited = 0; got.join('').split(';').length - 1 <= i; waited++) {
                assert.ok(waited < 500, `${at.name}: part ${i} did not come back while the request was open`);
                await sleep(10);
            }
        }
        body.end();
        assert.equal((await answer).status, 200);
    }
});

test('a body arrives byte for byte in both directions', async () => {
    const bytes = isSanitized ? 4_000_000 : 20_000_000;
    const sent = Buffer.alloc(bytes, 'exec-gateway');
    const digest = (buffer) => createHash('sha256').update(buffer).digest('hex');
    const direct = digest((await ask({ host: 'app', port: app.port }, { path: `/file?bytes=${bytes}` })).body);
    for (const at of ways()) {
        assert.equal(digest((await ask(at, { path: `/file?bytes=${bytes}` })).body), direct, at.name);
        assert.equal(digest((await ask(at, { path: `/stream?bytes=${bytes}` })).body), direct, `${at.name} chunked`);
        assert.deepEqual(JSON.parse((await ask(at, { method: 'PUT', path: '/sink?hash', body: sent })).body), { bytes, sha256: digest(sent) }, at.name);
    }
});

test("a client that leaves frees the app's connection; the next request finds a clean one", async () => {
    for (const at of ways()) {
        const leave = (head, stream) => setTimeout(() => (at.http === '2' ? stream.close(8) : stream.destroy()), 50);
        await assert.rejects(ask(at, { path: '/stream?bytes=1000000000', onHead: leave, onData() {} }));
        assert.equal(String((await ask(at, { path: '/whoami' })).body), 'streams');
    }
});
