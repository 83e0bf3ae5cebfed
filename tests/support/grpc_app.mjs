// tests/support/grpc_app.mjs — a gRPC server of @grpc/grpc-js (h2c): `node grpc_app.mjs NAME PORT`. Prints `listening PORT`.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';

const name = process.argv[2];
const proto = fileURLToPath(new URL('./echo.proto', import.meta.url));
const { echo } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true, longs: Number }));

/** Trailing metadata of every call: who answered, and what the call sent as `x-sent`. */
function trailers(call) {
    const metadata = new grpc.Metadata();
    metadata.set('x-server', name);
    metadata.set('x-sent', String(call.metadata.get('x-sent')[0] ?? ''));
    metadata.set('x-saw-authorization', String(call.metadata.get('authorization')[0] ?? ''));
    metadata.set('x-blob-bin', Buffer.from([0, 1, 2, 255]));
    return metadata;
}

const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
server.addService(echo.Echo.service, {
    once: (call, done) => done(null, call.request, trailers(call)),
    down(call) {
        call.sendMetadata(new grpc.Metadata());
        for (let i = 0; i < call.request.count; i++) call.write({ text: `${call.request.text} ${i}`, count: i });
        call.end(trailers(call));
    },
    up(call, done) {
        let count = 0;
        let bytes = 0;
        call.on('data', (words) => { count++; bytes += words.data.length; });
        call.on('end', () => done(null, { text: String(bytes), count }, trailers(call)));
    },
    both(call) {
        call.on('data', (words) => call.write(words));
        call.on('end', () => call.end(trailers(call)));
    },
    // Nothing but a status: answered as trailers-only.
    fail: (call, done) => done({ code: grpc.status.FAILED_PRECONDITION, details: 'not today: 50% \u00fcber', metadata: trailers(call) }),
});
server.bindAsync(`127.0.0.1:${process.argv[3] ?? 0}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(`listening ${port}`);
});
process.on('SIGTERM', () => process.exit(0));
