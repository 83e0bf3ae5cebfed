// tests/support/process_client.mjs — the service process.Process for connect-node and grpc-js, from agent/process.proto.
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { root } from './harness.mjs';
import { loadService } from './proto.mjs';

export const Process = loadService(join(root, 'agent/process.proto'), 'process.Process');

const makers = { connect: createConnectTransport, grpc: createGrpcTransport, 'grpc-web': createGrpcWebTransport };

/** A typed client. `protocol`: connect | grpc | grpc-web; `http`: '1.1' | '2'; `ca`: PEM for TLS. */
export function processClient({ url, token, protocol = 'connect', http = '2', binary = true, ca, headers = {} }) {
    const auth = (next) => (request) => {
        if (token) request.header.set('authorization', `Bearer ${token}`);
        for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
        return next(request);
    };
    return createClient(Process, makers[protocol]({
        baseUrl: url, httpVersion: http, useBinaryFormat: binary, interceptors: [auth], nodeOptions: ca ? { ca } : {},
    }));
}

/** Every client kind that exists: 20 with TLS and clear. */
export function* clientMatrix() {
    for (const tls of [false, true])
        for (const protocol of ['connect', 'grpc-web', 'grpc'])
            for (const http of protocol === 'grpc' ? ['2'] : ['1.1', '2'])
                for (const binary of [true, false])
                    yield { tls, protocol, http, binary, name: `${protocol} ${binary ? 'binary' : 'json'} h${http} ${tls ? 'tls' : 'clear'}` };
}

const utf8 = new TextDecoder();

/** Runs a Start stream to its end: { pid, stdout, stderr, pty, end }. `onEvent` sees each event. */
export async function collect(stream, onEvent = () => {}) {
    const result = { stdout: [], stderr: [], pty: [] };
    for await (const message of stream) {
        const event = message.event?.event;
        if (event?.case === 'start') result.pid = event.value.pid;
        if (event?.case === 'data') result[event.value.output.case].push(Buffer.from(event.value.output.value));
        if (event?.case === 'end') result.end = event.value;
        onEvent(event, result);
    }
    for (const name of ['stdout', 'stderr', 'pty']) result[name] = Buffer.concat(result[name]);
    result.text = utf8.decode(result.stdout);
    return result;
}
