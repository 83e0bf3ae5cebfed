// The public docs' curl, word for word, and the three answers of the plain-JSON form.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Rig } from '../../support/harness.mjs';

const rig = new Rig();
const run = promisify(execFile);
let gateway, token, certificate;

before(async () => {
    certificate = rig.certificate();
    const agent = await rig.startAgent();
    gateway = await rig.startGateway({ listeners: [{}, { tls: true }], certificate, routes: rig.routesFor(agent) });
    token = rig.token();
});
after(() => rig.stop());

const curl = async (...args) => (await run('curl', ['-sS', '--max-time', '20', ...args])).stdout;
const startArgs = (body, ...more) => ['-X', 'POST', `${gateway.url}/process.Process/Start`, '-H', `Authorization: Bearer ${token}`,
    '-H', 'Content-Type: application/json', '-d', JSON.stringify(body), ...more];

for (const version of ['--http1.1', '--http2-prior-knowledge', '--http1.0']) {
    test(`curl ${version}: the docs' command prints the listing and the exit code`, async () => {
        const answer = JSON.parse(await curl(version, ...startArgs({ command: ['ls', '-la', '/'] })));
        assert.match(answer.stdout, /\betc\b/);
        assert.equal(answer.exit_code, 0);
        assert.equal(answer.running, false);
        assert.ok(answer.pid > 0);
    });
}

test('over TLS with HTTP/2', async () => {
    const out = await curl('--http2', '-k', '-w', '\n%{http_version} %{http_code}', '-X', 'POST', `https://localhost:${gateway.ports[1]}/process.Process/Start`,
        '-H', `Authorization: Bearer ${token}`, '-H', 'Content-Type: application/json', '-d', '{"command":["echo","hi"]}');
    assert.match(out, /"stdout":"hi\\n"/);
    assert.match(out, /\n2 200$/);
});

test('the token may stand in X-Access-Token and in the query', async () => {
    const body = JSON.stringify({ command: ['echo', 'ok'] });
    const json = ['-H', 'Content-Type: application/json', '-d', body];
    assert.match(await curl(`${gateway.url}/process.Process/Start`, '-H', `X-Access-Token: ${token}`, ...json), /"exit_code":0/);
    assert.match(await curl(`${gateway.url}/process.Process/Start?access_token=${token}`, ...json), /"exit_code":0/);
});

test('process:{cmd,args} works as well, stderr and exit code are told', async () => {
    const answer = JSON.parse(await curl(...startArgs({ process: { cmd: '/bin/sh', args: ['-c', 'echo out; echo err >&2; exit 3'] } })));
    assert.equal(answer.stdout, 'out\n');
    assert.equal(answer.stderr, 'err\n');
    assert.equal(answer.exit_code, 3);
});

test('wait_ms: the answer comes while the process runs', async () => {
    const began = Date.now();
    const answer = JSON.parse(await curl(...startArgs({ command: ['sh', '-c', 'echo early; sleep 20'], wait_ms: 500 })));
    assert.equal(answer.running, true);
    assert.equal(answer.stdout, 'early\n');
    assert.ok(Date.now() - began < 5000);
});

/** Times at which lines arrive. */
function arrivals(args) {
    return new Promise((done, fail) => {
        const child = spawn('curl', ['-sSN', '--max-time', '20', ...args]);
        const lines = [];
        let held = '';
        child.stdout.on('data', (chunk) => {
            held += chunk;
            for (let at; (at = held.indexOf('\n')) >= 0; held = held.slice(at + 1))
                if (at > 0) lines.push({ at: Date.now(), text: held.slice(0, at) });
        });
        child.on('exit', (code) => (code === 0 ? done(lines) : fail(new Error(`curl ${code}`))));
    });
}

test('NDJSON: a line a second arrives once a second', async () => {
    const lines = await arrivals(startArgs({ command: ['sh', '-c', 'for i in 1 2 3; do echo n$i; sleep 1; done'] }, '-H', 'Accept: application/x-ndjson'));
    const events = lines.map((line) => ({ at: line.at, ...JSON.parse(line.text) }));
    const data = events.filter((event) => JSON.stringify(event).includes('n1') || JSON.stringify(event).includes('n2') || JSON.stringify(event).includes('n3'));
    assert.equal(data.length, 3);
    for (let i = 1; i < 3; i++) {
        const gap = data[i].at - data[i - 1].at;
        assert.ok(gap > 700 && gap < 1600, `gap ${gap}`);
    }
    assert.match(lines.at(-1).text, /exit_?[cC]ode":0/);
});

test('SSE: events are flushed as they come', async () => {
    const lines = await arrivals(startArgs({ command: ['sh', '-c', 'echo a; sleep 1; echo b'] }, '-H', 'Accept: text/event-stream'));
    const data = lines.filter((line) => line.text.startsWith('data:'));
    assert.ok(data.length >= 4, JSON.stringify(lines)); // start, a, b, end
    assert.ok(lines.some((line) => line.text.startsWith('event: start')));
    assert.ok(lines.some((line) => line.text.startsWith('event: end')));
    assert.ok(data.at(-1).at - data[1].at > 700);
});

test('errors are JSON with status, code, request id and delivered', async () => {
    const out = await curl('-i', '-X', 'POST', `${gateway.url}/process.Process/Start`, '-H', 'Content-Type: application/json', '-d', '{"command":["ls"]}');
    assert.match(out, /^HTTP\/1.1 401/);
    assert.match(out, /x-gateway-delivered: never/i);
    assert.match(out, /x-request-id: \S+/i);
    assert.match(out, /"code":"unauthenticated"/);
    const bad = await curl('-i', ...startArgs({ nothing: true }));
    assert.match(bad, /^HTTP\/1.1 400/);
    assert.match(bad, /"code":"invalid_argument"/);
});
