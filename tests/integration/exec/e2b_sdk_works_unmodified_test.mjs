// The unmodified e2b SDK, pointed at the gateway: commands, background commands, stdin, kill, list, connect, PTY.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Sandbox } from 'e2b';
import { Rig, until } from '../../support/harness.mjs';

const rig = new Rig();
// The SDK starts login shells: a home without a profile makes them the same on every machine.
const envs = { HOME: rig.dir };
let gateway, sandbox;

before(async () => {
    const agent = await rig.startAgent();
    gateway = await rig.startGateway({ routes: rig.routesFor(agent) });
    sandbox = new Sandbox({ sandboxId: 'cmp_1', envdVersion: '0.5.7', envdAccessToken: rig.token(), sandboxUrl: gateway.url, apiKey: 'e2b_' + '0'.repeat(40) });
});
after(() => rig.stop());

test('commands.run gives output and exit code', async () => {
    const result = await sandbox.commands.run('echo "hello $NAME"; echo oops >&2', { envs: { ...envs, NAME: 'e2b' }, cwd: '/tmp' });
    assert.equal(result.stdout, 'hello e2b\n');
    assert.equal(result.stderr, 'oops\n');
    assert.equal(result.exitCode, 0);
});

test('a failing command rejects with its exit code', async () => {
    await assert.rejects(sandbox.commands.run('exit 5', { envs }), (error) => error.exitCode === 5);
});

test('output is streamed to onStdout while the command runs', async () => {
    const at = [];
    await sandbox.commands.run('for i in 1 2 3; do echo $i; sleep 0.3; done', { envs, onStdout: () => at.push(Date.now()) });
    assert.ok(at.length >= 3 && at.at(-1) - at[0] > 400, JSON.stringify(at));
});

test('a background command takes stdin, is listed, connected to and killed', async () => {
    let out = '';
    const handle = await sandbox.commands.run('cat', { envs, background: true, stdin: true, onStdout: (text) => { out += text; } });
    await sandbox.commands.sendStdin(handle.pid, 'typed\n');
    await until(() => out === 'typed\n', `echo, got ${out}`);
    const list = await sandbox.commands.list();
    assert.ok(list.some((process) => process.pid === handle.pid));
    let second = '';
    const attached = await sandbox.commands.connect(handle.pid, { onStdout: (text) => { second += text; } });
    await sandbox.commands.sendStdin(handle.pid, 'both\n');
    await until(() => second === 'both\n', `second reader, got ${second}`);
    assert.equal(await sandbox.commands.kill(handle.pid), true);
    await assert.rejects(handle.wait());
    await assert.rejects(attached.wait());
    assert.equal(await sandbox.commands.kill(handle.pid), false);
});

test('closeStdin lets a filter finish', async () => {
    const handle = await sandbox.commands.run('wc -c', { envs, background: true, stdin: true });
    await sandbox.commands.sendStdin(handle.pid, 'x'.repeat(1000));
    await sandbox.commands.closeStdin(handle.pid);
    const result = await handle.wait();
    assert.equal(result.stdout.trim(), '1000');
});

test('a PTY echoes, resizes and ends', async () => {
    let seen = '';
    const handle = await sandbox.pty.create({ envs, cols: 80, rows: 24, onData: (data) => { seen += Buffer.from(data).toString(); } });
    await sandbox.pty.sendInput(handle.pid, Buffer.from('stty size\n'));
    await until(() => seen.includes('24 80'), `size, got ${seen}`);
    await sandbox.pty.resize(handle.pid, { cols: 100, rows: 30 });
    await sandbox.pty.sendInput(handle.pid, Buffer.from('stty size\n'));
    await until(() => seen.includes('30 100'), `new size, got ${seen}`);
    await sandbox.pty.sendInput(handle.pid, Buffer.from('exit 0\n'));
    const result = await handle.wait();
    assert.equal(result.exitCode, 0);
});

test('a command that runs into its timeout is told as such', async () => {
    await assert.rejects(sandbox.commands.run('sleep 20', { envs, timeoutMs: 700 }), (error) => /timeout|deadline/i.test(`${error.name} ${error.message}`));
});

test('isRunning is true for a running computer', async () => {
    assert.equal(await sandbox.isRunning(), true);
});
