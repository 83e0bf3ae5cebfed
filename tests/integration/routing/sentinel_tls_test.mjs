// Redis and its sentinels behind TLS and two passwords: a failover is followed as in the clear, and what is wrong (either password, the CA, a
// certificate of another name) is refused and said in the log, without the password.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, sleep, until, isSanitized } from '../../support/harness.mjs';
import { startSentinels, MASTER } from '../../support/sentinels.mjs';

const rig = new Rig();
const WITHIN_MS = isSanitized ? 4000 : 2000;
const security = { password: 'word-of-redis-7Q', sentinelPassword: 'word-of-sentinel-9Z' };
let group, gateway, agentA, agentB, token;

before(async () => {
    security.certificate = rig.certificate('redis', ['redis.internal']);
    group = await startSentinels(rig, security);
    [agentA, agentB] = [await rig.startAgent(), await rig.startAgent()];
    rig.putRoutes(group.master, agentA);
    token = rig.token();
    gateway = await startGateway();
});
after(() => rig.stop());

/** `wrong`: what differs from what is right. */
function startGateway(wrong = {}) {
    const right = {
        url: `rediss://${MASTER}`, ca: security.certificate.cert, sentinels: group.sentinels.map(({ port }) => `127.0.0.1:${port}`),
        password_file: rig.write('redis.password', `${security.password}\n`), sentinel_password_file: rig.write('sentinel.password', `${security.sentinelPassword}\n`),
    };
    return rig.startGateway({ redis: { port: 1 }, config: { workers: 1, drain_timeout: '200ms', routes: { redis: { ...right, ...wrong } } } });
}

/** Which agent answers; a word that says why not. */
async function who() {
    const response = await fetch(`${gateway.url}/process.Process/Start`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ command: ['sh', '-c', 'echo $PPID'] /* the agent's pid */ }),
    });
    const answer = await response.json();
    return { [agentA.pid]: 'A', [agentB.pid]: 'B' }[answer.stdout?.trim()] ?? `${response.status} ${answer.code}`;
}

/** Fails over by `failOver()`; the new master says that the computer is at agent B. */
async function follows(to, failOver) {
    const announcement = group.announced();
    failOver();
    const { at, port } = await announcement;
    assert.equal(port, to.port);
    to.cli('HSET', 'computer:{cmp_1}', 'agent', agentB.address, 'boot', 2);
    await until(async () => await who() === 'B', 'the route on the new master is not in force', 10000);
    const took = performance.now() - at;
    assert.ok(took < WITHIN_MS, `${took.toFixed(0)} ms after the announcement`);
    to.cli('HSET', 'computer:{cmp_1}', 'agent', agentA.address, 'boot', 3); // pushed, from now on
    await sleep(isSanitized ? 500 : 200);
    assert.equal(await who(), 'A');
}

test('SENTINEL FAILOVER is followed over TLS', async () => {
    assert.equal(await who(), 'A');
    assert.match(gateway.err, /connected, changes are pushed/);
    await follows(group.replica, () => group.sentinels[1].cli('SENTINEL', 'FAILOVER', MASTER));
});

test('a master that is killed is left for the new one, over TLS', async () => {
    await until(() => /master_link_status:up/.test(group.master.cli('INFO', 'replication')), 'the old master does not follow', 20000);
    await follows(group.master, () => group.replica.kill('SIGKILL'));
});

function refused(what, wrong, words) {
    test(`refused, and said so: ${what}`, async () => {
        const own = await startGateway(wrong());
        try {
            await until(() => words.test(own.err), `no line like ${words}`, 5000).catch((error) => { throw new Error(`${error.message}\n${own.err}`); });
            assert.doesNotMatch(own.err, /changes are pushed/);
            for (const word of ['word-of-', 'a-wrong-one']) assert.ok(!own.err.includes(word), 'a password is in the log');
        } finally {
            await own.stop();
        }
    });
}

refused('the password of Redis', () => ({ password_file: rig.write('wrong.password', 'a-wrong-one\n') }), /redis: .*WRONGPASS/);
refused('the password of the sentinels', () => ({ sentinel_password_file: rig.write('wrong.password', 'a-wrong-one\n') }), /redis: sentinel 127\.0\.0\.1:\d+: .*WRONGPASS/);
refused('no password for the sentinels', () => ({ sentinel_password_file: undefined }), /redis: sentinel 127\.0\.0\.1:\d+: .*NOAUTH/);
refused('another CA', () => ({ ca: rig.certificate('other', ['redis.internal']).cert }), /redis: sentinel 127\.0\.0\.1:\d+: its certificate was refused: self-signed certificate/);
refused('a certificate of another name', () => ({ sentinels: group.sentinels.map(({ port }) => `localhost:${port}`), ca: security.certificate.cert }), /redis: sentinel localhost:\d+: its certificate was refused: hostname mismatch/);
refused('in the clear', () => ({ url: `redis://${MASTER}` }), /redis: sentinel 127\.0\.0\.1:\d+: /);
