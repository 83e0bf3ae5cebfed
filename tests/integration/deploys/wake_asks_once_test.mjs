// wake: a stopped computer is asked for once, however many wait, on however many gateways; they go on when it runs, or are told when to come
// again; who may not, does not wake.
import { test, before, after, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { Admin } from '../../support/admin.mjs';
import { Rig, isSanitized, sleep, toLoopback, until } from '../../support/harness.mjs';

const rig = new Rig();
const TIMEOUT_MS = isSanitized ? 15000 : 5000;
let agent, redis, first, second, token, admin;

before(async () => {
    agent = await rig.startAgent();
    redis = await rig.startRedis();
    rig.putRoutes(redis, agent);
    const config = { wake: { enabled: true, timeout: `${TIMEOUT_MS}ms`, repeat: '30s', pending: 60 } };
    first = await rig.startGateway({ redis, config: { ...config, admin: { address: `unix:${rig.path('admin.sock')}` } } });
    admin = new Admin({ socketPath: rig.path('admin.sock') });
    second = await rig.startGateway({ redis, config: { ...config, ports: { domain: 'computer.test' }, exec: { hosts: ['exec.computer.test', '127.0.0.1'] } } });
    token = rig.token();
});
after(() => rig.stop());

const entries = () => Number(redis.cli('XLEN', 'wake'));
const list = (gateway, bearer = token) => fetch(`${gateway.url}/process.Process/List`, {
    method: 'POST', headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }, body: '{}',
});

beforeEach(() => {
    redis.cli('DEL', 'wake', 'wake:{cmp_1}');
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'stopped');
});

test('100 requests at two gateways: one entry, and all are served once it runs', async () => {
    await until(async () => { const r = await fetch(`${first.url}/health`); return r.ok; }, 'up');
    const waiting = Promise.all(Array.from({ length: 100 }, (_, i) => list(i % 2 ? first : second)));
    await until(() => entries() > 0, 'an entry');
    await sleep(700);
    assert.equal(entries(), 1);
    assert.match(redis.cli('XRANGE', 'wake', '-', '+'), /computer\s+cmp_1\s+reason\s+request/);
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'starting'); // still waiting
    await sleep(200);
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'running');
    for (const response of await waiting) assert.equal(response.status, 200);
    assert.equal(entries(), 1);
    await until(() => redis.cli('EXISTS', 'wake:{cmp_1}') === '0', 'the key has gone: it may be asked for again at once');
});

test('a request that waits too long gets 503, and when to come again', async () => {
    const began = Date.now();
    const response = await list(first);
    assert.equal(response.status, 503);
    assert.ok(response.headers.get('retry-after'));
    assert.equal(response.headers.get('x-gateway-error'), 'computer_not_running');
    assert.ok(Date.now() - began > TIMEOUT_MS - 500);
    assert.equal(entries(), 1);
});

test('no more wait than may: the rest is told at once', async () => {
    const all = Array.from({ length: 150 }, () => list(first).then((r) => ({ status: r.status, ms: Date.now() })));
    const began = Date.now();
    const answers = await Promise.all(all);
    const early = answers.filter((a) => a.ms - began < TIMEOUT_MS - 500);
    assert.ok(early.length >= 30 && early.length <= 90, `${early.length} were told at once (60 may wait on each of two workers)`);
    assert.ok(answers.every((a) => a.status === 503));
    assert.equal(entries(), 1);
});

test('what was asked for, refused and in vain is counted', async () => {
    const count = (outcome) => admin.metric('exec_gateway_wakes_total', { outcome });
    assert.ok(await count('asked') >= 1);
    assert.equal(await count('timed_out') >= 1, true);
    assert.ok(await count('refused') >= 1);
    assert.equal(await count('failed'), 0);
    assert.equal(await admin.metric('exec_gateway_wakes_waiting'), 0);
    redis.cli('SET', 'wake', 'no stream'); // XADD fails
    const waiting = list(first);
    await until(async () => await count('failed') >= 1, 'a failure');
    assert.equal(await admin.metric('exec_gateway_wakes_waiting'), 1);
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'running');
    assert.equal((await waiting).status, 200);
});

test('who may not use the computer does not wake it', async () => {
    assert.equal((await list(first, rig.token({ session: 'ses_gone' }))).status, 401);
    assert.equal((await list(first, `${token}x`)).status, 401);
    redis.cli('HSET', 'session:{ses_1}', 'revoked', '1');
    assert.equal((await list(first)).status, 401);
    redis.cli('HDEL', 'session:{ses_1}', 'revoked');
    await sleep(200);
    assert.equal(entries(), 0);
});

test('a computer that is deleted while a request waits ends the wait', async () => {
    const waiting = list(first);
    await until(() => entries() === 1, 'an entry');
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'deleted');
    assert.equal((await waiting).status, 404);
});

test('a person at a browser reads a page that comes again by itself', async () => {
    redis.cli('HSET', 'host:{app--box.computer.test}', 'computer', 'cmp_1', 'port', '3000', 'visibility', 'public');
    const page = await new Promise((done, fail) => {
        http.get({ host: 'app--box.computer.test', port: second.port, path: '/', lookup: toLoopback, headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' } }, (response) => {
            let text = '';
            response.on('data', (part) => { text += part; }).on('end', () => done({ status: response.statusCode, headers: response.headers, text }));
        }).on('error', fail);
    });
    assert.equal(page.status, 503);
    assert.match(page.text, /http-equiv="?refresh/);
    await until(() => entries() === 1, 'an entry');
});
