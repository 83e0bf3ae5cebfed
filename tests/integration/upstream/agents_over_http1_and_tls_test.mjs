// Agents that speak HTTP/1.1 only, TLS, and mutual TLS; the agent's own token; what the agent sees of the client.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Rig } from '../../support/harness.mjs';
import { processClient, collect } from '../../support/process_client.mjs';

const rig = new Rig();
let server;
after(async () => { server?.close(); server?.closeAllConnections(); await rig.stop(); });

const sessions = { ses_1: { kind: 'exec', computer: 'cmp_1' } };
const run = async (gateway, token) => (await collect(processClient({ url: gateway.url, token }).start({ process: { cmd: 'echo', args: ['hi'] } }))).text;

test('HTTP/1.1 agents carry every method, streams included', async () => {
    const agent = await rig.startAgent();
    const gateway = await rig.startGateway({ routes: rig.routesFor(agent, { protocol: 'http1' }) });
    const token = rig.token();
    assert.equal(await run(gateway, token), 'hi\n');
    const client = processClient({ url: gateway.url, token });
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => collect(client.start({ process: { cmd: '/bin/sh', args: ['-c', `sleep 0.2; echo ${i}`] } }))));
    results.forEach((result, i) => assert.equal(result.text, `${i}\n`));
    assert.ok((await client.list({})).processes.length >= 0);
});

test('TLS and mutual TLS; a certificate of somebody else is refused', async () => {
    const own = rig.certificate('agent', ['localhost']);
    const ours = rig.certificate('gateway-client', ['gateway']);
    const strange = rig.certificate('strange', ['localhost']);
    const token = rig.token();
    const withTls = (tls) => ({ upstream: { allow: ['127.0.0.0/8'], tls } });

    const agent = await rig.startAgent(['--tls-cert', own.cert, '--tls-key', own.key]);
    const on = await rig.startGateway({ routes: rig.routesFor(agent, { tls: 'on' }), config: withTls({ ca: own.cert }) });
    assert.equal(await run(on, token), 'hi\n');
    const wrong = await rig.startGateway({ routes: rig.routesFor(agent, { tls: 'on' }), config: withTls({ ca: strange.cert }) });
    await assert.rejects(run(wrong, token), /unavailable/);

    const mutual = await rig.startAgent(['--tls-cert', own.cert, '--tls-key', own.key, '--client-ca', ours.cert]);
    const good = await rig.startGateway({ routes: rig.routesFor(mutual, { tls: 'mutual' }), config: withTls({ ca: own.cert, certificate: ours.cert, key: ours.key }) });
    assert.equal(await run(good, token), 'hi\n');
    const bare = await rig.startGateway({ routes: rig.routesFor(mutual, { tls: 'on' }), config: withTls({ ca: own.cert }) });
    await assert.rejects(run(bare, token), /unavailable/);
});

test('the agent gets its own token, never the client\'s; the gateway\'s identity headers, never the client\'s', async () => {
    let seen;
    server = createServer((request, response) => {
        seen = request;
        request.resume();
        response.setHeader('content-type', 'application/json');
        response.end('{"processes":[]}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = `127.0.0.1:${server.address().port}`;
    const gateway = await rig.startGateway({ routes: { computers: { cmp_1: { state: 'running', agent: address, boot: '1', protocol: 'http1', agent_token: 'guest-secret' } }, sessions } });
    const token = rig.token();
    const response = await fetch(`${gateway.url}/process.Process/List?x=1&access_token=${token}`, { method: 'POST', body: '{}', headers: {
        'content-type': 'application/json', 'x-session-id': 'spoofed', 'x-user-id': 'root', 'x-forwarded-for': '6.6.6.6', 'x-forwarded-host': 'evil',
        'x-request-id': 'mine', forwarded: 'for=6.6.6.6', 'x-real-ip': '6.6.6.6', 'x-custom': 'kept', 'keepalive-ping-interval': '0', 'connect-timeout-ms': '5000' } });
    assert.equal(response.status, 200);
    assert.equal(seen.url, '/process.Process/List?x=1');
    assert.equal(seen.headers.authorization, 'Bearer guest-secret');
    assert.equal(seen.headers['x-computer-id'], 'cmp_1');
    assert.equal(seen.headers['x-session-id'], 'ses_1');
    assert.equal(seen.headers['x-user-id'], 'usr_1');
    assert.equal(seen.headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(seen.headers['x-forwarded-proto'], 'http');
    assert.equal(seen.headers['x-forwarded-host'], `127.0.0.1:${gateway.port}`);
    assert.notEqual(seen.headers['x-request-id'], 'mine');
    assert.equal(seen.headers['x-request-id'], response.headers.get('x-request-id'));
    assert.match(seen.headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    assert.equal(seen.headers.forwarded, undefined);
    assert.equal(seen.headers['x-real-ip'], undefined);
    assert.equal(seen.headers['x-custom'], 'kept');
    assert.equal(seen.headers['connect-timeout-ms'], '5000');
    assert.ok(seen.headers['keepalive-ping-interval'] === undefined || seen.headers['keepalive-ping-interval'] === '1');
    assert.ok(!JSON.stringify(seen.rawHeaders).includes(token.slice(-30)));
});

test('an agent behind --token takes nobody without it', async () => {
    writeFileSync(rig.path('agent.token'), 'sesame\n');
    const agent = await rig.startAgent(['--token', rig.path('agent.token')]);
    const good = await rig.startGateway({ routes: rig.routesFor(agent, { agent_token: 'sesame' }) });
    assert.equal(await run(good, rig.token()), 'hi\n');
    const bad = await rig.startGateway({ routes: rig.routesFor(agent) });
    await assert.rejects(run(bad, rig.token()), /unauthenticated/);
});
