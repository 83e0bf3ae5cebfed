// Tokens of every kind and fate are sent in every place, over every protocol, to the exec host and to published ports, at log level debug.
// Then everything that was written or said anywhere is searched for them: whole, their payload, their signature.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { sign, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { WebSocket } from 'ws';
import { Rig, until, freePort, gatewayBin, toLoopback, rawExchange, ISSUER, KID, DOMAIN } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';
import { ask } from '../../support/http_client.mjs';
import { recordingAgent } from '../../support/recording_agent.mjs';

const rig = new Rig();
const SECRET = 'the-secret-of-the-admin-listener-0123456789';
const AGENT_TOKEN = 'agent-token-of-the-registry-0123456789';
const EXEC = `exec.${DOMAIN}`, PUBLIC = `public--box.${DOMAIN}`, PRIVATE = `private--box.${DOMAIN}`;
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
let redis, agent, app, gateway, admin, certificate, tls;
const tokens = {};        // name: token
const sinks = {};         // name: text
const answers = [];       // what clients got
const told = [];          // admin answers and command output, but what made a session

// ---- tokens ----

const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
let serial = 0;

function made(name, claims, { key, kid = KID } = {}) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const body = { jti: `unique-${serial++}`, iss: ISSUER, sub: 'usr_1', iat: now - 7200, nbf: now - 7200, exp: now + 3600, ...claims };
    const text = `${part({ alg: 'ES256', typ: 'JWT', kid })}.${part(body)}`;
    tokens[name] = rig.remember(`${text}.${sign('sha256', text, { key: key ?? rig.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`);
}

function makeTokens() {
    const past = Math.floor(Date.now() / 1000) - 3600;
    for (const [kind, claims] of [['connect', { aud: 'exec', kind: 'exec', cap: ['process'], sid: 'ses_1', cid: 'cmp_1' }],
        ['access', { aud: 'access', kind: 'browser', sid: 'acs_1', cid: 'cmp_1' }]]) {
        made(`${kind} valid`, claims);
        made(`${kind} expired`, { ...claims, exp: past });
        made(`${kind} revoked`, { ...claims, sid: 'gone' });
        made(`${kind} of another computer`, { ...claims, cid: 'cmp_2' });
        made(`${kind} of a wrong issuer`, { ...claims, iss: 'https://elsewhere.example' });
        made(`${kind} of a wrong key`, claims, { key: other });
        made(`${kind} of an unknown key`, claims, { key: other, kid: 'nobody' });
    }
    made('connect to the HTTP/1.1 agent', { aud: 'exec', kind: 'exec', cap: ['process'], sid: 'ses_h1', cid: 'cmp_h1' });
}

const isGood = (name) => /valid|of the API|of the command|HTTP\/1.1/.test(name);
const isForged = (name) => / (wrong|unknown) key$/.test(name);

// ---- places ----

const places = {
    authorization: (t) => ({ headers: { authorization: `Bearer ${t}` } }),
    'authorization lower': (t) => ({ headers: { authorization: `bearer ${t}` } }),
    'x-access-token': (t) => ({ headers: { 'x-access-token': t } }),
    'query access_token': (t) => ({ query: `?a=1&access_token=${t}&b=2` }),
    'query token': (t) => ({ query: `?token=${t}` }),
    'query encoded': (t) => ({ query: `?access%5Ftoken=${t.replaceAll('.', '%2E')}` }),
    cookie: (t) => ({ headers: { cookie: `theirs=1; agentcomputer_access_session=${t}; more=2` } }),
    subprotocol: (t) => ({ headers: { 'sec-websocket-protocol': `access-token.${t}, chat` } }),
    'two at once': (t) => ({ headers: { authorization: `Bearer ${t}`, 'x-access-token': t, cookie: `agentcomputer_access_session=${t}` } }),
};
// What is no token of ours, or is not written as one, may be the app's own, and passes (docs/published-ports.md).
const passesForged = /^(authorization|query|two)/;

const protocols = [
    { http: '1.1' }, { http: '2' }, { http: '1.1', tls: true }, { http: '2', tls: true },
];
const at = (host, { http, tls: isTls }) => ({ host, http, port: isTls ? tls : gateway.port, ca: isTls ? certificate.pem : undefined });

