// TLS: stalled handshakes, renegotiation, floods of KeyUpdate, a peer that goes on after close_notify, plain bytes.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import tls from 'node:tls';
import { once } from 'node:events';
import { Admin } from '../support/admin.mjs';
import { rssKiB, sleep, until } from '../support/harness.mjs';
import { AttackRig, within } from './attack_rig.mjs';

const rig = new AttackRig();
const admin = new Admin({ socketPath: rig.path('admin.sock') });

before(() => rig.setUp({ listeners: [{ tls: true }], certificate: rig.certificate(), config: { admin: { address: `unix:${rig.path('admin.sock')}` }, tls: { handshake_timeout: '700ms' }, limits: { h1: { head_timeout: '5s' } } } }));
after(() => rig.stop());

/** `openssl s_client` under our hands: `K` asks for a KeyUpdate, `R` for a renegotiation. */
function client(...args) {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${rig.port}`, '-servername', 'exec.computer.test', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    child.text = '';
    child.stdout.on('data', (b) => { child.text += b; });
    child.stderr.on('data', (b) => { child.text += b; });
    child.stdin.on('error', () => {});
    child.done = new Promise((done) => child.on('exit', done));
    child.isDone = false;
    child.done.then(() => { child.isDone = true; });
    return child;
}

for (const [name, bytes] of Object.entries({
    'says nothing': '',
    'sends half a ClientHello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'sends a record header, then byte after byte': '\x16\x03\x01',
})) {
    test(`a peer that ${name} is gone after handshake_timeout`, async () => {
        const socket = connect(rig.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.resume();
        const closed = once(socket, 'close');
        await once(socket, 'connect');
        const began = Date.now();
        socket.write(bytes, 'latin1');
        const drip = setInterval(() => name.includes('byte after') && socket.write('\x00'), 50);
        await closed;
        clearInterval(drip);
        const ms = Date.now() - began;
        assert.ok((ms > 400 || name.includes('byte after')) && ms < within(3000), `${ms} ms`);
    });
}

test('plain HTTP on a TLS port is closed at once', async () => {
    const socket = connect(rig.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    socket.write('GET / HTTP/1.1\r\nHost: exec.computer.test\r\n\r\n');
    const began = Date.now();
    await once(socket, 'close');
    assert.ok(Date.now() - began < 600);
});

test('a flood of KeyUpdates ends the connection, others go on', async () => {
    await rig.besideBystander(async () => {
        const child = client('-tls1_3', '-alpn', 'http/1.1');
        await until(() => /New, TLSv1.3/.test(child.text), `no handshake\n${child.text}`);
        for (let i = 0; i < 3000 && !child.isDone; i++) {
            child.stdin.write('k\n');
            if (i % 50 === 0) await sleep(1);
        }
        await until(() => child.isDone, '', within(4000)).catch(() => {});
        const ended = child.isDone;
        child.kill();
        assert.ok(ended, 'still open');
    });
    assert.match(rig.gateway.err, /tls: connection cut side=client reason=tls_messages peer=127\.0\.0\.1/);
    assert.equal(await admin.metric('exec_gateway_connections_closed_total', { reason: 'tls_messages' }), 1);
});

test('renegotiation (TLS 1.2) is refused', async () => {
    const child = client('-tls1_2');
    await until(() => /New, TLSv1.2/.test(child.text), `no handshake\n${child.text}`);
    child.stdin.write('R\n');
    await until(() => child.isDone || /no renegotiation/i.test(child.text), '', within(3000)).catch(() => {});
    child.kill();
    assert.match(child.text, /no renegotiation|alert|closed|error|errno/i);
    assert.doesNotMatch(child.text.split('RENEGOTIATING')[1] ?? '', /verify return:1/);
});

for (const version of ['TLSv1', 'TLSv1.1']) {
    test(`${version} is refused`, async () => {
        const socket = tls.connect({ port: rig.port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
        const [error] = await once(socket, 'error').catch((e) => [e]);
        assert.ok(error);
        assert.match(String(error.code ?? error.message), /SSL|ECONNRESET|alert/i);
        socket.destroy();
    });
}

test('200 MB behind a close_notify are nobody\'s: no memory, and the connection ends', async () => {
    const before = rssKiB(rig.gateway.pid);
    const raw = connect(rig.port, '127.0.0.1');
    raw.on('error', () => {});
    await once(raw, 'connect');
    const socket = tls.connect({ socket: raw, rejectUnauthorized: false, servername: 'exec.computer.test', ALPNProtocols: ['http/1.1'] });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    socket.write('GET / HTTP/1.1\r\nHost: exec');
    socket._handle.shutdown ? socket.end() : socket.end();
    await sleep(50);
    const chunk = Buffer.alloc(256 * 1024, 7);
    let sent = 0;
    let closed = false;
    raw.on('close', () => { closed = true; });
    const end = Date.now() + within(8000);
    while (sent < 200e6 && !closed && !raw.destroyed && Date.now() < end) {
        sent += chunk.length;
        if (!raw.write(chunk)) await Promise.race([once(raw, 'drain').catch(() => {}), sleep(200)]);
    }
    const grown = (rssKiB(rig.gateway.pid) - before) / 1024;
    raw.destroy();
    assert.ok(grown < 24, `RSS grew by ${grown} MiB`);
});

test('the service is as it was', async () => {
    const bystander = await rig.startBystander();
    await sleep(200);
    await bystander.stop();
    assert.equal(bystander.failures, 0);
});
