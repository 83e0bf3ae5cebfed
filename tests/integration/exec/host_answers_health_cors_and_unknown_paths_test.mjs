// What exists on the exec host besides the eight methods, and what does not.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, rawExchange } from '../../support/harness.mjs';

const rig = new Rig();
let agent, gateway, token;

before(async () => {
    agent = await rig.startAgent();
    const routes = rig.routesFor(agent);
    routes.computers.cmp_gone = { state: 'running', agent: '127.0.0.1:1', boot: '1' };
    gateway = await rig.startGateway({ routes, config: { exec: { hosts: ['exec.computer.test', '127.0.0.1'] } } });
    token = rig.token();
});
after(() => rig.stop());

const get = (path, options) => fetch(`${gateway.url}${path}`, options);

test('health is 200 without a token, and tells of the computer with one', async () => {
    assert.equal((await get('/health')).status, 200);
    assert.equal((await get('/health', { method: 'HEAD' })).status, 200);
    const alive = await get('/health', { headers: { 'x-access-token': token } });
    assert.ok(alive.status >= 200 && alive.status < 300, `${alive.status}`);
    const dead = await get('/health', { headers: { 'x-access-token': rig.token({ computer: 'cmp_gone', session: 'ses_x' }) } });
    assert.equal(dead.status, 502);
});

test('a preflight is answered without a token, for the eight methods', async () => {
    const response = await get('/process.Process/Start', { method: 'OPTIONS', headers: {
        origin: 'https://app.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,connect-protocol-version' } });
    assert.ok(response.status === 204 || response.status === 200);
    assert.match(response.headers.get('access-control-allow-methods'), /POST/);
    assert.match(response.headers.get('access-control-allow-headers').toLowerCase(), /authorization/);
    assert.match(response.headers.get('access-control-allow-headers').toLowerCase(), /x-access-token/);
    assert.equal(response.headers.get('access-control-max-age'), '7200');
});

test('errors carry CORS headers, so that a page can read them', async () => {
    const response = await get('/process.Process/List', { method: 'POST', headers: { origin: 'https://app.example', 'content-type': 'application/json' }, body: '{}' });
    assert.equal(response.status, 401);
    assert.ok(['*', 'https://app.example'].includes(response.headers.get('access-control-allow-origin')));
    assert.match(response.headers.get('access-control-expose-headers').toLowerCase(), /x-gateway-delivered/);
});

for (const path of ['/process.Process/Exec', '/process.process/Start', '/filesystem.Filesystem/Read', '/metrics', '/files', '/process.Process/Start/', '/process.Process']) {
    test(`${path} does not exist`, async () => {
        const response = await get(path, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
        assert.equal(response.status, 404);
        assert.equal((await response.json()).code, 'not_found');
    });
}

for (const path of ['/process.Process%2fStart', '/process.Process/%53tart', '/x/../process.Process/Start', '/process.Process/Start%00', '//process.Process/Start', '/process.Process%5cStart']) {
    test(`${path}, sent raw, does not exist`, async () => {
        const { text } = await rawExchange(gateway.port, `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        assert.match(text, /^HTTP\/1\.1 404/);
    });
}

test('other methods than POST are 405 with Allow', async () => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
        const response = await get('/process.Process/Start', { method, headers: { authorization: `Bearer ${token}` } });
        assert.equal(response.status, 405);
        assert.match(response.headers.get('allow'), /POST/);
    }
});

test('another content type is 415 with Accept-Post', async () => {
    const response = await get('/process.Process/List', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'text/plain' }, body: 'x' });
    assert.equal(response.status, 415);
    assert.match(response.headers.get('accept-post'), /application\/json/);
});

test('another host is 404', async () => {
    const { text } = await rawExchange(gateway.port, 'GET /health HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 404/);
    const known = await rawExchange(gateway.port, 'GET /health HTTP/1.1\r\nHost: EXEC.computer.test.:8080\r\nConnection: close\r\n\r\n');
    assert.match(known.text, /^HTTP\/1\.1 200/);
});

test('an envelope that is none is named', async () => {
    const response = await get('/process.Process/Start', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/connect+json' },
        body: '{"process":{"cmd":"true"}}' });
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.match(bytes.toString('latin1'), /invalid_argument/);
});