async function send(host, protocol, options) {
    try {
        const answer = await ask(at(host, protocol), { ms: 10000, ...options, headers: { traceparent, ...options.headers } });
        const { 'set-cookie': _, ...headers } = answer.headers; // the one place where a token is meant to come back
        answers.push(`${answer.status} ${JSON.stringify(headers)}\n${answer.body}`);
        return answer.status;
    } catch (error) {
        return error.message; // e.g. Node refuses a second field over HTTP/2
    }
}

const statuses = new Map();
const count = (what, status) => statuses.set(`${what} ${status}`, (statuses.get(`${what} ${status}`) ?? 0) + 1);

const execCalls = [
    { path: '/process.Process/List', type: 'application/json', body: '{}' },
    { path: '/process.Process/Start', type: 'application/connect+json', body: Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from('{}')]) },
    { path: '/process.Process/List', type: 'application/grpc', body: Buffer.alloc(5), more: { te: 'trailers' } },
    { path: '/process.Process/List', type: 'application/grpc-web', body: Buffer.alloc(5) },
    { path: '/process.Process/Nothing', type: 'application/json', body: '{}' },
];

before(async () => {
    rig.privateKey = createPrivateKey(readFileSync(rig.keyFile));
    redis = await rig.startRedis();
    agent = await recordingAgent();
    app = await rig.startApp();
    certificate = rig.certificate();
    const adminPort = await freePort();
    for (const [id, address, more] of [['cmp_1', agent.h2, ['handle', 'box']], ['cmp_2', agent.h2, []], ['cmp_h1', agent.h1, ['protocol', 'http1']]])
        redis.cli('HSET', `computer:{${id}}`, 'state', 'running', 'agent', address, 'boot', '1', 'agent_token', AGENT_TOKEN, ...more);
    for (const [id, kind, computer] of [['ses_1', 'exec', 'cmp_1'], ['ses_h1', 'exec', 'cmp_h1'], ['acs_1', 'browser', 'cmp_1']])
        redis.cli('HSET', `session:{${id}}`, 'kind', kind, 'computer', computer, 'user', 'usr_1');
    redis.cli('HSET', 'session:{gone}', 'kind', 'exec', 'computer', 'cmp_1', 'user', 'usr_1', 'revoked', '1');
    for (const [host, visibility] of [[PUBLIC, 'public'], [PRIVATE, 'session']])
        redis.cli('HSET', `host:{${host}}`, 'computer', 'cmp_1', 'port', app.port, 'visibility', visibility);
    gateway = await rig.startGateway({
        redis, certificate, listeners: [{}, { tls: true }],
        config: {
            exec: { hosts: [EXEC] }, ports: { domain: DOMAIN, insecure_cookies: true },
            admin: { address: `127.0.0.1:${adminPort}`, secret_file: rig.write('admin.secret', `${SECRET}\n`), signing_key: KID },
            log: { level: 'debug', access: rig.path('access.log') },
        },
    });
    gateway.accessFile = rig.path('access.log');
    tls = gateway.ports[1];
    admin = new Admin({ port: adminPort, secret: SECRET });
    makeTokens();
});
after(async () => { agent?.stop(); await rig.stop(); });

// ---- sending ----

test('the admin API makes sessions: their tokens are told once, and used', async () => {
    for (const body of [{ kind: 'exec' }, { kind: 'browser', label: 'private' }]) {
        const { json, status } = await admin.call('POST', '/v1/computers/cmp_1/access-sessions', { body });
        assert.equal(status, 201);
        const { session } = json;
        tokens[`${body.kind} of the API`] = rig.remember(session.connect_token ?? new URL(session.access_url).searchParams.get('access_token'));
    }
    for (const args of [['session', 'create', '-c', gateway.configFile, 'cmp_1', '--json']])
        tokens['exec of the command'] = rig.remember(JSON.parse(execFileSync(gatewayBin, args, { encoding: 'utf8' })).session.connect_token);
});

