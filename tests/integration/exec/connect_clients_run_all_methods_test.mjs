// Every kind of connect-node client runs all eight methods through gateway and agent.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ConnectError, Code } from '@connectrpc/connect';
import { Rig, sleep, isSanitized, until } from '../../support/harness.mjs';
import { processClient, clientMatrix, collect } from '../../support/process_client.mjs';

const rig = new Rig();
let agent, gateway, certificate, token;

before(async () => {
    certificate = rig.certificate();
    agent = await rig.startAgent();
    gateway = await rig.startGateway({ listeners: [{}, { tls: true }], certificate, routes: rig.routesFor(agent) });
    token = rig.token();
});
after(() => rig.stop());

const clientOf = (kind, more = {}) => processClient({
    url: kind.tls ? `https://localhost:${gateway.ports[1]}` : `http://127.0.0.1:${gateway.ports[0]}`,
    ca: kind.tls ? certificate.pem : undefined, token, ...kind, ...more,
});

const start = (client, cmd, args = [], more = {}, options = {}) =>
    client.start({ process: { cmd, args, envs: more.envs ?? {}, cwd: more.cwd }, tag: more.tag, stdin: more.stdin, pty: more.pty }, options);

const select = (pid) => ({ process: { selector: { case: 'pid', value: pid } } });

for (const kind of clientMatrix()) {
    test(`${kind.name}: start, exit code, env, cwd, stderr`, async () => {
        const client = clientOf(kind);
        const result = await collect(start(client, '/bin/sh', ['-c', 'echo "$X in $PWD"; echo bad >&2; exit 7'], { envs: { X: 'hello' }, cwd: '/tmp' }));
        assert.equal(result.text, 'hello in /tmp\n');
        assert.equal(result.stderr.toString(), 'bad\n');
        assert.equal(result.end.exitCode, 7);
        assert.equal(result.end.exited, true);
        assert.ok(result.pid > 0);
    });

    test(`${kind.name}: PTY with resize, SendInput, attach by tag, signals, List`, async () => {
        const client = clientOf(kind);
        const tag = `t-${kind.name.replaceAll(/[^a-z0-9]/g, '-')}`;
        let seen = '';
        let pid;
        const running = collect(start(client, '/bin/bash', ['--norc', '--noprofile', '-i'],
            { tag, pty: { size: { cols: 80, rows: 24 } }, envs: { PS1: '$ ' } }), (event) => {
            if (event?.case === 'start') pid = event.value.pid;
            if (event?.case === 'data') seen += Buffer.from(event.value.output.value).toString();
        });
        await until(() => pid, 'start event');
        const type = (text) => client.sendInput({ ...select(pid), input: { input: { case: 'pty', value: Buffer.from(text) } } });
        await type('stty size\n');
        await until(() => seen.includes('24 80'), `size in ${seen}`);
        await client.update({ ...select(pid), pty: { size: { cols: 132, rows: 43 } } });
        await type('stty size\n');
        await until(() => seen.includes('43 132'), `new size in ${seen}`);

        const other = clientOf(kind);
        let attached = '';
        const watching = collect(other.connect({ process: { selector: { case: 'tag', value: tag } } }), (event) => {
            if (event?.case === 'data') attached += Buffer.from(event.value.output.value).toString();
            if (event?.case === 'start') attached += '<start>';
        });
        await until(() => attached.includes('<start>'), 'attached');
        const { processes } = await other.list({});
        assert.ok(processes.some((p) => p.pid === pid && p.tag === tag && p.config.cmd === '/bin/bash'));
        await type('echo both-$((40+2))\n');
        await until(() => seen.includes('both-42') && attached.includes('both-42'), 'fan-out');
        await client.sendSignal({ ...select(pid), signal: 9 });
        for (const result of await Promise.all([running, watching])) {
            assert.equal(result.end.exited, false);
            assert.match(result.end.status, /signal: killed/);
        }
        // The end is kept for late comers.
        const late = await collect(other.connect(select(pid)));
        assert.match(late.end.status, /signal: killed/);
    });

    test(`${kind.name}: StreamInput is echoed before the request ends; CloseStdin ends the process`, async () => {
        const client = clientOf(kind);
        let seen = '';
        let pid;
        const running = collect(start(client, 'cat', [], { stdin: true }), (event) => {
            if (event?.case === 'start') pid = event.value.pid;
            if (event?.case === 'data') seen += Buffer.from(event.value.output.value).toString();
        });
        await until(() => pid, 'start event');
        let finish;
        const gate = new Promise((done) => { finish = done; });
        async function* input() {
            yield { event: { case: 'start', value: select(pid) } };
            yield { event: { case: 'data', value: { input: { input: { case: 'stdin', value: Buffer.from('first\n') } } } } };
            await until(() => seen.includes('first'), 'the echo of the first line while the request is open');
            yield { event: { case: 'keepalive', value: {} } };
            yield { event: { case: 'data', value: { input: { input: { case: 'stdin', value: Buffer.from('second\n') } } } } };
            await gate;
        }
        const streaming = client.streamInput(input());
        await until(() => seen === 'first\nsecond\n', 'both lines');
        finish();
        await streaming;
        await client.closeStdin(select(pid));
        const result = await running;
        assert.equal(result.end.exitCode, 0);
    });

    test(`${kind.name}: errors keep their code`, async () => {
        const client = clientOf(kind);
        await assert.rejects(client.sendSignal({ ...select(999999), signal: 15 }), (error) =>
            ConnectError.from(error).code === Code.NotFound);
        await assert.rejects(collect(client.connect(select(999999))), (error) => ConnectError.from(error).code === Code.NotFound);
        const stranger = clientOf(kind, { token: 'nonsense' });
        await assert.rejects(stranger.list({}), (error) => ConnectError.from(error).code === Code.Unauthenticated);
        await assert.rejects(collect(start(stranger, 'true')), (error) => ConnectError.from(error).code === Code.Unauthenticated);
        const none = clientOf(kind, { token: undefined });
        await assert.rejects(collect(start(none, 'true')), (error) => ConnectError.from(error).code === Code.Unauthenticated);
    });

    test(`${kind.name}: a cancelled call leaves the process, a deadline ends it`, async () => {
        const client = clientOf(kind);
        const abort = new AbortController();
        let pid;
        await assert.rejects(collect(start(client, 'sleep', ['30'], {}, { signal: abort.signal }), (event) => {
            if (event?.case === 'start') { pid = event.value.pid; abort.abort(); }
        }), (error) => ConnectError.from(error).code === Code.Canceled);
        const { processes } = await client.list({});
        assert.ok(processes.some((p) => p.pid === pid), 'the process outlives its reader');
        await client.sendSignal({ ...select(pid), signal: 9 });

        const began = Date.now();
        await assert.rejects(collect(start(client, 'sleep', ['30'], {}, { timeoutMs: 700 })), (error) =>
            ConnectError.from(error).code === Code.DeadlineExceeded);
        assert.ok(Date.now() - began < 5000);
    });
}

