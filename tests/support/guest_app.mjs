// tests/support/guest_app.mjs — an app as people run it inside a computer: pages, fetches, files, streams, events, WebSockets. It is a
// process of its own (`node guest_app.mjs NAME`), prints `listening PORT`, and tells at /_seen what reached it: the tests ask it directly.
import { createServer } from 'node:http';
import { createHash } from 'node:crypto';
import { WebSocketServer } from 'ws';

const name = process.argv[2] ?? 'app';
const seen = [];
const block = Buffer.alloc(64 * 1024);
for (let i = 0; i < block.length; i++) block[i] = (i * 31 + (i >> 8)) & 255;

/** Bytes `start`…`end` of the endless file whose every 64 KiB are `block`. */
function* fileBytes(start, end) {
    while (start < end) {
        const from = start % block.length;
        const count = Math.min(block.length - from, end - start);
        yield block.subarray(from, from + count);
        start += count;
    }
}

function drained(response) {
    return new Promise((done) => {
        const go = () => { response.off('drain', go).off('close', go); done(); };
        response.on('drain', go).on('close', go);
    });
}

async function pour(response, chunks) {
    for (const chunk of chunks) {
        if (response.destroyed) return;
        if (!response.write(chunk)) await drained(response);
    }
    response.end();
}

async function bodyOf(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return Buffer.concat(parts);
}

const page = `<!doctype html><html><head><title>${name}</title><link rel="stylesheet" href="/style.css"></head>
<body><h1 id="title">${name}</h1><p id="script"></p><p id="fetch"></p><p id="post"></p><p id="ws"></p><script type="module" src="/app.js"></script></body></html>`;
const script = `
const show = (id, text) => { document.getElementById(id).textContent = text; };
show('script', 'ran');
fetch('/api/echo?from=fetch').then((r) => r.json()).then((seen) => show('fetch', seen.url));
fetch('/api/echo', { method: 'POST', body: 'posted' }).then((r) => r.json()).then((seen) => show('post', seen.body));
const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
socket.onopen = () => socket.send('hello from the page');
socket.onmessage = (message) => show('ws', message.data);
socket.onerror = () => show('ws', 'error');
`;

const routes = {
    '/': (request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(page),
    '/app.js': (request, response) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(script),
    '/style.css': (request, response) => response.writeHead(200, { 'content-type': 'text/css' }).end('h1 { color: rgb(1, 2, 3); }'),
    '/whoami': (request, response) => response.end(name),
    '/_seen': (request, response) => response.end(JSON.stringify(seen)),
    async '/api/echo'(request, response, url) {
        const body = await bodyOf(request);
        const status = Number(url.searchParams.get('status') ?? 200);
        response.writeHead(status, { 'content-type': 'application/json', 'set-cookie': ['app=1; Path=/', 'other=2'], 'x-app': name });
        response.end(JSON.stringify({ name, method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders, body: body.toString('latin1') }));
    },
    /** What the app itself redeems as a login, to see that its own cookies and codes pass. */
    '/redirect': (request, response) => response.writeHead(302, { location: '/whoami' }).end(),
    async '/events'(request, response, url) {
        response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
        const count = Number(url.searchParams.get('count') ?? 10);
        for (let i = 0; i < count && !response.destroyed; i++) {
            response.write(`id: ${i}\ndata: ${performance.timeOrigin + performance.now()}\n\n`);
            await new Promise((done) => setTimeout(done, Number(url.searchParams.get('gap') ?? 20)));
        }
        response.end();
    },
    '/file'(request, response, url) {
        const bytes = Number(url.searchParams.get('bytes') ?? 1000000);
        const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '');
        let start = 0;
        let end = bytes;
        if (range) {
            start = range[1] === '' ? bytes - Number(range[2]) : Number(range[1]);
            end = range[1] === '' || range[2] === '' ? bytes : Math.min(bytes, Number(range[2]) + 1);
            if (start >= bytes) return response.writeHead(416, { 'content-range': `bytes */${bytes}` }).end();
        }
        response.writeHead(range ? 206 : 200, {
            'content-type': 'application/octet-stream', 'accept-ranges': 'bytes', etag: '"v1"', 'content-length': end - start,
            ...(range ? { 'content-range': `bytes ${start}-${end - 1}/${bytes}` } : {}),
        });
        return request.method === 'HEAD' ? response.end() : pour(response, fileBytes(start, end));
    },
    /** Chunked: no length is told. */
    '/stream': (request, response, url) => pour(response, fileBytes(0, Number(url.searchParams.get('bytes')))),
    async '/sink'(request, response, url) {
        const hash = url.searchParams.has('hash') ? createHash('sha256') : null;
        let bytes = 0;
        for await (const part of request) {
            bytes += part.length;
            hash?.update(part);
        }
        response.end(JSON.stringify({ bytes, sha256: hash?.digest('hex') }));
    },
    async '/trailers'(request, response) {
        const body = await bodyOf(request);
        response.writeHead(200, { trailer: 'x-checksum', 'content-type': 'application/json' });
        response.write(JSON.stringify({ body: body.toString(), trailers: request.trailers }));
        response.addTrailers({ 'x-checksum': 'abc' });
        response.end();
    },
    '/hints'(request, response) {
        response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
        response.end('hinted');
    },
    /** Answers before the body is there. */
    '/duplex'(request, response) {
        response.writeHead(200, { 'content-type': 'application/octet-stream' });
        response.flushHeaders();
        request.pipe(response);
    },
    '/slow': (request, response, url) => setTimeout(() => response.end('slow'), Number(url.searchParams.get('ms') ?? 1000)),
    '/hang'() {},
};

function note(request) {
    if (!request.url.startsWith('/_seen')) seen.push({ method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders });
    if (seen.length > 200) seen.shift();
}

function serve(request, response) {
    note(request);
    response.on('error', () => {});
    request.on('error', () => {});
    const url = new URL(request.url, 'http://app');
    const handler = Object.hasOwn(routes, url.pathname) ? routes[url.pathname] : null;
    if (!handler) return response.writeHead(404, { 'x-app': name }).end(`${name}: no such page`);
    return Promise.resolve(handler(request, response, url)).catch(() => response.destroy());
}

const server = createServer({ keepAliveTimeout: 60000 }, serve);
server.on('checkContinue', (request, response) => {
    if (request.url.startsWith('/refuse')) return response.writeHead(413).end('too large');
    response.writeContinue();
    return serve(request, response);
});

const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 256 * 1024 * 1024,
    perMessageDeflate: { threshold: 1024 },
    handleProtocols: (offered) => ['chat.v2', 'chat'].find((p) => offered.has(p)) ?? false,
});

function refuse(socket, status, body) {
    socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nX-App: ${name}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
}

server.on('upgrade', (request, socket, head) => {
    note(request);
    socket.on('error', () => {});
    const url = new URL(request.url, 'http://app');
    if (url.pathname === '/ws/refuse') return refuse(socket, 403, 'not with me');
    return sockets.handleUpgrade(request, socket, head, (ws) => {
        ws.on('error', () => {});
        if (url.pathname === '/ws/whoami') return ws.send(name);
        if (url.pathname === '/ws/close') return ws.close(Number(url.searchParams.get('code')), 'as told');
        if (url.pathname === '/ws/ping') ws.on('pong', (data) => ws.send(`pong ${data}`)).ping('from the app');
        if (url.pathname === '/ws/give') return ws.send(Buffer.concat([...fileBytes(0, Number(url.searchParams.get('bytes')))]));
        if (url.pathname === '/ws/take') return ws.on('message', (data) => ws.send(JSON.stringify({ bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') })));
        return ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
});

server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
