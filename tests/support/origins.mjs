// tests/support/origins.mjs — HTTP/1.1 origin servers with parsers that have nothing in common, each of which tells what it made of a request.
import http from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort, startPatience, until } from './harness.mjs';
import { meaningOf, takeResponses } from './h1_messages.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const PYTHON = '/usr/bin/python3'; // Debian's, which has Debian's packages
const PYTHON_KINDS = ['gunicorn', 'waitress', 'cheroot', 'tornado', 'aiohttp', 'h11'];
const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: sentinel.test\r\nConnection: close\r\n\r\n';

const pairs = (flat) => flat.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), flat[i + 1]]] : []));

async function startNode() {
    const server = http.createServer({ keepAliveTimeout: 30000 }, async (request, response) => {
        const parts = [];
        for await (const part of request) parts.push(part);
        const fields = pairs(request.rawHeaders);
        const document = [request.method, request.url, request.headers.host, Buffer.concat(parts).toString('base64'), fields];
        response.writeHead(200, { 'Content-Length': 0, 'X-Seen': Buffer.from(JSON.stringify(document)).toString('base64') }).end();
    });
    server.on('request', (request) => request.on('error', () => {}));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
}

const nginxConfig = (dir, port, app) => `
${process.getuid() === 0 ? 'user root;' : ''} daemon off; pid ${dir}/nginx.pid; error_log ${dir}/error.log; worker_processes 1;
events { worker_connections 512; }
http {
    access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
    ignore_invalid_headers off; keepalive_timeout 30s; large_client_header_buffers 4 64k; client_max_body_size 0;
    proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 64k;
    upstream app { server 127.0.0.1:${app}; keepalive 16; }
    server {
        listen 127.0.0.1:${port};
        location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; }
    }
}`;

/** nginx before the app of Node's: it parses and writes anew what that one tells. */
async function startNginx(rig, app) {
    const dir = rig.path('origin-nginx');
    const port = await freePort();
    mkdirSync(dir);
    rig.start('origin-nginx', 'nginx', ['-p', dir, '-e', `${dir}/error.log`, '-c', rig.write('origin-nginx.conf', nginxConfig(dir, port, app))], { cwd: dir });
    await until(() => fetch(`http://127.0.0.1:${port}/`).then((r) => r.ok, () => false), 'nginx does not answer');
    return port;
}

async function startPython(rig, kind) {
    const child = rig.start(`origin-${kind}`, PYTHON, [join(here, 'echo_origin.py'), kind]);
    return Number((await child.line(/listening (\d+)/, 60000))[1]);
}

/** Starts them all; `rig.stop()` ends the programs, `stop()` the one that is in here. Resolves with { all: [{ name, port }], stop }. */
export async function startOrigins(rig) {
    const node = await startNode();
    const { port } = node.address();
    const ports = await Promise.all([port, startNginx(rig, port), ...PYTHON_KINDS.map((kind) => startPython(rig, kind))]);
    return {
        all: ['node', 'nginx', ...PYTHON_KINDS].map((name, i) => ({ name, port: ports[i] })),
        stop() { node.closeAllConnections(); node.close(); },
    };
}

function meaningSeen(response) {
    const seen = response.fields.get('x-seen');
    if (seen === undefined) return null;
    const [method, target, host, body, fields] = JSON.parse(Buffer.from(seen, 'base64').toString());
    return meaningOf(method, target, host, Buffer.from(body, 'base64'), fields);
}

/**
 * Sends one message and, once it is answered, the sentinel. Resolves with { status, meaning, after }: `after` is "sentinel" when exactly one more
 * answer came and it was that one's; else what came instead.
 */
export function askOrigin(origin, text, ms) {
    return new Promise((done) => {
        const socket = connect(origin.port, '127.0.0.1');
        let got = '';
        let asked = false;
        let how = 'closed';
        const cancel = startPatience(ms, () => { how = 'silent'; socket.destroy(); });
        socket.on('connect', () => socket.write(Buffer.from(text, 'latin1')));
        socket.on('data', (chunk) => {
            got += chunk.toString('latin1');
            if (asked || takeResponses(got).length === 0) return;
            asked = true;
            socket.write(SENTINEL);
        });
        socket.on('error', () => {});
        socket.on('close', () => {
            cancel();
            const [first, ...rest] = takeResponses(got);
            const last = rest.length === 1 && meaningSeen(rest[0]);
            const isSentinel = last && last.method === 'GET' && last.target === '/sentinel' && last.host === 'sentinel.test' && last.length === 0;
            done({
                status: first?.status ?? 0,
                meaning: first ? meaningSeen(first) : null,
                after: isSentinel ? 'sentinel' : `${how} ${rest.map((r) => r.status).join(' ')}`,
            });
        });
    });
}
