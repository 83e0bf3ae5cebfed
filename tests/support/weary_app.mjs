// tests/support/weary_app.mjs — an h2c app as Node makes it: what was buffered for a stream that was reset counts for ever, and above 10 MB
// every new stream of that connection is refused with ENHANCE_YOUR_CALM. `GET /big` has 4 MB, all else says which connection it came on.
import http2 from 'node:http2';

let connections = 0;
const server = http2.createServer((request, response) => {
    response.on('error', () => {});
    request.on('error', () => {});
    request.resume();
    request.on('end', () => response.end(request.url === '/big' ? Buffer.alloc(4_000_000, 'x') : `connection ${request.stream.session.number}`));
});
server.on('session', (session) => {
    session.number = ++connections;
    session.on('error', () => {});
});
process.on('SIGTERM', () => process.exit(0));
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
