// The admin listener: who may ask, what it says about a gateway at work, what it ends, and that no secret leaves through it.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync, existsSync } from 'node:fs';
import { Rig, until, freePort, isSanitized, rawExchange } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';
import { processClient, collect } from '../../support/process_client.mjs';

const rig = new Rig();
const SECRET = 'correct horse battery staple';
const slack = isSanitized ? 3 : 1;
let agent, gateway, admin, token, port;

const run = (command, headers = {}) => fetch(`${gateway.url}/process.Process/Start`, {
    method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers }, body: JSON.stringify({ command }) });
const openStream = async () => {
    const response = await run(['sleep', '60'], { accept: 'application/x-ndjson' });
    const reader = response.body.getReader();
    await reader.read();
    return { id: response.headers.get('x-request-id'), reader };
};
const restOf = async (reader) => {
    let text = '';
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return text;
        text += Buffer.from(value).toString();
    }
};

before(async () => {
    agent = await rig.startAgent();
    port = await freePort();
    const routes = rig.routesFor(agent, { agent_token: 'agent-secret-2' });
    gateway = await rig.startGateway({ routes, certificate: rig.certificate(), listeners: [{}, { tls: true }],
        config: { admin: { address: `127.0.0.1:${port}`, secret_file: rig.write('admin.secret', `${SECRET}\n`) } } });
    admin = new Admin({ port, secret: SECRET });
    token = rig.token();
});
after(() => rig.stop());

test('over TCP only /livez and /readyz are for everybody', async () => {
    for (const path of ['/livez', '/readyz']) assert.equal((await admin.call('GET', path, { secret: null })).status, 200);
    for (const path of ['/metrics', '/status', '/streams', '/connections', '/agents', '/routes', '/keys', '/redis', '/v1/computers/cmp_1', '/nothing']) {
        for (const secret of [null, 'wrong', SECRET.slice(0, -1), `${SECRET}x`]) {
            const answer = await admin.call('GET', path, { secret });
            assert.equal(answer.status, 401, `${path} ${secret}`);
            assert.equal(answer.json.code, 'unauthenticated');
        }
    }
    assert.equal((await admin.call('POST', '/drain', { secret: 'wrong' })).status, 401);
    assert.equal((await admin.call('DELETE', '/streams/x', { secret: 'wrong' })).status, 401);
});

test('pages of a browser are refused, whatever they know', async () => {
    assert.equal((await admin.call('GET', '/status', { headers: { host: 'evil.example' } })).status, 403);
    assert.equal((await admin.call('GET', '/status', { headers: { origin: 'http://127.0.0.1' } })).status, 403);
    assert.equal((await admin.call('POST', '/drain', { headers: { origin: 'null' } })).status, 403);
    assert.equal((await admin.call('GET', '/livez', { headers: { origin: 'http://evil.example' } })).status, 403);
    assert.equal((await admin.call('GET', '/status', { headers: { host: `localhost:${port}` } })).status, 200);
});

test('what changes something asks for its own method', async () => {
    assert.equal((await admin.call('GET', '/drain')).status, 405);
    assert.equal((await admin.call('POST', '/streams/x')).status, 405);
    assert.equal((await admin.call('POST', '/metrics')).status, 405);
    assert.equal((await admin.call('GET', '/nothing')).status, 404);
    assert.equal((await admin.call('DELETE', '/streams/unknown')).status, 404);
    assert.equal((await admin.call('GET', '/readyz')).json.status, 'ready');
});

