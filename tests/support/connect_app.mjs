// tests/support/connect_app.mjs — a Connect server of @connectrpc/connect-node over h2c: `node connect_app.mjs NAME PORT`. Speaks
// Connect, gRPC and gRPC-Web. Prints `listening PORT`.
import http2 from 'node:http2';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { fileURLToPath } from 'node:url';
import { loadService } from './proto.mjs';

const name = process.argv[2];
const Echo = loadService(fileURLToPath(new URL('./echo.proto', import.meta.url)), 'echo.Echo');
const adapter = connectNodeAdapter({
    routes: (router) => router.service(Echo, {
        once: (words) => words,
        async* down(words) { for (let i = 0; i < words.count; i++) yield { text: `${words.text} ${i}`, count: i }; },
        async up(stream) {
            let count = 0;
            let bytes = 0;
            for await (const words of stream) { count++; bytes += words.data.length; }
            return { text: String(bytes), count };
        },
        async* both(stream, context) {
            context.responseTrailer.set('x-server', name);
            for await (const words of stream) yield words;
        },
        fail() { throw new Error('not today'); },
    }),
});
const server = http2.createServer(adapter);
server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
