// Redis as the registry: a change is in force within 100 ms, losing Redis fails no request to a known computer.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, sleep, until, isSanitized } from '../../support/harness.mjs';

const rig = new Rig();
let redis, gateway, token, agentA, agentB;
const slack = isSanitized ? 3 : 1;

before(async () => {
    redis = await rig.startRedis();
    agentA = await rig.startAgent();
    agentB = await rig.startAgent();
    rig.putRoutes(redis, agentA);
    gateway = await rig.startGateway({ redis, config: { workers: 4 } });
    token = rig.token();
});
after(() => rig.stop());

async function who(more = {}) {
    const response = await fetch(`${gateway.url}/process.Process/Start`, {
        method: 'POST', headers: { authorization: `Bearer ${more.token ?? token}`, 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ command: ['sh', '-c', 'echo $PPID'] /* the agent's pid */ }),
    });
    const answer = await response.json();
    const names = { [agentA.pid]: 'A', [agentB.pid]: 'B' };
    return { status: response.status, who: names[answer.stdout?.trim()], code: answer.code };
}
/** New connections, so that every worker is asked. */
const manyWho = (count) => Promise.all(Array.from({ length: count }, () => who()));

test('a known computer is reached', async () => {
    for (const answer of await manyWho(16)) assert.deepEqual(answer, { status: 200, who: 'A', code: undefined });
});

test('a route changed in Redis is in force on every worker within 100 ms', async () => {
    for (let round = 0; round < 6; round++) {
        const [agent, name] = round % 2 ? [agentA, 'A'] : [agentB, 'B'];
        redis.cli('HSET', 'computer:{cmp_1}', 'agent', agent.address, 'boot', String(round + 2));
        await sleep(100 * slack);
        for (const answer of await manyWho(12)) assert.equal(answer.who, name, JSON.stringify(answer));
    }
});

test('a session revoked or deleted refuses new requests at once', async () => {
    const other = rig.token({ session: 'ses_2' });
    assert.equal((await who({ token: other })).code, 'unauthenticated', 'a session that Redis does not know');
    redis.cli('HSET', 'session:{ses_2}', 'kind', 'exec', 'computer', 'cmp_1');
    await sleep(100 * slack);
    assert.equal((await who({ token: other })).status, 200);
    redis.cli('HSET', 'session:{ses_2}', 'revoked', '1');
    await sleep(100 * slack);
    assert.equal((await who({ token: other })).code, 'unauthenticated');
    redis.cli('HDEL', 'session:{ses_2}', 'revoked');
    await sleep(100 * slack);
    assert.equal((await who({ token: other })).status, 200);
    redis.cli('DEL', 'session:{ses_2}');
    await sleep(100 * slack);
    assert.equal((await who({ token: other })).code, 'unauthenticated');
});

test('a computer that stops is unavailable, one that is deleted is not found', async () => {
    redis.cli('HSET', 'computer:{cmp_1}', 'state', 'stopped');
    await sleep(100 * slack);
    assert.equal((await who()).code, 'unavailable');
    redis.cli('DEL', 'computer:{cmp_1}');
    await sleep(100 * slack);
    assert.equal((await who()).code, 'not_found');
    rig.putRoutes(redis, agentA, { boot: '77' });
    await sleep(100 * slack);
    assert.equal((await who()).who, 'A');
});

test('an address outside upstream.allow is refused', async () => {
    redis.cli('HSET', 'computer:{cmp_evil}', 'state', 'running', 'agent', '169.254.169.254:80', 'boot', '1');
    redis.cli('HSET', 'session:{ses_evil}', 'kind', 'exec', 'computer', 'cmp_evil');
    const answer = await who({ token: rig.token({ computer: 'cmp_evil', session: 'ses_evil' }) });
    assert.equal(answer.status, 503);
    assert.equal(answer.code, 'unavailable');
});

test('killing Redis under load fails no request to a known computer; it recovers by itself', { timeout: 60000 }, async () => {
    // Every worker knows the computer.
    await manyWho(40);
    let stop = false;
    let count = 0;
    const failures = [];
    const load = Array.from({ length: 4 }, async () => {
        while (!stop) {
            const answer = await who();
            count++;
            if (answer.who !== 'A') failures.push(answer);
        }
    });
    await sleep(500);
    redis.cli('SAVE'); // it comes back with what it knew, as one that persists does
    redis.kill('SIGKILL');
    await redis.exit;
    await sleep(3000);
    // Unknown ones are unavailable, never not found.
    const unknown = await who({ token: rig.token({ computer: 'cmp_unknown', session: 'ses_u' }) });
    assert.equal(unknown.code, 'unavailable');
    const again = rig.start('redis', 'redis-server', redis.args);
    await again.line(/Ready to accept connections/);
    rig.putRoutes(redis, agentA, { boot: '77' });
    await until(async () => (await who({ token: rig.token({ computer: 'cmp_unknown', session: 'ses_1' }) })).code === 'permission_denied', 'recovery', 5000);
    await sleep(2000); // every worker is linked again: 1.5 s between tries at most
    stop = true;
    await Promise.all(load);
    assert.deepEqual(failures.slice(0, 3), []);
    assert.ok(count > 50, `${count} requests`);
    // Coherent again.
    redis.cli('HSET', 'computer:{cmp_1}', 'agent', agentB.address, 'boot', '78');
    await sleep(200 * slack);
    for (const answer of await manyWho(12)) assert.equal(answer.who, 'B');
});
