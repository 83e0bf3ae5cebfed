// The flow of the public docs, with the admin listener as the only control plane: a computer, an exec session, a call, the list,
// the revocation that ends what is open; and published ports.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, until, isSanitized, rawExchange, KID } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';

const rig = new Rig();
let redis, agent, gateway, admin, session;
const slack = isSanitized ? 3 : 1;
const V1 = '/v1/computers/cmp_1';

before(async () => {
    redis = await rig.startRedis();
    agent = await rig.startAgent();
    const socketPath = rig.path('admin.sock');
    gateway = await rig.startGateway({ redis, config: {
        exec: { hosts: ['*'] }, ports: { domain: ['computer.test', 'box.example'] },
        admin: { address: `unix:${socketPath}`, signing_key: KID, connect_url: 'http://exec.computer.test/' } } });
    admin = new Admin({ socketPath });
});
after(() => rig.stop());

const run = (token, command, more = {}) => fetch(`${gateway.url}/process.Process/Start`, {
    method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...more.headers },
    body: JSON.stringify({ command }) });

test('a computer is put, read without its agent token, and put again without losing what is open', async () => {
    const put = await admin.call('PUT', V1, { body: { state: 'running', agent: agent.address, boot: '1', handle: 'box', owner: 'usr_1', agent_token: 'agent-secret-1' } });
    assert.equal(put.status, 200, put.text);
    assert.deepEqual(put.json.computer, { id: 'cmp_1', state: 'running', agent: agent.address, boot: '1', handle: 'box', owner: 'usr_1', has_agent_token: true });
    assert.equal(redis.cli('HGET', 'computer:{cmp_1}', 'agent_token'), 'agent-secret-1');
    const again = await admin.call('PUT', V1, { body: { state: 'running', agent: agent.address, boot: '1', handle: 'box' } });
    assert.equal(again.json.computer.has_agent_token, false);
    assert.equal(redis.cli('HEXISTS', 'computer:{cmp_1}', 'owner'), '0');
    assert.deepEqual((await admin.call('GET', V1)).json, again.json);
});

test('what a record may not say is refused with the name of the member', async () => {
    const wrong = async (body) => (await admin.call('PUT', V1, { body })).json;
    assert.match((await wrong({ state: 'asleep', agent: agent.address })).message, /^state: /);
    assert.match((await wrong({ state: 'running' })).message, /^agent: /);
    assert.match((await wrong({ state: 'running', agent: agent.address, colour: 'red' })).message, /unknown member "colour"/);
    assert.match((await wrong({ state: 'running', agent: agent.address, handle: 'exec' })).message, /reserved/);
    assert.match((await wrong({ state: 'running', agent: agent.address, handle: 'a--b' })).message, /two hyphens/);
    assert.match((await wrong('{"state": ')).message, /JSON/);
    assert.equal((await admin.call('GET', '/v1/computers/no%20id')).status, 400);
    assert.equal((await admin.call('GET', '/v1/computers/cmp_none')).status, 404);
    assert.equal((await admin.call('POST', V1)).status, 405);
    assert.equal((await admin.call('GET', `${V1}/disks`)).status, 404);
});

test('an exec session is made, and its token runs a command', async () => {
    const made = await admin.call('POST', `${V1}/access-sessions`, { body: { kind: 'exec', user: 'usr_7', ttl_seconds: 600 } });
    assert.equal(made.status, 201, made.text);
    session = made.json.session;
    assert.match(session.id, /^ses_[0-9a-f]{32}$/);
    assert.equal(session.connect_url, 'http://exec.computer.test');
    assert.equal(session.access_url, `http://exec.computer.test/?access_token=${session.connect_token}`);
    assert.equal(session.transport.base_path, '/process.Process/');
    assert.equal(Date.parse(session.expires_at) - Date.parse(session.created_at), 600000);
    const answer = await (await run(session.connect_token, ['echo', 'hello'])).json();
    assert.equal(answer.stdout, 'hello\n');
    assert.ok(Number(redis.cli('TTL', `session:{${session.id}}`)) > 600, 'the record ends by itself');
});

test('sessions are listed and read without tokens', async () => {
    const list = (await admin.call('GET', `${V1}/access-sessions`)).json.sessions;
    assert.equal(list.length, 1);
    assert.deepEqual({ ...list[0], created_at: 0, expires_at: 0 },
        { id: session.id, computer_id: 'cmp_1', kind: 'exec', user: 'usr_7', created_at: 0, expires_at: 0, state: 'active' });
    assert.deepEqual((await admin.call('GET', `${V1}/access-sessions/${session.id}`)).json.session, list[0]);
    assert.equal((await admin.call('GET', `/v1/computers/cmp_2/access-sessions/${session.id}`)).status, 404, 'not through another computer');
});

