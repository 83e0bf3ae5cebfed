// Tokens of the wrong computer, kind, audience, algorithm or time, in every protocol that a caller may speak.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac, createSign } from 'node:crypto';
import { readFileSync as readFile } from 'node:fs';
import http2 from 'node:http2';
import { once } from 'node:events';
import { Rig, ISSUER, KID } from '../../support/harness.mjs';

const rig = new Rig();
let gateway;

before(async () => {
    const agent = await rig.startAgent();
    const routes = rig.routesFor(agent);
    routes.sessions.ses_revoked = { kind: 'exec', computer: 'cmp_1', revoked: true };
    routes.sessions.ses_other = { kind: 'exec', computer: 'cmp_2' };
    routes.computers.cmp_stopped = { state: 'stopped', agent: agent.address, boot: '1' };
    gateway = await rig.startGateway({ routes });
});
after(() => rig.stop());

const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);
const claims = (more = {}) => ({ iss: ISSUER, aud: 'exec', sid: 'ses_1', cid: 'cmp_1', sub: 'u', kind: 'exec', cap: ['process'], iat: now(), exp: now() + 600, ...more });

function sign(body, header = {}) {
    const text = `${b64({ alg: 'ES256', typ: 'JWT', kid: KID, ...header })}.${b64(body)}`;
    return `${text}.${createSign('SHA256').update(text).sign({ key: readFile(rig.keyFile), dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

const cases = {
    'no token': [undefined, 401, 'unauthenticated'],
    'rubbish': ['x.y.z', 401, 'unauthenticated'],
    'expired': [() => sign(claims({ exp: now() - 60 })), 401, 'unauthenticated'],
    'no exp': [() => sign(claims({ exp: undefined })), 401, 'unauthenticated'],
    'not yet valid': [() => sign(claims({ nbf: now() + 60 })), 401, 'unauthenticated'],
    'wrong audience': [() => sign(claims({ aud: 'access' })), 401, 'unauthenticated'],
    'wrong issuer': [() => sign(claims({ iss: 'https://evil.test' })), 401, 'unauthenticated'],
    'unknown kid': [() => sign(claims(), { kid: 'other' }), 401, 'unauthenticated'],
    'alg none': [() => `${b64({ alg: 'none', kid: KID })}.${b64(claims())}.`, 401, 'unauthenticated'],
    'HS256 under the public key': [() => {
        const text = `${b64({ alg: 'HS256', typ: 'JWT', kid: KID })}.${b64(claims())}`;
        return `${text}.${createHmac('sha256', readFile(rig.keyFile)).update(text).digest('base64url')}`;
    }, 401, 'unauthenticated'],
    'jwk in the header': [() => sign(claims(), { jwk: { kty: 'EC' } }), 401, 'unauthenticated'],
    'bytes behind the signature': [() => `${sign(claims())}!!`, 401, 'unauthenticated'],
    'too long': [() => sign(claims({ pad: 'x'.repeat(9000) })), 401, 'unauthenticated'],
    'wrong kind': [() => sign(claims({ kind: 'browser' })), 403, 'permission_denied'],
    'no capability': [() => sign(claims({ cap: ['files'] })), 403, 'permission_denied'],
    'session of another computer': [() => sign(claims({ sid: 'ses_other' })), 403, 'permission_denied'],
    'revoked session': [() => sign(claims({ sid: 'ses_revoked' })), 401, 'unauthenticated'],
    'unknown computer': [() => sign(claims({ cid: 'cmp_nowhere', sid: 'ses_9' })), 404, 'not_found'],
    'stopped computer': [() => sign(claims({ cid: 'cmp_stopped', sid: 'ses_9' })), 503, 'unavailable'],
};
const grpcCodes = { unauthenticated: '16', permission_denied: '7', not_found: '5', unavailable: '14' };

async function call(path, type, token, body = Buffer.alloc(0)) {
    const session = http2.connect(gateway.url);
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': type, ...(token ? { authorization: `Bearer ${token}` } : {}) });
    let head, trailers = {};
    const chunks = [];
    stream.on('response', (headers) => { head = headers; });
    stream.on('trailers', (fields) => { trailers = fields; });
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.end(body);
    await once(stream, 'close');
    session.close();
    return { head, trailers, body: Buffer.concat(chunks) };
}

for (const [name, [make, status, code]] of Object.entries(cases)) {
    test(`${name}: ${code}`, async () => {
        const token = typeof make === 'function' ? make() : make;

        const unary = await call('/process.Process/List', 'application/json', token, Buffer.from('{}'));
        assert.equal(unary.head[':status'], status);
        assert.equal(JSON.parse(unary.body).code, code);
        assert.equal(unary.head['x-gateway-delivered'], 'never');
        assert.ok(unary.head['x-request-id']);

        const stream = await call('/process.Process/Start', 'application/connect+json', token, Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]));
        assert.equal(stream.head[':status'], 200);
        assert.equal(stream.body[0], 2, 'END_STREAM');
        assert.equal(JSON.parse(stream.body.subarray(5)).error.code, code);

        const grpc = await call('/process.Process/List', 'application/grpc+proto', token, Buffer.alloc(5));
        assert.equal(grpc.head[':status'], 200);
        assert.equal(grpc.head['grpc-status'], grpcCodes[code], 'trailers-only');

        const web = await call('/process.Process/List', 'application/grpc-web+proto', token, Buffer.alloc(5));
        assert.equal(web.head[':status'], 200);
        assert.ok(web.head['grpc-status'] === grpcCodes[code] || web.body.toString('latin1').includes(`grpc-status: ${grpcCodes[code]}`));

        const plain = await call('/process.Process/Start', 'application/json', token, Buffer.from('{"command":["true"]}'));
        assert.equal(plain.head[':status'], status);
        assert.equal(JSON.parse(plain.body).code, code);
    });
}

test('naming another computer than the token says is refused', async () => {
    const token = sign(claims());
    const response = await fetch(`${gateway.url}/process.Process/List`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'x-computer-id': 'cmp_2' }, body: '{}' });
    assert.equal(response.status, 403);
});

test('two Authorization fields are refused', async () => {
    const token = sign(claims());
    const session = http2.connect(gateway.url);
    const stream = session.request({ ':method': 'POST', ':path': '/process.Process/List', 'content-type': 'application/json',
        'x-access-token': [token, token] });
    let head;
    stream.on('response', (headers) => { head = headers; });
    stream.end('{}');
    stream.resume();
    await once(stream, 'close');
    session.close();
    assert.equal(head[':status'], 400);
});

test('the good token works, and no token ever reaches the access log', async () => {
    const token = sign(claims());
    const good = await call('/process.Process/List', 'application/json', token, Buffer.from('{}'));
    assert.equal(good.head[':status'], 200);
    const query = await fetch(`${gateway.url}/process.Process/List?access_token=${token}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
    assert.equal(query.status, 200);
    assert.ok(!gateway.accessLog().includes(token.slice(-40)));
    assert.ok(!gateway.err.includes(token.slice(-40)));
});