test('HTTP/2 and bodies that are too large get nowhere', async () => {
    const preface = await rawExchange(port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', { ms: 2000 });
    assert.ok(!preface.bytes.includes(Buffer.from([0, 0, 0, 4])), 'no SETTINGS');
    const big = await admin.call('PUT', '/v1/computers/cmp_1', { body: 'x'.repeat(200000) }).catch((error) => ({ status: error.code }));
    assert.ok([413, 'ECONNRESET', 'EPIPE'].includes(big.status), String(big.status));
});

test('records are not written where routes come from a file', async () => {
    const answer = await admin.call('POST', '/v1/computers/cmp_1/access-sessions', { body: {} });
    assert.equal(answer.status, 409);
    assert.match(answer.json.message, /routes\.source/);
});

test('an open stream is seen, with who and where, and is ended by its id', async () => {
    const { id, reader } = await openStream();
    const row = (await admin.rows('streams')).find((r) => r.id === id);
    assert.equal(row.computer, 'cmp_1');
    assert.equal(row.session, 'ses_1');
    assert.equal(row.user, 'usr_1');
    assert.equal(row.path, '/process.Process/Start');
    assert.equal(row.state, 'relaying');
    assert.equal(row.upstream, agent.address);
    const conn = (await admin.rows('connections')).find((r) => r.connection === row.connection && r.has_verified_token);
    assert.match(conn.peer, /^127\.0\.0\.1:/);
    const known = (await admin.rows('agents')).find((r) => r.computer === 'cmp_1');
    assert.equal(known.streams, 1);
    assert.equal((await admin.metric('exec_gateway_open_requests', { kind: 'exec' })), 1);
    const began = Date.now();
    const ended = await admin.call('DELETE', `/streams/${id}`);
    assert.equal(ended.status, 200);
    assert.match(await restOf(reader), /"code":"canceled".*operator/);
    assert.ok(Date.now() - began < 1000 * slack);
    assert.equal((await admin.call('DELETE', `/streams/${id}`)).status, 404);
    await until(async () => (await admin.metric('exec_gateway_requests_ended_total', { reason: 'canceled' })) === 1, 'counted');
});

test('lists have a limit, per worker', async () => {
    const streams = await Promise.all(Array.from({ length: 6 }, openStream));
    assert.equal((await admin.rows('streams')).length, 6);
    const few = (await admin.call('GET', '/streams?limit=1')).json;
    for (const worker of few.workers) assert.ok(worker.rows.length <= 1);
    assert.equal(few.silent_workers, 0);
    for (const { id, reader } of streams) {
        await admin.call('DELETE', `/streams/${id}`);
        await restOf(reader);
    }
});

test('status, routes, keys say what is loaded', async () => {
    const status = (await admin.call('GET', '/status')).json;
    assert.equal(status.state, 'serving');
    assert.equal(status.workers, 2);
    assert.equal(status.listeners.length, 2);
    const route = (await admin.rows('routes')).find((r) => r.kind === 'computer' && r.id === 'cmp_1');
    assert.equal(route.agent, agent.address);
    const { keys, certificates } = (await admin.call('GET', '/keys')).json;
    assert.equal(keys[0].alg, 'ES256');
    assert.ok(certificates[0].expires * 1000 > Date.now() + 86400e3);
    assert.equal((await admin.call('GET', '/redis')).json.source, 'file');
});

test('metrics pass promtool and count what happened', async () => {
    assert.equal((await run(['true'])).status, 200);
    assert.equal((await fetch(`${gateway.url}/process.Process/Start`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer rubbish' }, body: '{}' })).status, 401);
    const { text, headers } = await admin.call('GET', '/metrics');
    assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
    const check = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    assert.equal(check.status, 0, check.stdout + check.stderr);
    assert.equal(check.stdout + check.stderr, '');
    assert.ok(await admin.metric('exec_gateway_requests_total', { kind: 'exec', method: 'Start', code: 'ok', protocol: 'plain_json' }) >= 1);
    assert.ok(await admin.metric('exec_gateway_requests_total', { code: 'unauthenticated' }) >= 1);
    assert.ok(await admin.metric('exec_gateway_token_verdicts_total', { verdict: 'token_malformed' }) >= 1);
    assert.ok(await admin.metric('exec_gateway_request_duration_seconds_count', { method: 'Start' }) >= 1);
    assert.ok(await admin.metric('exec_gateway_request_first_byte_seconds_count', { method: 'Start' }) >= 1);
    assert.ok(await admin.metric('exec_gateway_connections_total') >= 1);
    assert.ok(await admin.metric('exec_gateway_upstream_connects_total') >= 1);
    assert.ok(await admin.metric('exec_gateway_worker_turn_seconds_count') >= 1);
    assert.ok(await admin.metric('exec_gateway_process_resident_memory_bytes') > 1e6);
    assert.ok(await admin.metric('exec_gateway_certificate_expiry_timestamp_seconds') > Date.now() / 1000);
    for (const id of ['cmp_1', 'ses_1', 'usr_1', 'exec.computer.test']) assert.ok(!text.includes(id), `label ${id}`);
});

test('requests are counted by the code that the agent answered with, in every protocol', async () => {
    const nobody = { process: { selector: { case: 'pid', value: 999999 } } };
    const seen = (protocol, method, code) => admin.metric('exec_gateway_requests_total', { kind: 'exec', protocol, method, code });
    for (const [protocol, unary, stream] of [['connect', 'connect_unary', 'connect_stream'], ['grpc', 'grpc', 'grpc'], ['grpc-web', 'grpc_web', 'grpc_web']]) {
        const client = processClient({ url: gateway.url, token, protocol });
        await assert.rejects(client.sendSignal({ ...nobody, signal: 15 }));
        await assert.rejects(collect(client.connect(nobody)));
        await client.list({});
        assert.equal(await seen(unary, 'SendSignal', 'not_found'), 1, protocol);
        assert.equal(await seen(stream, 'Connect', 'not_found'), 1, protocol);
        assert.equal(await seen(unary, 'List', 'ok'), 1, protocol);
        assert.equal(await seen(stream, 'Connect', 'ok') ?? 0, 0, protocol);
    }
    const line = gateway.accessLog().split('\n').find((l) => l.includes('"connect_stream"') && l.includes('/Connect'));
    assert.match(line, /"status":200,"reason":"ok","code":"not_found","ended_by":"agent"/);
});

test('TLS handshakes are counted, and those that fail', async () => {
    const before = await admin.metric('exec_gateway_tls_handshakes_total');
    const dead = await rawExchange(gateway.ports[1], 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.ok(dead.closed);
    await until(async () => (await admin.metric('exec_gateway_handshake_failures_total', { reason: 'malformed' })) >= 1, 'counted');
    spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${gateway.ports[1]}`, '-brief'], { input: '', timeout: 5000 });
    await until(async () => (await admin.metric('exec_gateway_tls_handshakes_total')) > before, 'counted');
});

test('a reload is told: good, and refused', async () => {
    gateway.kill('SIGHUP');
    await until(async () => (await admin.metric('exec_gateway_config_reloads_total', { result: 'success' })) === 1, 'good');
    const good = rig.write('keep.yaml', (await import('node:fs')).readFileSync(gateway.configFile, 'utf8'));
    (await import('node:fs')).writeFileSync(gateway.configFile, 'workers: many\n');
    gateway.kill('SIGHUP');
    await until(async () => (await admin.metric('exec_gateway_config_last_reload_successful')) === 0, 'refused');
    assert.equal((await admin.call('GET', '/status')).json.config.last_reload, 'failed');
    (await import('node:fs')).copyFileSync(good, gateway.configFile);
    gateway.kill('SIGHUP');
    await until(async () => (await admin.metric('exec_gateway_config_last_reload_successful')) === 1, 'good again');
});

test('no secret ever left through the admin listener', () => {
    for (const secret of [token, SECRET, 'agent-secret-2', 'BEGIN EC', 'rubbish'])
        assert.ok(!admin.heard.includes(secret), secret);
});

test('a Unix socket is for its owner, needs no secret, and goes with the gateway', async () => {
    const socketPath = rig.path('admin.sock');
    const other = await rig.startGateway({ routes: rig.routesFor(agent), config: { admin: { address: `unix:${socketPath}` } } });
    assert.equal(statSync(socketPath).mode & 0o777, 0o600);
    const friend = new Admin({ socketPath });
    assert.equal((await friend.call('GET', '/status')).status, 200);
    await other.stop();
    assert.ok(!existsSync(socketPath));
});

test('POST /drain makes readiness false at once, lets the open stream live, and ends when it is over', async () => {
    const { id, reader } = await openStream();
    assert.equal((await admin.call('POST', '/drain')).status, 202);
    const ready = await admin.call('GET', '/readyz', { secret: null });
    assert.equal(ready.status, 503);
    assert.equal(ready.json.message, 'draining');
    assert.equal((await admin.call('GET', '/livez', { secret: null })).status, 200);
    assert.equal(await admin.metric('exec_gateway_draining'), 1);
    assert.ok((await admin.rows('streams')).some((row) => row.id === id));
    await admin.call('DELETE', `/streams/${id}`);
    await restOf(reader);
    assert.deepEqual(await gateway.exit, { code: 0, signal: null });
});