test('deleting the session ends the open stream with unauthenticated within a second', async () => {
    const response = await run(session.connect_token, ['sleep', '60'], { headers: { accept: 'application/x-ndjson' } });
    assert.equal(response.status, 200);
    const reader = response.body.getReader();
    let text = Buffer.from((await reader.read()).value).toString();
    assert.match(text, /"start"|"pid"/);
    const began = Date.now();
    const gone = await admin.call('DELETE', `${V1}/access-sessions/${session.id}`);
    assert.deepEqual(gone.json, { id: session.id, state: 'revoked' });
    for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += Buffer.from(value).toString();
    }
    assert.ok(Date.now() - began < 1000 * slack, `${Date.now() - began} ms`);
    assert.match(text, /"code":"unauthenticated"/);
    assert.equal((await run(session.connect_token, ['true'])).status, 401);
    assert.deepEqual((await admin.call('GET', `${V1}/access-sessions`)).json.sessions, []);
    assert.equal((await admin.call('DELETE', `${V1}/access-sessions/ses_unknown`)).status, 404);
});

test('sessions that expired by themselves leave the list', async () => {
    await admin.call('POST', `${V1}/access-sessions`, { body: {} });
    const { sessions } = (await admin.call('GET', `${V1}/access-sessions`)).json;
    assert.equal(sessions[0].kind, 'exec');
    redis.cli('DEL', `session:{${sessions[0].id}}`);
    assert.deepEqual((await admin.call('GET', `${V1}/access-sessions`)).json.sessions, []);
    assert.equal(redis.cli('SCARD', 'computer-sessions:{cmp_1}'), '0');
});

test('a session that cannot be is refused', async () => {
    const wrong = async (body, computer = V1) => admin.call('POST', `${computer}/access-sessions`, { body });
    assert.equal((await wrong({}, '/v1/computers/cmp_none')).status, 404);
    assert.match((await wrong({ kind: 'ssh' })).json.message, /^kind: /);
    assert.match((await wrong({ ttl_seconds: 0 })).json.message, /^ttl_seconds: /);
    assert.match((await wrong({ kind: 'exec', port: 80 })).json.message, /no port/);
    assert.match((await wrong({ kind: 'browser', label: 'a--b' })).json.message, /two hyphens/);
    assert.match((await wrong({ user: 'a\nb' })).json.message, /^user: /);
});

test('browser and vnc sessions lead to the hosts of the computer', async () => {
    const make = async (body) => (await admin.call('POST', `${V1}/access-sessions`, { body })).json.session;
    const browser = await make({ kind: 'browser', port: 3000 });
    assert.match(browser.access_url, /^https:\/\/3000--box\.computer\.test\/\?access_token=ey/);
    assert.equal(browser.connect_token, undefined);
    assert.match((await make({ kind: 'vnc' })).access_url, /^https:\/\/box\.computer\.test\/\?access_token=ey/);
    const claims = JSON.parse(Buffer.from(browser.access_url.split('.')[3], 'base64url').toString());
    assert.equal(claims.aud, 'access');
    assert.equal(claims.port, '3000');
    assert.equal(claims.cid, 'cmp_1');
});

test('a port is published, listed, unpublished', async () => {
    const made = await admin.call('POST', `${V1}/ports`, { body: { port: 3000 } });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(made.json.port, { port: 3000, label: '3000', hostname: '3000--box.computer.test', url: 'https://3000--box.computer.test', visibility: 'session' });
    await admin.call('POST', `${V1}/ports`, { body: { port: 8000, subdomain: 'api', visibility: 'public', protocol: 'http1' } });
    assert.equal(redis.cli('HGET', 'host:{api--box.computer.test}', 'computer'), 'cmp_1');
    assert.equal(redis.cli('HGET', 'host:{api--box.computer.test}', 'port'), '8000');
    const { ports } = (await admin.call('GET', `${V1}/ports`)).json;
    assert.deepEqual(ports.map((p) => p.hostname).sort(), ['3000--box.computer.test', 'api--box.computer.test']);
    assert.equal((await admin.call('GET', `${V1}/ports/api`)).json.ports[0].port, 8000);
    assert.equal((await admin.call('DELETE', `${V1}/ports/8000`)).json.deleted, true);
    assert.equal(redis.cli('EXISTS', 'host:{api--box.computer.test}'), '0');
    assert.deepEqual((await admin.call('GET', `${V1}/ports`)).json.ports.map((p) => p.label), ['3000']);
    assert.equal((await admin.call('DELETE', `${V1}/ports/8000`)).status, 404);
});

