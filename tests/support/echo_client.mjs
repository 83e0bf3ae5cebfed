// tests/support/echo_client.mjs — clients of echo.proto that reach a port host of the gateway on this machine by its real name.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { toLoopback } from './harness.mjs';
import { loadService } from './proto.mjs';

const proto = fileURLToPath(new URL('./echo.proto', import.meta.url));
const { echo } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true, longs: Number }));

/** @grpc/grpc-js: clear with prior knowledge, or TLS when `ca` is given. */
export function grpcEcho({ host, port, ca }) {
    const credentials = ca ? grpc.credentials.createSsl(ca) : grpc.credentials.createInsecure();
    return new echo.Echo(`127.0.0.1:${port}`, credentials, {
        'grpc.default_authority': `${host}:${port}`, 'grpc.ssl_target_name_override': host,
        'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1, 'grpc.use_local_subchannel_pool': 1,
    });
}

/** Ends a call of grpc-js: { messages, metadata, status: { code, details, metadata } }. */
export function grpcEnd(call) {
    return new Promise((done) => {
        const result = { messages: [] };
        call.on('metadata', (metadata) => { result.metadata = metadata; });
        call.on('data', (message) => result.messages.push(message));
        call.on('error', () => {});
        call.on('status', (status) => done({ ...result, status }));
    });
}

/** Starts a call with one answer: its result as of grpcEnd(). */
export function grpcOnce(begin) {
    return new Promise((done) => {
        const result = { messages: [] };
        const call = begin((error, message) => { if (message) result.messages.push(message); });
        call.on('metadata', (metadata) => { result.metadata = metadata; });
        call.on('status', (status) => setImmediate(done, { ...result, status }));
        result.call = call;
    });
}

export const Echo = loadService(proto, 'echo.Echo');

/** connect-node over HTTP/2. */
export function connectEcho({ host, port, ca, protocol = 'connect', headers = {} }) {
    const make = protocol === 'grpc' ? createGrpcTransport : createConnectTransport;
    const withHeaders = (next) => (request) => {
        for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
        return next(request);
    };
    return createClient(Echo, make({
        baseUrl: `${ca ? 'https' : 'http'}://${host}:${port}`, httpVersion: '2', interceptors: [withHeaders], nodeOptions: { lookup: toLoopback, ...(ca ? { ca } : {}) },
    }));
}
