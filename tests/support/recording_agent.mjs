// tests/support/recording_agent.mjs — a guest agent that keeps every byte it is sent: the fields of each request over h2c or HTTP/1.1, its body,
// and what comes through its port tunnels, which lead to apps on this machine. Exec calls get a small good answer; a `Connect` stays open.
import http from 'node:http';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { once } from 'node:events';

const END_STREAM = Buffer.concat([Buffer.from([2, 0, 0, 0, 2]), Buffer.from('{}')]);

function tunnel(stream, authority, note) {
    const socket = connect(Number(authority.split(':')[1]), '127.0.0.1');
    socket.on('connect', () => stream.respond({ ':status': 200 }));
    stream.on('data', note);
    stream.pipe(socket).pipe(stream);
    for (const end of [stream, socket]) end.on('error', () => { stream.destroy(); socket.destroy(); });
}

function answerTo(path, type) {
    if (/connect\+/.test(type)) return [{ 'content-type': type }, END_STREAM];
    if (/grpc/.test(type)) return [{ 'content-type': type, 'grpc-status': '0' }, null];
    return [{ 'content-type': 'application/json' }, Buffer.from('{}')];
}

/** Resolves with { h2, h1: addresses, heard(): all that it was sent, as text, stop() }. */
export async function recordingAgent() {
    const parts = [];
    const note = (bytes) => parts.push(Buffer.from(bytes));
    const noteHead = (fields) => note(`${JSON.stringify(fields)}\n`);
    const sockets = new Set();

    const h2 = http2.createServer();
    h2.on('stream', (stream, headers) => {
        noteHead(headers);
        stream.on('error', () => {});
        if (headers[':method'] === 'CONNECT') return tunnel(stream, headers[':authority'], note);
        const [fields, body] = answerTo(headers[':path'], headers['content-type'] ?? '');
        stream.on('data', note);
        stream.respond({ ':status': 200, ...fields }, { endStream: body === null });
        if (body !== null && !/Process\/Connect/.test(headers[':path'])) stream.end(body);
    });
    h2.on('session', (session) => session.on('error', () => {}));

    const h1 = http.createServer((request, response) => {
        noteHead([request.method, request.url, ...request.rawHeaders]);
        request.on('data', note);
        const [fields, body] = answerTo(request.url, request.headers['content-type'] ?? '');
        response.writeHead(200, fields).end(body ?? '');
    });

    for (const server of [h2, h1]) {
        server.on('connection', (socket) => { sockets.add(socket); socket.on('close', () => sockets.delete(socket)); });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
    }
    return {
        h2: `127.0.0.1:${h2.address().port}`,
        h1: `127.0.0.1:${h1.address().port}`,
        heard: () => Buffer.concat(parts).toString('latin1'),
        stop() { for (const server of [h2, h1]) server.close(); for (const socket of sockets) socket.destroy(); },
    };
}
