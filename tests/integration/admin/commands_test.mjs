// computer, session, port, status, streams, drain: the admin API from a shell, for people and, with --json, for programs.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Rig, gatewayBin, KID } from '../../support/harness.mjs';

const rig = new Rig();
let redis, agent, gateway, session;

const cli = (...words) => {
    const done = spawnSync(gatewayBin, words, { encoding: 'utf8', timeout: 20000 });
    return { code: done.status, out: done.stdout, err: done.stderr, get json() { return JSON.parse(done.stdout); } };
};
const withConfig = (...words) => cli(...words, '-c', gateway.configFile);

before(async () => {
    redis = await rig.startRedis();
    agent = await rig.startAgent();
    gateway = await rig.startGateway({ redis, config: { ports: { domain: ['computer.test', 'box.example'] },
        admin: { address: `unix:${rig.path('admin.sock')}`, signing_key: KID } } });
});
after(() => rig.stop());

test('a computer is written and read', () => {
    const secret = rig.write('agent.token', 'agent-secret-3\n');
    const put = withConfig('computer', 'put', 'cmp_1', '--agent', agent.address, '--handle', 'box', '--agent-token-file', secret);
    assert.equal(put.code, 0, put.err);
    assert.match(put.out, /^state\s+running$/m);
    assert.match(put.out, /^handle\s+box$/m);
    assert.ok(!put.out.includes('agent-secret-3'));
    assert.equal(redis.cli('HGET', 'computer:{cmp_1}', 'agent_token'), 'agent-secret-3');
    assert.equal(withConfig('computer', 'get', 'cmp_1', '--json').json.computer.agent, agent.address);
});

test('what the registry says cannot steer the terminal', () => {
    redis.cli('HSET', 'computer:{cmp_1}', 'owner', 'x\u001b[31my');
    assert.match(withConfig('computer', 'get', 'cmp_1').out, /^owner\s+x\?\[31my$/m);
    redis.cli('HDEL', 'computer:{cmp_1}', 'owner');
});

test('a session is made, works, is listed as a table, and revoked', async () => {
    const made = withConfig('session', 'create', 'cmp_1', '--user', 'usr_9', '--ttl', '60', '--json');
    assert.equal(made.code, 0, made.err);
    session = made.json.session;
    const answer = await fetch(`${gateway.url}/process.Process/Start`, { method: 'POST',
        headers: { authorization: `Bearer ${session.connect_token}`, 'content-type': 'application/json' }, body: JSON.stringify({ command: ['echo', 'hi'] }) });
    assert.equal((await answer.json()).stdout, 'hi\n');
    const list = withConfig('session', 'list', 'cmp_1');
    assert.match(list.out, /^id\s+kind\s+user\s+created_at\s+expires_at\s+state/);
    assert.match(list.out, new RegExp(`^${session.id}\\s+exec\\s+usr_9\\s.*active`, 'm'));
    assert.match(withConfig('session', 'get', 'cmp_1', session.id).out, /^state\s+active$/m);
    assert.equal(withConfig('session', 'delete', 'cmp_1', session.id, '--json').json.state, 'revoked');
    assert.equal(redis.cli('HGET', `session:{${session.id}}`, 'revoked'), '1');
});

test('a port is published, listed and taken back', () => {
    assert.equal(withConfig('port', 'publish', 'cmp_1', '8000', '--label', 'api', '--visibility', 'public', '--json').json.port.hostname, 'api--box.computer.test');
    assert.match(withConfig('port', 'list', 'cmp_1').out, /^8000\s+api\s+api--box\.computer\.test\s+public/m);
    assert.equal(withConfig('port', 'delete', 'cmp_1', 'api').code, 0);
    assert.equal(redis.cli('EXISTS', 'host:{api--box.computer.test}'), '0');
    const none = withConfig('port', 'list', 'cmp_1');
    assert.deepEqual([none.code, none.out, none.err], [0, '', 'none\n']);
});

test('--domain names another of ports.domain, and a port goes by its host name there', () => {
    assert.equal(withConfig('port', 'publish', 'cmp_1', '8000', '--domain', 'box.example', '--json').json.port.hostname, '8000--box.box.example');
    assert.equal(withConfig('port', 'publish', 'cmp_1', '8000', '--json').json.port.hostname, '8000--box.computer.test');
    assert.match(withConfig('session', 'create', 'cmp_1', '--kind', 'browser', '--port', '8000', '--domain', 'box.example').out, /^access_url\s+https:\/\/8000--box\.box\.example\/\?access_token=/m);
    const wrong = withConfig('port', 'publish', 'cmp_1', '8001', '--domain', 'elsewhere.example');
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /domain: expected one of ports\.domain/);
    assert.equal(withConfig('port', 'delete', 'cmp_1', '8000--box.box.example').code, 0);
    assert.match(withConfig('port', 'list', 'cmp_1').out, /^8000\s+8000\s+8000--box\.computer\.test/m);
    assert.equal(withConfig('port', 'delete', 'cmp_1', '8000').code, 0);
});

test('what is wrong is said on standard error, with exit code 1; wrong calls give 2', () => {
    const unknown = withConfig('computer', 'get', 'cmp_none');
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /no such computer/);
    assert.equal(unknown.out, '');
    assert.equal(cli('session', 'create', 'cmp_1').code, 2);
    assert.equal(withConfig('session', 'create').code, 2);
    assert.equal(withConfig('session', 'fly', 'cmp_1').code, 2);
    assert.equal(withConfig('port', 'publish', 'cmp_1').code, 2);
    assert.equal(withConfig('port', 'publish', 'cmp_1', '80', 'x').code, 2);
    assert.equal(withConfig('computer', 'put', 'cmp_1', '--colour', 'red').code, 2);
    for (const name of ['computer', 'session', 'port', 'status', 'streams', 'drain']) assert.equal(cli(name, '--help').code, 0, name);
});

test('a gateway at work is looked at, a stream ended, and the gateway drained', async () => {
    const status = withConfig('status').out;
    for (const line of [/^state\s+serving$/m, /^resident_bytes\s+[\d.]+ MiB$/m, /^config\.loaded_at\s+\d{4}-\d\d-\d\dT[\d:]+Z$/m]) assert.match(status, line);
    assert.equal(withConfig('status', '--json').json.redis.links_up, 2);
    const { connect_token: token } = withConfig('session', 'create', 'cmp_1', '--json').json.session;
    const response = await fetch(`${gateway.url}/process.Process/Start`, { method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/x-ndjson' }, body: JSON.stringify({ command: ['sleep', '60'] }) });
    const id = response.headers.get('x-request-id');
    assert.match(withConfig('streams').out, new RegExp(`^${id}\\s+exec\\s`, 'm'));
    const ended = withConfig('streams', 'end', id);
    assert.equal(ended.code, 0, ended.err);
    assert.match(await response.text(), /canceled/);
    assert.equal(withConfig('streams', 'end', 'nothing').code, 1);
    assert.match(withConfig('drain').out, /draining/);
    assert.deepEqual(await gateway.exit, { code: 0, signal: null });
    assert.equal(withConfig('status').code, 1, 'nobody is there');
});
