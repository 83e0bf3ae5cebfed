// @grpc/grpc-js against a real gRPC server in the computer, and connect-node's bidi streams: over clear HTTP/2 and TLS, to a port that is
// declared h2c and to one whose protocol the gateway finds out.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import grpc from '@grpc/grpc-js';
import { Rig, isSanitized, until } from '../../support/harness.mjs';
import { connectEcho, grpcEcho, grpcEnd, grpcOnce } from '../../support/echo_client.mjs';

const rig = new Rig();
const HOSTS = { h2c: 'h2c--rpc.computer.test', auto: 'auto--rpc.computer.test' };
let gateway, server, token;

before(async () => {
    const agent = await rig.startAgent();
    server = await rig.startApp('grpc', { file: 'grpc_app.mjs' });
    const connect = await rig.startApp('connect', { file: 'connect_app.mjs' });
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            [HOSTS.h2c]: { port: server.port, protocol: 'h2c', visibility: 'public' },
            [HOSTS.auto]: { port: server.port, protocol: 'auto', visibility: 'public' },
            'direct--rpc.computer.test': { port: server.port, protocol: 'h2c', visibility: 'public', via: 'direct' },
            'private--rpc.computer.test': { port: server.port, protocol: 'auto', visibility: 'session' },
            'connect--rpc.computer.test': { port: connect.port, protocol: 'h2c', visibility: 'public' },
            'stopped--rpc.computer.test': { port: server.port, protocol: 'h2c', visibility: 'public', computer: 'cmp_stopped' },
            'closed--rpc.computer.test': { port: 1, protocol: 'h2c', visibility: 'public' },
        },
        computers: { cmp_stopped: { state: 'stopped' } },
    });
    token = rig.accessToken();
});
after(() => rig.stop());

const at = (host, tls = false) => ({ host, port: tls ? gateway.tls : gateway.clear, ca: tls ? rig.certificates.pem : undefined });

function sent(text = 'a') {
    const metadata = new grpc.Metadata();
    metadata.set('x-sent', text);
    return metadata;
}

function checkTrailers(status, text = 'a') {
    assert.equal(status.code, grpc.status.OK, status.details);
    assert.equal(status.metadata.get('x-server')[0], 'grpc');
    assert.equal(status.metadata.get('x-sent')[0], text);
    assert.deepEqual(status.metadata.get('x-blob-bin')[0], Buffer.from([0, 1, 2, 255]));
}

for (const protocol of ['h2c', 'auto'])
    for (const tls of [false, true])
        describe(`grpc-js, protocol ${protocol}, ${tls ? 'TLS' : 'clear'}`, () => {
            let client;
            before(() => { client = grpcEcho(at(HOSTS[protocol], tls)); });
            after(() => client.close());

            test('unary', async () => {
                const { messages, status } = await grpcOnce((done) => client.once({ text: 'one', data: Buffer.alloc(100000, 7) }, sent(), done));
                assert.equal(messages[0].text, 'one');
                assert.equal(messages[0].data.length, 100000);
                checkTrailers(status);
            });

            test('server stream', async () => {
                const { messages, status } = await grpcEnd(client.down({ text: 'n', count: 500 }, sent('down')));
                assert.equal(messages.length, 500);
                assert.equal(messages[499].text, 'n 499');
                checkTrailers(status, 'down');
            });

            test('client stream', async () => {
                const { messages, status } = await grpcOnce((done) => {
                    const call = client.up(sent('up'), done);
                    for (let i = 0; i < 200; i++) call.write({ data: Buffer.alloc(5000, i) });
                    call.end();
                    return call;
                });
                assert.deepEqual([messages[0].count, messages[0].text], [200, '1000000']);
                checkTrailers(status, 'up');
            });

            test('bidi stream: each message is answered before the next is sent', async () => {
                const call = client.both(sent('both'));
                const end = grpcEnd(call);
                for (let i = 0; i < 50; i++) {
                    const answer = new Promise((done) => call.once('data', done));
                    call.write({ text: `turn ${i}`, count: i });
                    assert.equal((await answer).text, `turn ${i}`);
                }
                call.end();
                const { messages, status } = await end;
                assert.equal(messages.length, 50);
                checkTrailers(status, 'both');
            });

            test('an error without a message comes as it was sent (trailers-only)', async () => {
                const { status } = await grpcOnce((done) => client.fail({ text: 'x' }, sent(), done));
                assert.equal(status.code, grpc.status.FAILED_PRECONDITION);
                assert.equal(status.details, 'not today: 50% \u00fcber');
                assert.equal(status.metadata.get('x-server')[0], 'grpc');
            });
        });

test('a big bidi stream in both directions at once arrives whole', async () => {
    const total = isSanitized ? 40 : 200;
    const client = grpcEcho(at(HOSTS.h2c, true));
    const call = client.both(sent());
    const end = grpcEnd(call);
    for (let i = 0; i < total; i++)
        if (!call.write({ count: i, data: Buffer.alloc(100000, i) })) await new Promise((done) => call.once('drain', done));
    call.end();
    const { messages, status } = await end;
    checkTrailers(status);
    assert.deepEqual(messages.map((m) => m.count), [...Array(total).keys()]);
    assert.ok(messages.every((m, i) => m.data.length === 100000 && m.data[99999] === (i & 255)));
    client.close();
});