test('of several domains the first is meant, and each can be named', async () => {
    const body = { port: 3001, label: 'two', domain: 'box.example' };
    assert.equal((await admin.call('POST', `${V1}/ports`, { body })).json.port.hostname, 'two--box.box.example');
    assert.equal((await admin.call('POST', `${V1}/ports`, { body: { ...body, domain: undefined } })).json.port.hostname, 'two--box.computer.test');
    assert.equal((await fetch(`${gateway.url}/`, { redirect: 'manual' })).status, 200);
    for (const host of ['two--box.box.example', 'two--box.computer.test'])
        assert.match((await rawExchange(gateway.port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).text, /^HTTP\/1.1 401 .*auth_required/s);
    for (const domain of ['other.example', 'BOX.example', '.box.example']) {
        const refused = await admin.call('POST', `${V1}/ports`, { body: { ...body, domain } });
        assert.equal(refused.status, 400);
        assert.match(refused.json.message, /^domain: expected one of ports.domain/);
    }
    const made = await admin.call('POST', `${V1}/access-sessions`, { body: { kind: 'browser', label: 'two', domain: 'box.example' } });
    assert.match(made.json.session.access_url, /^https:\/\/two--box\.box\.example\/\?access_token=/);
    assert.equal((await admin.call('POST', `${V1}/access-sessions`, { body: { domain: 'box.example' } })).status, 400);
    const deleted = await admin.call('DELETE', `${V1}/ports/two--box.box.example`);
    assert.deepEqual(deleted.json.ports.map((p) => p.hostname), ['two--box.box.example']);
    assert.equal(redis.cli('EXISTS', 'host:{two--box.computer.test}'), '1');
    assert.equal((await admin.call('DELETE', `${V1}/ports/two`)).status, 200);
});

test('labels follow the rules, and the host of another computer is never taken over', async () => {
    const wrong = async (body) => (await admin.call('POST', `${V1}/ports`, { body })).json.message;
    assert.match(await wrong({ port: 3000, label: 'a--b' }), /two hyphens/);
    assert.match(await wrong({ port: 3000, label: 'Api' }), /lower-case/);
    assert.match(await wrong({ port: 3000, label: '-a' }), /hyphen/);
    assert.match(await wrong({ port: 3000, label: '4000' }), /the port itself/);
    assert.match(await wrong({ port: 3000, label: 'x'.repeat(62) }), /longer than a DNS label/);
    assert.match(await wrong({ port: 70000 }), /^port: /);
    assert.match(await wrong({}), /^port: /);
    assert.match(await wrong({ port: 1, visibility: 'maybe' }), /^visibility: /);
    redis.cli('HSET', 'host:{web--box.computer.test}', 'computer', 'cmp_2', 'port', '80');
    const taken = await admin.call('POST', `${V1}/ports`, { body: { port: 80, label: 'web' } });
    assert.equal(taken.status, 409);
    assert.equal(taken.json.code, 'already_exists');
});

test('a deleted computer takes its sessions and hosts along', async () => {
    const { id } = (await admin.call('POST', `${V1}/access-sessions`, { body: {} })).json.session;
    assert.equal((await admin.call('DELETE', V1)).json.deleted, true);
    for (const key of ['computer:{cmp_1}', `session:{${id}}`, 'host:{3000--box.computer.test}', 'computer-ports:{cmp_1}', 'computer-sessions:{cmp_1}'])
        assert.equal(redis.cli('EXISTS', key), '0', key);
    assert.equal((await admin.call('DELETE', V1)).status, 404);
});

test('Redis away: an error that says so, in time', async () => {
    redis.kill('SIGSTOP');
    const began = Date.now();
    const answer = await admin.call('GET', V1);
    redis.kill('SIGCONT');
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.json.code, 'unavailable');
    assert.ok(Date.now() - began < 8000);
    await until(async () => (await admin.call('GET', V1)).status === 404, 'Redis is back');
});

test('no token was ever told but to whom made the session', () => {
    for (const secret of [session.connect_token, 'agent-secret-1']) {
        assert.ok(!admin.heard.includes(secret));
        assert.ok(!gateway.err.includes(secret));
        assert.ok(!gateway.accessLog().includes(secret));
    }
    assert.ok(!/ey[A-Za-z0-9_-]+\.ey/.test(admin.heard));
});