test('100 MB of output arrive intact', async () => {
    const bytes = isSanitized ? 20_000_000 : 100_000_000;
    const client = clientOf({ tls: false, protocol: 'connect', http: '2', binary: true });
    const hash = createHash('sha256');
    let total = 0;
    let end;
    for await (const message of start(client, '/bin/sh', ['-c', `yes 0123456789abcdef | head -c ${bytes}`])) {
        const event = message.event?.event;
        if (event?.case === 'data') { hash.update(event.value.output.value); total += event.value.output.value.length; }
        if (event?.case === 'end') end = event.value;
    }
    const line = '0123456789abcdef\n';
    const expected = createHash('sha256').update(line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes)).digest('hex');
    assert.equal(total, bytes);
    assert.equal(hash.digest('hex'), expected);
    assert.equal(end.exitCode, 0);
});

test('a cancelled call reaches the agent within 100 ms', async () => {
    // The agent's own stream goes when the call is cancelled: a second subscriber sees the process go on, the first is gone from the
    // gateway's log.
    const client = clientOf({ tls: false, protocol: 'connect', http: '2', binary: true });
    const abort = new AbortController();
    let at;
    await assert.rejects(collect(start(client, 'sleep', ['30'], {}, { signal: abort.signal }), (event) => {
        if (event?.case === 'start') { at = Date.now(); abort.abort(); }
    }));
    await until(() => /"status":499|canceled|client_lost/.test(gateway.accessLog().split('\n').slice(-5).join('\n')), 'log line', 2000);
    assert.ok(Date.now() - at < (isSanitized ? 1000 : 300));
    await sleep(10);
});
