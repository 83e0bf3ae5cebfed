// tests/support/farm.mjs — many computers in one process, each of which says who it is. `node farm.mjs NAME 0 COMPUTERS REAL` prints
// `listening 0` and a line `farm JSON`: [{ id, lives: [{ agent }], ports: [{ port, protocol }] }].
//
// A computer has two *lives* (it may boot anew elsewhere), each with an address of its own in 127/8, so that all computers use the same
// port numbers, as real ones do. Its agent is a CONNECT tunnel over h2c written here, apart from ours. The last REAL computers
// have no agent here (the test starts real ones): their apps are on 127.0.0.1, on ports of their own. `AGENT` in their list is the test's.
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { WebSocketServer } from 'ws';

const [, , , , computers, real] = process.argv.map(Number);
const AGENT_PORT = 49983;
const PORTS = [{ port: 3000, protocol: 'http1' }, { port: 3001, protocol: 'http1' }, { port: 3002, protocol: 'http1' }, { port: 3003, protocol: 'h2c' }];

const listen = (server, port, host) => new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(port, host, () => done(server.address().port));
});

/** Every answer has who answered, the request's nonce, and what came of its body. */
async function answer(id, request, response) {
    const query = new URL(request.url, 'http://app').searchParams;
    const nonce = request.headers['x-nonce'] ?? query.get('nonce');
    response.on('error', () => {});
    request.on('error', () => {});
    let bytes = 0;
    let sum = 0;
    try {
        if (!query.has('early'))
            for await (const part of request) {
                bytes += part.length;
                for (let i = 0; i < part.length; i += 997) sum = (sum + part[i]) & 0xffff;
            }
        const told = JSON.stringify({ id, nonce, bytes, path: request.url, computer: request.headers['x-computer-id'] });
        const headers = { 'x-id': id, 'x-nonce': nonce, 'content-type': query.has('sse') ? 'text/event-stream' : 'application/json' };
        if (query.has('close') && request.httpVersionMajor === 1) headers.connection = 'close';
        response.writeHead(200, headers);
        if (query.has('sse')) {
            for (let i = 0; i < 5 && !response.destroyed; i++) {
                response.write(`data: ${told}\n\n`);
                await new Promise((done) => setTimeout(done, 15));
            }
            response.end();
        } else if (request.method === 'HEAD') {
            response.end();
        } else {
            response.write(told);
            response.end(`\n${nonce}`.repeat(Number(query.get('pad') ?? 0)));
        }
    } catch {
        response.destroy?.();
    }
}

function appServer(id, protocol) {
    if (protocol === 'h2c') {
        // Without a limit of its own: Node counts what was buffered for streams that were reset, for ever (weary_app_test.mjs).
        const server = http2.createServer({ maxSessionMemory: 10000 }, (request, response) => { answer(id, request, response); });
        server.on('sessionError', () => {});
        return server;
    }
    const server = http.createServer({ keepAliveTimeout: 30000 }, (request, response) => { answer(id, request, response); });
    const sockets = new WebSocketServer({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
        socket.on('error', () => {});
        const nonce = request.headers['x-nonce'];
        sockets.handleUpgrade(request, socket, head, (ws) => {
            ws.on('error', () => {});
            ws.on('message', (words) => ws.send(JSON.stringify({ id, nonce, words: String(words) })));
        });
    });
    return server;
}

/** An agent that opens tunnels into its own computer alone. */
function agentServer(address) {
    const server = http2.createServer({ settings: { maxConcurrentStreams: 1000 } });
    server.on('sessionError', () => {});
    server.on('stream', (stream, headers) => {
        stream.on('error', () => {});
        const target = /^127\.0\.0\.1:(\d+)$/.exec(headers[':authority'] ?? '');
        if (headers[':method'] !== 'CONNECT' || !target) return stream.respond({ ':status': 400 }, { endStream: true });
        const socket = net.connect({ port: Number(target[1]), host: address, allowHalfOpen: true, noDelay: true });
        socket.on('connect', () => { stream.respond({ ':status': 200 }); stream.pipe(socket).pipe(stream); });
        socket.on('error', () => { if (stream.headersSent) stream.close(8); else if (!stream.destroyed) stream.respond({ ':status': 502 }, { endStream: true }); });
        stream.on('close', () => socket.destroy());
        return undefined;
    });
    return server;
}

/** A part of 127/8 that nobody uses: 127.N.x.y. */
async function freeNet() {
    for (let tries = 0; tries < 100; tries++) {
        const number = 2 + Math.floor(Math.random() * 250);
        const probe = net.createServer();
        const taken = await listen(probe, AGENT_PORT, `127.${number}.0.1`).then(() => false, () => true);
        if (!taken) return { number, probe };
    }
    throw new Error('no free part of 127/8');
}

const { number } = await freeNet(); // the probe's listener stays: it is the claim
const farm = [];
for (let c = 0; c < computers; c++) {
    const id = `cmp_${c}`;
    if (c >= computers - real) {
        const ports = [];
        for (const { protocol } of PORTS) {
            const server = appServer(`${id}/real/${ports.length}`, protocol);
            ports.push({ port: await listen(server, 0, '127.0.0.1'), protocol });
        }
        farm.push({ id, ports, names: ports.map((_, i) => [`${id}/real/${i}`]), lives: [] });
        continue;
    }
    const lives = [];
    for (const life of [1, 2]) {
        const address = `127.${number}.${life}.${c + 1}`;
        await listen(agentServer(address), AGENT_PORT, address);
        for (const [i, { port, protocol }] of PORTS.entries()) await listen(appServer(`${id}/${life}/${i}`, protocol), port, address);
        lives.push({ agent: `${address}:${AGENT_PORT}` });
    }
    farm.push({ id, ports: PORTS, names: PORTS.map((_, i) => [`${id}/1/${i}`, `${id}/2/${i}`]), lives });
}
process.on('SIGTERM', () => process.exit(0));
console.log(`farm ${JSON.stringify(farm)}`);
console.log('listening 0');
