// System calls and allocations of the gateway fail at random (tests/support/faults.c) under mixed load. What only delays (short counts,
// EINTR, EAGAIN) must not be noticed by anyone; what breaks a connection may cost that connection. Afterwards all is as it was: every
// request works, nothing is left open, descriptors and memory are back.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import https from 'node:https';
import http2 from 'node:http2';
import { Rig, isSanitized, rssKiB, sleep, until } from '../support/harness.mjs';
import { Admin } from '../support/admin.mjs';
import { faultsEnv, setFaults } from '../support/faults.mjs';
import { MIXED_HOSTS, startLoad, startMixedApps } from '../support/mixed_load.mjs';

const SECONDS = Number(process.env.FAULT_SECONDS ?? 4);
const rig = new Rig();
let gateway, admin, token, ports, calm;

before(async () => {
    if (isSanitized) return;
    const agent = await rig.startAgent();
    const redis = await rig.startRedis();
    rig.putRoutes(redis, { address: `localhost:${agent.port}` }); // a name: every connection looks it up
    await startMixedApps(rig, redis);
    gateway = await rig.startPortsGateway({
        agent, redis: { port: redis.port },
        config: {
            exec: { hosts: ['*'] }, drain_timeout: '2s', admin: { address: `unix:${rig.path('admin.sock')}` },
            upstream: { allow: ['127.0.0.0/8'], idle_timeout: '2s' },
            limits: { memory: '16GiB' /* what is in use is read from files */, h2: { idle: '3s' } }, // idle: what the clients of this process keep
        },
        env: faultsEnv(rig),
    });
    admin = new Admin({ socketPath: rig.path('admin.sock') });
    token = rig.token();
    ports = { port: gateway.clear, ...MIXED_HOSTS };
    await underLoad(3000); // everything has been used once: memory and descriptors from here
    await settled();
    await sleep(4000); // idle connections to agent and apps end after two seconds
    calm = { rss: rssKiB(gateway.pid), fds: await admin.metric('exec_gateway_process_open_fds') };
});
after(() => rig.stop());

const faults = (words) => setFaults(rig, gateway, words);

/** New TLS connections all the while, over HTTP/1.1 and HTTP/2. */
function tlsLoad() {
    const seen = { done: 0, failures: [] };
    let isRunning = true;
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const h1 = () => new Promise((done, fail) => {
        const request = https.request({ host: '127.0.0.1', port: gateway.tls, method: 'POST', path: '/process.Process/List', headers, agent: false, rejectUnauthorized: false });
        request.on('error', fail).on('response', (response) => {
            response.on('aborted', () => fail(new Error('cut'))).on('end', () => done(response.statusCode)).resume();
        });
        request.end('{}');
    });
    const h2 = () => new Promise((done, fail) => {
        const session = http2.connect(`https://127.0.0.1:${gateway.tls}`, { rejectUnauthorized: false });
        session.on('error', fail);
        const stream = session.request({ ':method': 'POST', ':path': '/process.Process/List', ...headers });
        let status = 0;
        stream.on('response', (head) => { status = head[':status']; }).on('error', fail).resume();
        stream.on('close', () => { session.close(); if (status === 0) fail(new Error('no answer')); else done(status); });
        session.on('close', () => fail(new Error('closed')));
        stream.end('{}');
    });
    const loops = [h1, h2].map(async (run) => {
        while (isRunning) {
            const status = await run().catch((error) => error.message);
            if (status === 200) seen.done++; else seen.failures.push(`tls ${run.name}: ${status}`);
            await sleep(20);
        }
    });
    return { stop: async () => { isRunning = false; await Promise.all(loops); return seen; } };
}

/** Everybody at once for `ms`, then all must come to an end by itself: { done, failures }. */
async function underLoad(ms, whenOver = async () => {}) {
    const load = startLoad({ url: `http://127.0.0.1:${gateway.clear}`, token, ports });
    const tls = tlsLoad();
    await sleep(ms);
    await whenOver();
    const stuck = sleep(20000).then(() => { throw new Error(`stuck: ${JSON.stringify(load.done)}`); });
    stuck.catch(() => {});
    const [{ done, failures }, other] = await Promise.race([Promise.all([load.stop(), tls.stop()]), stuck]);
    return { done: { ...done, tls: other.done }, failures: [...failures, ...other.failures] };
}

async function settled() {
    let last;
    await until(async () => {
        last = await Promise.all(['upstream_streams_open', 'open_requests', 'connections_open'].map((name) => admin.metric(`exec_gateway_${name}`)));
        return last.every((open) => open === 0);
    }, 'something stays open', 20000).catch((error) => { throw new Error(`${error.message}: streams, requests, connections ${last}`); });
}

function faultsTest(name, words, { harmless = false, rare = [] } = {}) {
    test(name, { skip: isSanitized && 'allocations are the sanitizer\'s', timeout: (SECONDS + 60) * 1000 }, async (t) => {
        let struck;
        const refusals = await admin.metric('exec_gateway_epoll_refusals_total');
        await faults(words);
        const { done, failures } = await underLoad(SECONDS * 1000, async () => { struck = await faults(''); });
        t.diagnostic(`${JSON.stringify(Object.fromEntries(Object.entries(struck).filter(([, n]) => n > 0)))} failed; ${Object.values(done).reduce((a, b) => a + b)} requests worked, ${failures.length} did not`);
        assert.equal(gateway.exited, false, gateway.err.slice(-3000));
        for (const name of words.split(' ').map((word) => word.split('=')[0])) assert.ok(struck[name] > 0 || rare.includes(name), `${name} never struck`);
        if (harmless) assert.deepEqual(failures, []);
        if (struck.poll > 0) assert.equal(await admin.metric('exec_gateway_epoll_refusals_total') - refusals >= 1, true, 'epoll refusals are counted');
        await sleep(1500); // a pause after faults: Redis, whose links are made anew
        const again = await underLoad(2000);
        assert.deepEqual(again.failures, [], 'after the faults');
        for (const [kind, count] of Object.entries(again.done)) assert.ok(count > 0, `${kind} did nothing after the faults`);
        await settled();
        let fds; // idle connections to agent and apps come first
        await until(async () => (fds = await admin.metric('exec_gateway_process_open_fds')) <= calm.fds + 10, 'descriptors stay open', 15000).catch((error) => { throw new Error(`${error.message}: ${calm.fds} before, ${fds} now`); });
        const rss = rssKiB(gateway.pid);
        t.diagnostic(`descriptors ${calm.fds} → ${fds}, memory ${calm.rss} → ${rss} KiB`);
        assert.ok(rss <= calm.rss + 24 * 1024, `memory: ${calm.rss} KiB before, ${rss} now`);
    });
}

faultsTest('short counts, EINTR and EAGAIN are not noticed', 'recv-short=300 recv-again=100 send-short=300 send-again=100 wait=100', { harmless: true });
faultsTest('reads that fail', 'recv=20');
faultsTest('writes that fail', 'send=20');
faultsTest('no descriptors: accept, socket, open, connect, lookups, options', 'recv=20 accept=200 socket=300 open=300 connect=300 lookup=300 option=300', { rare: ['connect', 'lookup', 'option'] }); // these come behind socket
faultsTest('epoll takes nothing new, half of the time: whoever is new waits', 'poll=500', { harmless: true });
faultsTest('no memory in OpenSSL', 'openssl=10');
faultsTest('all of it', 'recv=5 send=5 recv-short=100 send-short=100 accept=50 socket=30 connect=30 option=50 openssl=1 wait=20 poll=20', { rare: ['socket', 'connect', 'option', 'poll'] });