test('every token in every place over every protocol to the exec host', async () => {
    for (const protocol of protocols)
        for (const [name, token] of Object.entries(tokens))
            await Promise.all(Object.entries(places).flatMap(([place, put]) => execCalls.slice(0, isGood(name) ? undefined : 2).map(async (call) => {
                const { headers, query = '' } = put(token);
                const status = await send(EXEC, protocol, { method: 'POST', path: call.path + query, body: call.body,
                    headers: { 'content-type': call.type, ...call.more, ...headers, ...(/another/.test(name) ? { 'x-computer-id': 'cmp_1' } : {}) } });
                count(`${name} ${place} ${call.type}`, status);
            })));
    for (const place of ['authorization', 'x-access-token', 'query access_token']) {
        assert.equal(statuses.get(`connect valid ${place} application/json 200`), 4, place);
        assert.equal(statuses.get(`exec of the API ${place} application/json 200`), 4, place);
        assert.equal(statuses.get(`connect to the HTTP/1.1 agent ${place} application/json 200`), 4, place);
        assert.equal(statuses.get(`connect expired ${place} application/json 401`), 4, place);
        assert.equal(statuses.get(`connect of a wrong key ${place} application/json 401`), 4, place);
    }
});

test('every token in every place over every protocol to ports', async () => {
    for (const protocol of protocols)
        for (const [name, token] of Object.entries(tokens))
            for (const host of [PUBLIC, PRIVATE])
                await Promise.all(Object.entries(places).map(async ([place, put]) => {
                    if (host === PUBLIC && (place === 'query encoded' || (isForged(name) && passesForged.test(place)))) return;
                    const { headers, query = '' } = put(token);
                    for (const more of [{}, { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' }])
                        count(`${host} ${name} ${place}`, await send(host, protocol, { path: `/whoami${query}`, headers: { ...headers, ...more } }));
                }));
    assert.ok(statuses.get(`${PRIVATE} access valid cookie 200`) > 0);
    assert.ok(statuses.get(`${PRIVATE} access valid query access_token 303`) > 0);
    assert.ok(statuses.get(`${PRIVATE} browser of the API x-access-token 200`) > 0);
    assert.ok(statuses.get(`${PRIVATE} access expired cookie 401`) > 0);
    assert.ok(statuses.get(`${PUBLIC} access expired query token 200`) > 0);
});

test('WebSockets with a token in the subprotocol, and requests that are broken off or no HTTP', async () => {
    for (const [name, token] of Object.entries(tokens))
        for (const isTls of [false, true]) {
            const socket = new WebSocket(`${isTls ? 'wss' : 'ws'}://${PRIVATE}:${isTls ? tls : gateway.port}/ws/echo`, [`access-token.${token}`, 'chat'],
                { ca: certificate.pem, lookup: toLoopback, headers: { traceparent } });
            const isOpen = await new Promise((done) => { socket.on('open', () => done(true)); socket.on('error', () => done(false)); });
            if (/^(access valid|browser of)/.test(name)) assert.ok(isOpen, name);
            socket.terminate();
        }
    for (const token of Object.values(tokens)) {
        await rawExchange(gateway.port, `POST /process.Process/List?access_token=${token} HTTP/1.1\r\nHost: ${EXEC}\r\nAuthorization: Bearer ${token}\r\nContent-Length: x\r\n\r\n`, { ms: 300 });
        await rawExchange(gateway.port, `GET /?access_token=${token} HTTP/9.9\r\nX-Access-Token: ${token}\r\n\r\n`, { ms: 300 });
        await rawExchange(gateway.port, `GET /?access_token=${token} HTTP/1.1\r\nHost: nowhere.example\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`, { ms: 300 });
        await rawExchange(gateway.port, `X-Access-Token: ${token}\r\n`, { ms: 100 });
        await rawExchange(tls, `GET /?access_token=${token} HTTP/1.1\r\nX-Access-Token: ${token}\r\n\r\n`, { ms: 100 });
    }
});

test('the admin listener and the commands are asked for everything while streams are open', async () => {
    const held = [];
    for (const token of [tokens['connect valid'], tokens['exec of the API']])
        ask(at(EXEC, { http: '2' }), { method: 'POST', path: `/process.Process/Connect?access_token=${token}`, headers: { 'content-type': 'application/connect+json' },
            body: Buffer.from([0, 0, 0, 0, 0]), onHead: (_, stream) => held.push(stream) }).catch(() => {});
    const socket = new WebSocket(`ws://${PRIVATE}:${gateway.port}/ws/echo?access_token=${tokens['access valid']}`, { lookup: toLoopback, headers: { authorization: `Bearer ${tokens['access valid']}` } });
    await new Promise((done, fail) => { socket.on('open', done); socket.on('error', fail); });
    await until(() => held.length === 2, 'streams open');
    for (const path of ['/status', '/metrics', '/connections', '/streams', '/agents', '/routes', '/keys', '/redis', '/livez', '/readyz', '/v1/computers/cmp_1',
        '/v1/computers/cmp_1/access-sessions', '/v1/computers/cmp_1/ports'])
        for (const [secret, query] of [[SECRET, ''], ['wrong', `?secret=${SECRET}&access_token=${tokens['connect valid']}`], [tokens['connect valid'], ''], [`${SECRET}x`, '']]) {
            const answer = await admin.call('GET', path + query, { secret });
            told.push(`${JSON.stringify(answer.headers)}\n${answer.text}`);
            if (secret === SECRET) assert.equal(answer.status, 200, path);
        }
    for (const command of [['status'], ['streams'], ['session', 'list', 'cmp_1'], ['port', 'list', 'cmp_1'], ['computer', 'get', 'cmp_1'], ['check'], ['port', 'delete', 'cmp_1', tokens['connect valid']]])
        for (const more of [[], ['--json']]) {
            const done = spawnSync(gatewayBin, [...command.slice(0, command[0].match(/session|port|computer/) ? 2 : 1), '-c', gateway.configFile, ...command.slice(2), ...more], { encoding: 'utf8' });
            told.push(done.stdout + done.stderr);
        }
    const streams = (await admin.rows('streams'));
    assert.ok(streams.length >= 3, JSON.stringify(streams));
    gateway.kill('SIGHUP');
    await until(() => /reload/.test(gateway.err), 'reload told');
    socket.terminate();
    held.forEach((stream) => stream.close(8));
});

// ---- searching ----

test('none of it is anywhere', async () => {
    const seen = await app.seen();
    assert.ok(agent.heard().includes(AGENT_TOKEN), 'the agent is asked with its own token');
    assert.ok(agent.heard().includes('/whoami') && seen.some((request) => request.url.startsWith('/whoami')), 'the app was reached');
    const accessLog = readFileSync(gateway.accessFile, 'utf8');
    assert.ok(['"kind":"exec"', '"kind":"port"', '"kind":"refused"'].every((kind) => accessLog.includes(kind)), 'all kinds of calls are logged');
    Object.assign(sinks, {
        'access log': accessLog,
        'error log': gateway.err + gateway.out,
        'admin listener and commands': told.join('\n'),
        'what the agent received': agent.heard(),
        'what the app received': JSON.stringify(seen),
        'what clients were answered': answers.join('\n'),
    });
    assert.ok(/level=debug|debug/.test(sinks['error log']), 'log level debug');
    const found = [];
    for (const [sink, text] of Object.entries(sinks)) {
        assert.ok(text.length > 500, `${sink} is empty`);
        for (const [name, token] of Object.entries(tokens)) {
            const [, payload, signature] = token.split('.');
            for (const [what, secret] of Object.entries({ token, payload, signature, 'beginning of the payload': payload.slice(0, 60) }))
                if (text.includes(secret)) found.push(`${sink}: ${what} of ${name}: …${text.slice(Math.max(0, text.indexOf(secret) - 200), text.indexOf(secret) + 20).replace(/[^ -~]/g, ' ')}`);
        }
        if (text.includes(SECRET)) found.push(`${sink}: the admin listener's secret`);
        if (sink !== 'what the agent received' && text.includes(AGENT_TOKEN)) found.push(`${sink}: the agent's token`);
    }
    assert.deepEqual(found, []);
    assert.match(sinks['what the agent received'], /0af7651916cd43dd8448eb211c80319c/, 'the trace goes on');
});

test('the harness itself notices a token in a log, in every test', async () => {
    const careless = new Rig();
    const plain = await careless.startGateway();
    const token = careless.token();
    await fetch(`${plain.url}/process.Process/${token}`); // a path is no place for a token, and paths are logged
    await until(() => plain.accessLog().includes('process.Process'), 'logged');
    await assert.rejects(careless.stop(), /logged a token/);
    rmSync(careless.dir, { recursive: true });
});
