// conf/monitoring: the rules are valid and each fires in its test, the runbook has an entry for each, and rules and dashboard ask for
// metrics that the gateway has.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Rig, root, freePort, until } from '../../support/harness.mjs';
import { Admin } from '../../support/admin.mjs';

const rig = new Rig();
const folder = join(root, 'conf/monitoring');
const file = (name) => readFileSync(join(folder, name), 'utf8');
const alerts = [...file('alerts.yml').matchAll(/^\s+- alert: (\w+)$/gm)].map((match) => match[1]);
const SECRET = 'a secret of the test';
let redis, agent, gateway, admin, port;

before(async () => {
    redis = await rig.startRedis();
    agent = await rig.startAgent();
    rig.putRoutes(redis, agent);
    port = await freePort();
    gateway = await rig.startGateway({ redis, certificate: rig.certificate(), config: { admin: { address: `127.0.0.1:${port}`, secret_file: rig.write('admin.secret', SECRET) } } });
    admin = new Admin({ port, secret: SECRET });
});
after(() => rig.stop());

const promtool = (...words) => spawnSync('promtool', words, { cwd: folder, encoding: 'utf8' });

test('the rules are valid, and each alert fires on its trouble alone', () => {
    const check = promtool('check', 'rules', 'alerts.yml');
    assert.equal(check.status, 0, check.stdout + check.stderr);
    const run = promtool('test', 'rules', 'alerts_test.yml');
    assert.equal(run.status, 0, run.stdout + run.stderr);
    for (const name of alerts) {
        assert.ok(file('alerts_test.yml').includes(`${name} fires`), `${name} has a test that makes it fire`);
        assert.ok(file('alerts_test.yml').includes(`${name} is quiet`), `${name} has a test that leaves it quiet`);
    }
});

test('each alert has its entry in the runbook', () => {
    const runbook = readFileSync(join(root, 'docs/operations.md'), 'utf8');
    for (const name of alerts) {
        assert.match(runbook, new RegExp(`^### ${name}\\n\\S`, 'm'), name);
        assert.ok(file('alerts.yml').includes(`docs/operations.md#${name.toLowerCase()}"`), name);
    }
});

test('each reason of the gateway has its row among the errors of the runbook', () => {
    const rows = readFileSync(join(root, 'docs/operations.md'), 'utf8').split('## Errors')[1].split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split('|')[1]).join();
    const reasons = [...readFileSync(join(root, 'gateway/base/status.h'), 'utf8').matchAll(/^ +X\((\w+), \d/gm)].map((match) => match[1].toLowerCase());
    assert.ok(reasons.length > 40);
    for (const reason of reasons.filter((name) => name !== 'ok' && name !== 'again')) assert.ok(rows.includes(`\`${reason}\``), reason);
});

const sources = () => readdirSync(join(root, 'gateway'), { recursive: true }).filter((name) => name.endsWith('.c')).map((name) => readFileSync(join(root, 'gateway', name), 'utf8'));

test('each line of trouble that the log may have is explained to whoever reads it', () => {
    const runbook = readFileSync(join(root, 'docs/operations.md'), 'utf8');
    let lines = 0;
    for (const source of sources())
        for (const [, literals] of source.matchAll(/log_(?:warn|error)\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)/g)) {
            const text = [...literals.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]).join('');
            lines++;
            for (const words of text.replaceAll('%%', '% ').split(/\w+=\S*|%\S+|[;:,] /).map((part) => part.trim()).filter((part) => part.length > 8))
                assert.ok(runbook.includes(words), `"${words}" of "${text}"`);
        }
    assert.ok(lines > 30, `${lines}`);
});

test('each reason for which a connection or stream is cut has its row in docs/security.md', () => {
    const rows = readFileSync(join(root, 'docs/security.md'), 'utf8').split('\n').filter((line) => line.startsWith('|')).join('\n');
    const reasons = new Set(sources().flatMap((source) => [...source.matchAll(/\b(?:cut_log(?:_stream)?|cut|calm|end_for_flood|h2_session_terminate)\((?:[^;"]|"client"|"agent")*?"([a-z_]+)"|verdict_reason = "([a-z_]+)"|reason=([a-z_]+) peer/g)].map((match) => match[1] ?? match[2] ?? match[3])).filter((reason) => !['client', 'agent'].includes(reason)));
    assert.ok(reasons.size >= 18, [...reasons].join());
    for (const reason of reasons) assert.ok(rows.includes(`\`${reason}\``) || rows.includes(`reason=${reason}`), reason);
});

test('each request that the admin listener answers is in docs/admin-api.md', () => {
    const docs = readFileSync(join(root, 'docs/admin-api.md'), 'utf8');
    const paths = [...readFileSync(join(root, 'gateway/admin/admin_api.c'), 'utf8').matchAll(/PATH\("\w*", "([^"]+)"/g)].map((match) => match[1]);
    assert.ok(paths.length > 10);
    for (const path of paths) assert.ok(docs.includes(`${path}`), path);
});

test('rules and dashboard ask for metrics that there are', async () => {
    const { text } = await admin.call('GET', '/metrics');
    const families = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map((match) => match[1]));
    const dashboard = JSON.parse(file('grafana-dashboard.json'));
    const asked = `${file('alerts.yml')}\n${JSON.stringify(dashboard)}`;
    for (const [name] of asked.matchAll(/exec_gateway_[a-z_]+/g))
        assert.ok(families.has(name) || families.has(name.replace(/_(bucket|sum|count)$/, '')), name);
    assert.ok(dashboard.panels.filter((panel) => panel.type !== 'row').every((panel) => panel.targets.length > 0));
});

test('Prometheus itself scrapes it with the secret, and evaluates the rules', async () => {
    const web = await freePort();
    const config = rig.path('prometheus.yml');
    writeFileSync(config, file('prometheus.yml').replace('/etc/exec-gateway/admin.secret', rig.path('admin.secret')).replaceAll('127.0.0.1:9145', `127.0.0.1:${port}`)
        .replaceAll('15s', '1s').replace('alerts.yml', join(folder, 'alerts.yml')));
    const check = promtool('check', 'config', config);
    assert.equal(check.status, 0, check.stdout + check.stderr);
    const prometheus = rig.start('prometheus', 'prometheus', [`--config.file=${config}`, `--storage.tsdb.path=${rig.path('tsdb')}`, `--web.listen-address=127.0.0.1:${web}`]);
    const query = async (text) => {
        const response = await fetch(`http://127.0.0.1:${web}/api/v1/query?query=${encodeURIComponent(text)}`).catch(() => null);
        return response?.ok ? (await response.json()).data?.result ?? [] : [];
    };
    await until(async () => (await query('up{job="exec-gateway"} == 1')).length === 1, 'Prometheus scrapes', 60000);
    await until(async () => (await query('exec_gateway_redis_links_up == exec_gateway_workers')).length === 1, 'the metrics are there', 30000);
    const rules = (await (await fetch(`http://127.0.0.1:${web}/api/v1/rules`)).json()).data.groups[0].rules;
    assert.equal(rules.length, alerts.length);
    await prometheus.stop();
});