test('via: direct', async () => {
    const client = grpcEcho(at('direct--rpc.computer.test'));
    const { messages, status } = await grpcOnce((done) => client.once({ text: 'direct' }, sent(), done));
    assert.equal(messages[0].text, 'direct');
    checkTrailers(status);
    client.close();
});

test("a cancelled call reaches the server, and the connection's other calls go on", async () => {
    const client = grpcEcho(at(HOSTS.h2c));
    const steady = client.both(sent());
    const steadyEnd = grpcEnd(steady);
    for (let i = 0; i < 20; i++) {
        const doomed = client.both(sent());
        const end = grpcEnd(doomed);
        doomed.write({ text: 'x' });
        await new Promise((done) => doomed.once('data', done));
        doomed.cancel();
        assert.equal((await end).status.code, grpc.status.CANCELLED);
    }
    const answer = new Promise((done) => steady.once('data', done));
    steady.write({ text: 'still here' });
    assert.equal((await answer).text, 'still here');
    steady.end();
    checkTrailers((await steadyEnd).status);
    client.close();
});

test('a deadline passes through', async () => {
    const client = grpcEcho(at(HOSTS.h2c));
    const call = client.both(sent(), { deadline: Date.now() + 300 });
    assert.equal((await grpcEnd(call)).status.code, grpc.status.DEADLINE_EXCEEDED);
    client.close();
});

test('a private port takes the token as metadata; the server does not see it; without it UNAUTHENTICATED', async () => {
    const client = grpcEcho(at('private--rpc.computer.test', true));
    const metadata = sent();
    metadata.set('x-access-token', token);
    metadata.set('authorization', "Basic the-app's-own");
    const { status } = await grpcOnce((done) => client.once({ text: 'x' }, metadata, done));
    checkTrailers(status);
    assert.equal(status.metadata.get('x-saw-authorization')[0], "Basic the-app's-own");
    const bearer = sent();
    bearer.set('authorization', `Bearer ${token}`);
    const second = await grpcOnce((done) => client.once({ text: 'x' }, bearer, done));
    checkTrailers(second.status);
    assert.equal(second.status.metadata.get('x-saw-authorization')[0], '');

    const none = await grpcOnce((done) => client.once({ text: 'x' }, sent(), done));
    assert.equal(none.status.code, grpc.status.UNAUTHENTICATED);
    assert.match(none.status.details, /auth_required/);
    client.close();
});

test('a stopped computer, a closed port and an unknown host are told as gRPC errors', async () => {
    for (const [host, code] of [['stopped--rpc', 'UNAVAILABLE'], ['closed--rpc', 'UNAVAILABLE'], ['nobody--rpc', 'NOT_FOUND']]) {
        const client = grpcEcho(at(`${host}.computer.test`));
        const { status } = await grpcOnce((done) => client.once({ text: 'x' }, sent(), done));
        assert.equal(grpc.status[status.code], code, `${host}: ${status.details}`);
        client.close();
    }
});

for (const protocol of ['connect', 'grpc'])
    for (const tls of [false, true])
        test(`connect-node, ${protocol} over ${tls ? 'TLS' : 'clear'} h2: bidi and the rest`, async () => {
            const client = connectEcho({ ...at('connect--rpc.computer.test', tls), protocol });
            assert.equal((await client.once({ text: 'hello' })).text, 'hello');
            let trailer;
            let turn = 0;
            let arrived = () => {};
            async function* ask() {
                for (let i = 0; i < 30; i++) {
                    const answer = new Promise((done) => { arrived = done; });
                    yield { text: `turn ${i}` };
                    await answer; // full duplex: the next is sent when this one is answered
                }
            }
            for await (const words of client.both(ask(), { onTrailer: (t) => { trailer = t; } })) {
                assert.equal(words.text, `turn ${turn++}`);
                arrived();
            }
            assert.equal(turn, 30);
            assert.equal(trailer.get('x-server'), 'connect');
            const many = [];
            for await (const words of client.down({ text: 'd', count: 100 })) many.push(words.count);
            assert.equal(many.length, 100);
            assert.equal((await client.up((async function* () { for (let i = 0; i < 10; i++) yield { data: new Uint8Array(1000) }; })())).text, '10000');
        });

test('the server ends: its streams end as UNAVAILABLE, not as success', async () => {
    const own = await rig.startApp('grpc', { file: 'grpc_app.mjs' });
    gateway.putRoutes((routes) => { routes.hosts['own--rpc.computer.test'] = { computer: 'cmp_1', port: own.port, protocol: 'h2c', visibility: 'public' }; });
    const client = grpcEcho(at('own--rpc.computer.test'));
    await until(async () => (await grpcOnce((done) => client.once({ text: 'x' }, sent(), done))).status.code === 0, 'the new host does not serve');
    const call = client.both(sent());
    const end = grpcEnd(call);
    call.write({ text: 'x' });
    await new Promise((done) => call.once('data', done));
    own.kill('SIGKILL');
    const { status } = await end;
    assert.ok([grpc.status.UNAVAILABLE, grpc.status.INTERNAL, grpc.status.UNKNOWN].includes(status.code), status.details);
    client.close();
});
