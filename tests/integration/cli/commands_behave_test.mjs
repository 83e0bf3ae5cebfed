// The command line: a wrong one never starts; `check` names file, line and column; `dev` needs nothing else.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync, execFileSync } from 'node:child_process';
import { Rig, gatewayBin, root, ISSUER, KID } from '../../support/harness.mjs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const rig = new Rig();
after(() => rig.stop());
const run = (...args) => spawnSync(gatewayBin, args, { encoding: 'utf8', timeout: 20000 });

test('version, help and wrong command lines', () => {
    assert.match(run('version').stdout, /^exec-gateway \d+\.\d+\.\d+\n$/);
    assert.equal(run('--help').status, 0);
    for (const args of [[], ['nonsense'], ['serve'], ['serve', '-c'], ['serve', '-x'], ['check', '-c', 'a', 'b'], ['dev', '--listen', 'nonsense'],
        ['dev', '--nonsense'], ['token'], ['token', 'mint'], ['version', 'x']]) {
        const result = run(...args);
        assert.equal(result.status, 2, `${args.join(' ')}: ${result.stderr}`);
        assert.ok(result.stderr.length > 0);
        assert.equal(result.stdout, '');
    }
    assert.equal(run('serve', '-c', '/nowhere.yaml').status, 1);
});

const good = () => `workers: 1
listeners:
  - address: "127.0.0.1:0"
exec:
  hosts: ["*"]
auth:
  issuer: ${ISSUER}
  keys:
    - {kid: ${KID}, alg: ES256, file: ${rig.keyFile}}
routes:
  file: ${rig.write('routes.yaml', 'computers: {}\n')}
upstream:
  allow: [127.0.0.0/8]
`;

test('a good file passes', () => {
    const result = run('check', '-c', rig.write('good.yaml', good()));
    assert.equal(result.status, 0, result.stderr);
});

const bad = {
    'unknown key': [(t) => `${t}limitz: {}\n`, /bad\.yaml:14:1: limitz: unknown key; expected one of: .*limits/],
    'unknown nested key': [(t) => `${t}limits:\n  h2:\n    strems: 5\n`, /bad\.yaml:16:5: limits\.h2\.strems: unknown key; expected one of: .*streams/],
    'wrong number': [(t) => t.replace('workers: 1', 'workers: many'), /bad\.yaml:1:10: workers: expected `auto` or a whole number/],
    'number out of range': [(t) => `${t}limits: {h2: {streams: 0}}\n`, /bad\.yaml:14:24: limits\.h2\.streams: expected a whole number from 1 to/],
    'wrong duration': [(t) => `${t}drain_timeout: soon\n`, /bad\.yaml:14:16: drain_timeout: expected a duration/],
    'key twice': [(t) => `${t}workers: 2\n`, /bad\.yaml:14:1: workers: stands twice/],
    'wrong algorithm': [(t) => t.replace('ES256', 'none'), /bad\.yaml:9:\d+: alg: expected one of HS256/],
    'key file missing': [(t) => t.replace(rig.keyFile, '/nowhere.pem'), /bad\.yaml:9:7: auth\.keys: .*test-1.*\/nowhere\.pem/],
    'no keys': [(t) => t.replace(/ {2}keys:\n.*\n/, ''), /auth\.keys: expected at least one key/],
    'not YAML': [(t) => `${t}x: [\n`, /bad\.yaml:1\d:\d+: not YAML/],
    'list in place of a value': [(t) => t.replace('workers: 1', 'workers: [1]'), /bad\.yaml:1:10: workers: expected a value, got a list/],
    'address': [(t) => t.replace('127.0.0.1:0', 'localhost:0'), /bad\.yaml:3:14: address: expected HOST:PORT with a numeric host/],
    'network': [(t) => t.replace('127.0.0.0/8', '127.0.0.1/8'), /bad\.yaml:13:11: upstream\.allow: expected a network/],
    'tls without certificates': [(t) => t.replace('"127.0.0.1:0"', '"127.0.0.1:0"\n    tls: true'), /bad\.yaml:3:3: listeners: tls: true needs tls\.certificates/],
    'bad routes file': [(t) => t.replace('routes.yaml', rig.write('broken.yaml', 'computers: {c: {state: flying}}\n').split('/').pop()), /routes\.file: .*broken\.yaml:1:/],
};
for (const [name, [change, expected]] of Object.entries(bad)) {
    test(`check: ${name}`, () => {
        const file = rig.write('bad.yaml', change(good()));
        const result = run('check', '-c', file);
        assert.equal(result.status, 1);
        assert.match(result.stderr, expected);
        assert.equal(run('serve', '-c', file).status, 1, 'it does not start');
    });
}

test('docs/config.md is the schema', () => {
    const reference = execFileSync(gatewayBin, ['check', '--reference'], { encoding: 'utf8' });
    assert.ok(readFileSync(join(root, 'docs/config.md'), 'utf8').includes(reference), 'run: build/exec-gateway check --reference, put it into docs/config.md');
});

test('dev: the session is the first line, its curl works, SIGTERM ends all', async () => {
    for (const tls of [false, true]) {
        const dev = rig.start('gateway-dev', gatewayBin, ['dev', '--listen', '127.0.0.1:0', ...(tls ? ['--tls'] : [])]);
        await dev.line(/access_url.*\n/);
        const { session } = JSON.parse(dev.out.split('\n')[0]);
        assert.equal(session.kind, 'exec');
        assert.deepEqual(session.transport, { protocol: 'connectrpc', service: 'process.Process', base_path: '/process.Process/', capabilities: ['process'] });
        assert.equal(session.access_url, `${session.connect_url}/?access_token=${session.connect_token}`);
        assert.equal(session.connect_url.startsWith(tls ? 'https:' : 'http:'), true);
        const shown = await dev.line(/^curl .*$/m);
        const out = execFileSync('sh', ['-c', shown[0]], { encoding: 'utf8' });
        assert.equal(JSON.parse(out).exit_code, 0);
        const began = Date.now();
        const { code } = await dev.stop();
        assert.equal(code, 0);
        assert.ok(Date.now() - began < 5000);
        assert.equal(dev.out.trim().split('\n').length, 1, 'nothing else on standard output');
    }
});

test('token inspect shows claims and, with a configuration, the verdict', () => {
    const file = rig.write('good.yaml', good());
    const token = execFileSync(gatewayBin, ['token', 'mint', '-c', file, '--computer', 'cmp_9', '--session', 'ses_9'], { encoding: 'utf8' }).trim();
    const result = run('token', 'inspect', '-c', file, token);
    assert.match(result.stdout, /"cid":\s?"cmp_9"/);
    assert.match(result.stdout, /verdict ok/);
    const wrong = run('token', 'inspect', '-c', file, `${token}x`);
    assert.equal(wrong.status, 1);
    assert.match(wrong.stdout, /verdict token_/);
});
