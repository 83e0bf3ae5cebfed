// The agent dies in mid-stream: every protocol hears `unavailable`, never a clean end. Cancels and retries tell the truth.
import { test, before, after, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { ConnectError, Code } from '@connectrpc/connect';
import { Rig, until, sleep } from '../../support/harness.mjs';
import { processClient, clientMatrix, collect } from '../../support/process_client.mjs';

const rig = new Rig();
let token, certificate;
before(() => { certificate = rig.certificate(); token = rig.token(); });
after(() => rig.stop());

for (const signal of ['SIGKILL']) {
    for (const kind of clientMatrix()) {
        if (kind.tls) continue;
        test(`${kind.name}: agent ended by ${signal} in mid-stream gives unavailable`, async () => {
            const agent = await rig.startAgent();
            const gateway = await rig.startGateway({ routes: rig.routesFor(agent) });
            const client = processClient({ url: gateway.url, token, ...kind });
            let pid;
            const running = collect(client.start({ process: { cmd: '/bin/sh', args: ['-c', 'echo first; exec sleep 30'] } }), (event, result) => {
                if (event?.case === 'start') pid = event.value.pid;
                if (result.stdout.length > 0 && !agent.exited) agent.kill(signal);
            });
            await assert.rejects(running, (error) => {
                assert.equal(Code[ConnectError.from(error).code], Code[Code.Unavailable], String(error));
                return true;
            });
            if (pid) { try { process.kill(pid, 'SIGKILL'); } catch { /* gone with its agent */ } }
            await gateway.stop();
        });
    }
}

test('plain JSON: a lost agent is an error, in all three forms', async () => {
    for (const accept of ['application/x-ndjson', 'text/event-stream', '*/*']) {
        const agent = await rig.startAgent();
        const gateway = await rig.startGateway({ routes: rig.routesFor(agent) });
        const pending = fetch(`${gateway.url}/process.Process/Start`, {
            method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept },
            body: JSON.stringify({ command: ['sh', '-c', 'echo first; exec sleep 5'] }),
        }).then((response) => response.text());
        await sleep(600);
        await agent.stop('SIGKILL');
        const text = await pending;
        assert.match(text, /unavailable/, `${accept}: ${text}`);
        await gateway.stop();
    }
});

test('an agent that is not there is unavailable and was never delivered', async () => {
    const gateway = await rig.startGateway({ routes: { computers: { cmp_1: { state: 'running', agent: '127.0.0.1:1', boot: '1' } } } });
    const response = await fetch(`${gateway.url}/process.Process/List`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{}' });
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('x-gateway-delivered'), 'never');
    assert.equal((await response.json()).code, 'unavailable');
});
