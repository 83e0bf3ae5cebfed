// Redis under Sentinel: a failover that was asked for and a master that was killed fail no request to a known computer, and within two
// seconds of the announcement the routes are those of the new master. What is no master is left alone.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, sleep, until, isSanitized } from '../../support/harness.mjs';
import { startSentinels, startFakeSentinel, MASTER } from '../../support/sentinels.mjs';

const rig = new Rig();
const WITHIN_MS = isSanitized ? 4000 : 2000;
let group, gateway, agentA, agentB;
const tokens = {};
const token = (i) => (tokens[i] ??= rig.token({ computer: `cmp_${i}`, session: `ses_${i}` }));

before(async () => {
    group = await startSentinels(rig);
    agentA = await rig.startAgent();
    agentB = await rig.startAgent();
    rig.putRoutes(group.master, agentA);
    for (let i = 1; i <= 4; i++) put(group.master, i, agentA, 1);
    gateway = await startGateway(group.sentinels.map(({ port }) => port));
});
after(() => rig.stop());

/** One worker: each asks the sentinels itself, and one answer must stand for all. */
function startGateway(ports) {
    const redis = { url: `redis://${MASTER}`, sentinels: ports.map((port) => `127.0.0.1:${port}`) };
    return rig.startGateway({ redis: { port: 1 }, config: { workers: 1, drain_timeout: '500ms', routes: { redis } } });
}

function put(redis, i, agent, boot) {
    redis.cli('HSET', `session:{ses_${i}}`, 'kind', 'exec', 'computer', `cmp_${i}`, 'user', 'usr_1');
    return redis.cli('HSET', `computer:{cmp_${i}}`, 'state', 'running', 'agent', agent.address, 'boot', boot);
}

/** The cheapest request there is: its status. */
async function list(i) {
    const response = await fetch(`${gateway.url}/process.Process/List`, {
        method: 'POST', headers: { authorization: `Bearer ${token(i)}`, 'content-type': 'application/json' }, body: '{}',
    });
    await response.arrayBuffer();
    return response.status;
}

/** Which agent answers for cmp_i; a word that says why not. */
async function who(i, at = gateway) {
    const response = await fetch(`${at.url}/process.Process/Start`, {
        method: 'POST', headers: { authorization: `Bearer ${token(i)}`, 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ command: ['sh', '-c', 'echo $PPID'] /* the agent's pid */ }),
    });
    const answer = await response.json();
    return { [agentA.pid]: 'A', [agentB.pid]: 'B' }[answer.stdout?.trim()] ?? `${response.status} ${answer.code}`;
}

/** Asks for cmp_1 all the while; stop() gives { calls, failures }. */
function load() {
    const seen = { calls: 0, failures: [] };
    let isOver = false;
    const lanes = Array.from({ length: 4 }, async () => {
        while (!isOver) {
            const status = await list(1).catch((error) => error.message);
            seen.calls++;
            if (status !== 200) seen.failures.push(status);
            await sleep(20);
        }
    });
    return { stop: async () => { isOver = true; await Promise.all(lanes); return seen; } };
}

/** `failOver()` makes the sentinels switch to `to` while there is load; the routes of computer `i` move with it. */
async function switched(to, i, failOver) {
    assert.equal(await who(i), 'A');
    const running = load();
    const announcement = group.announced();
    failOver();
    const { at, port } = await announcement;
    assert.equal(port, to.port);
    put(to, i, agentB, 2);
    await until(async () => await who(i) === 'B', 'the route on the new master is not in force', 10000);
    const took = performance.now() - at;
    assert.ok(took < WITHIN_MS, `${took.toFixed(0)} ms after the announcement`);
    // from now on changes are pushed by the new master: on every worker, and at once
    put(to, i, agentA, 3);
    await sleep(isSanitized ? 500 : 200);
    for (const answer of await Promise.all(Array.from({ length: 8 }, () => who(i)))) assert.equal(answer, 'A');
    const { calls, failures } = await running.stop();
    assert.deepEqual(failures, []);
    assert.ok(calls > 20, `${calls} calls`);
    process.stderr.write(`# in force ${took.toFixed(0)} ms after the announcement; ${calls} calls, no failure\n`);
}

test('SENTINEL FAILOVER: nothing fails, the new master rules within two seconds', async () => {
    await switched(group.replica, 2, () => group.sentinels[1].cli('SENTINEL', 'FAILOVER', MASTER));
});

test('the first sentinel dies: the others are believed', async () => {
    group.sentinels[0].child.kill('SIGKILL');
    await group.sentinels[0].child.exit;
    await sleep(300);
    assert.equal(await who(2), 'A');
});

test('the master is killed: nothing fails, the new master rules within two seconds', async () => {
    // the old master follows the new one by now
    await until(() => /master_link_status:up/.test(group.master.cli('INFO', 'replication')), 'the old master does not follow', 20000);
    await switched(group.master, 3, () => group.replica.kill('SIGKILL'));
});

test('sentinels that are all away: the master that was known is kept, changes are pushed', async () => {
    for (const { child } of group.sentinels.slice(1)) { child.kill('SIGKILL'); await child.exit; }
    await sleep(1500);
    put(group.master, 4, agentB, 2);
    await sleep(300);
    assert.equal(await who(4), 'B');
    assert.match(gateway.err, /sentinel 127\.0\.0\.1:\d+: (Redis closed the connection|connection broke|cannot connect)/);
});

test('of sentinels that differ the highest epoch is right; a replica is no master; one that watches none does no harm', async () => {
    const right = await rig.startRedis();
    const wrong = await rig.startRedis();
    put(right, 1, agentA, 1);
    put(wrong, 1, agentB, 1);
    const fakes = [await startFakeSentinel(wrong.port, 4), await startFakeSentinel(right.port, 5), await startFakeSentinel(null, 9)];
    const own = await startGateway(fakes.map(({ port }) => port));
    try {
        await until(async () => await who(1, own) === 'A', 'does not begin', 4000);
        await sleep(1500);
        assert.equal(await who(1, own), 'A');
        fakes[0].epoch = 6; // settled: the other one now, and this one says so too
        await until(async () => await who(1, own) === 'B', 'does not follow the epoch', 3000);

        right.cli('REPLICAOF', '127.0.0.1', String(wrong.port));
        fakes[1].epoch = 7;
        await until(() => /it is no master/.test(own.err), 'takes a replica for a master', 4000);
        assert.equal(await who(1, own), 'B', 'what was known still serves');
        right.cli('REPLICAOF', 'NO', 'ONE');
        put(right, 1, agentA, 2);
        await until(async () => await who(1, own) === 'A', 'does not come back', 4000);
        assert.match(own.err, /SENTINEL MASTER was refused: ERR No such master/);
        assert.ok(fakes.every(({ asked }) => asked >= 3));
    } finally {
        for (const fake of fakes) fake.stop();
    }
});
