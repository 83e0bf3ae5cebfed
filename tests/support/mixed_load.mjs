// tests/support/mixed_load.mjs — users of every kind at once, each of whom notices whatever goes wrong: unary calls and streams of the exec
// host in Connect, gRPC and the plain form, HTTP/1.1 on new and on kept connections, and gRPC bidi, SSE and WebSocket through port hosts.
import http from 'node:http';
import WebSocket from 'ws';
import { sleep, toLoopback } from './harness.mjs';
import { processClient, collect } from './process_client.mjs';
import { grpcEcho } from './echo_client.mjs';

const STREAM_LINES = 12;
const script = `i=0; while [ $i -lt ${STREAM_LINES} ]; do i=$((i+1)); echo $i; sleep 0.1; done`;

function post(url, agent, path, token, body, accept = '*/*') {
    return new Promise((done, fail) => {
        const request = http.request(url + path, { method: 'POST', agent, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept } });
        request.on('error', (error) => fail(Object.assign(error, { wasIdle: request.reusedSocket })));
        request.on('response', (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (part) => { text += part; });
            response.on('aborted', () => fail(new Error(`cut after ${text.length} bytes`)));
            response.on('end', () => done({ status: response.statusCode, text }));
        });
        request.end(body);
    });
}

export const MIXED_HOSTS = { app: 'app--box.computer.test', grpc: 'grpc--box.computer.test' };

/** The apps that the load wants, in cmp_1, with the records of their hosts in Redis: { app, grpc }. */
export async function startMixedApps(rig, redis) {
    const app = await rig.startApp('app');
    const grpc = await rig.startApp('grpc', { file: 'grpc_app.mjs' });
    const record = ({ port }, ...more) => ['computer', 'cmp_1', 'port', port, 'visibility', 'public', ...more];
    redis.cli('HSET', `host:{${MIXED_HOSTS.app}}`, ...record(app));
    redis.cli('HSET', `host:{${MIXED_HOSTS.grpc}}`, ...record(grpc, 'protocol', 'h2c'));
    return { app, grpc };
}

function expect(condition, words) { if (!condition) throw new Error(words); }

/** `url`: of the exec host; `ports`: { port, app, grpc } (hosts) or null. `.stop()` waits for what is open and returns the figures. */
export function startLoad({ url, token, ports }) {
    const failures = [];
    const done = {};
    const keep = new http.Agent({ keepAlive: true, maxSockets: 2 });
    const clients = ['connect', 'grpc'].map((protocol) => processClient({ url, token, protocol }));
    let isRunning = true;

    const lines = Array.from({ length: STREAM_LINES }, (_, i) => `${i + 1}\n`).join('');
    const start = { command: ['sh', '-c', script] };
    const kinds = {
        'connect unary': () => clients[0].list({}),
        'grpc unary': () => clients[1].list({}),
        'connect stream': async () => {
            const result = await collect(clients[0].start({ process: { cmd: 'sh', args: ['-c', script] } }));
            expect(result.text === lines && result.end.exited, `stream: ${result.text}`);
        },
        'grpc stream': async () => {
            const result = await collect(clients[1].start({ process: { cmd: 'sh', args: ['-c', script] } }));
            expect(result.text === lines && result.end.exited, `stream: ${result.text}`);
        },
        'ndjson stream': async () => {
            const { status, text } = await post(url, false, '/process.Process/Start', token, JSON.stringify(start), 'application/x-ndjson');
            expect(status === 200 && /"exit|"end"/.test(text.trim().split('\n').at(-1)), `ndjson ${status}: ${text.slice(-300)}`);
        },
        'sse stream': async () => {
            const { status, text } = await post(url, false, '/process.Process/Start', token, JSON.stringify(start), 'text/event-stream');
            expect(status === 200 && /"exit|"end"|event: end/.test(text.slice(-400)), `sse ${status}: ${text.slice(-300)}`);
        },
        'http/1.1 new': async () => {
            const { status } = await post(url, false, '/process.Process/List', token, '{}');
            expect(status === 200, `list ${status}`);
        },
        'http/1.1 kept': async () => {
            const { status } = await post(url, keep, '/process.Process/List', token, '{}');
            expect(status === 200, `list ${status}`);
        },
    };
    if (ports) {
        const echo = grpcEcho({ host: ports.grpc, port: ports.port });
        kinds['grpc bidi'] = () => new Promise((resolve, fail) => {
            const call = echo.both();
            let got = 0;
            call.on('data', () => { got++; });
            call.on('error', () => {});
            call.on('status', (status) => (status.code === 0 && got === 10 ? resolve() : fail(new Error(`grpc bidi ${status.code} ${status.details} after ${got}`))));
            (async () => { for (let i = 0; i < 10; i++) { call.write({ text: 'x', count: i }); await sleep(100); } call.end(); })();
        });
        kinds['port sse'] = () => new Promise((resolve, fail) => {
            http.get(`http://${ports.app}:${ports.port}/events?count=10&gap=100`, { lookup: toLoopback, agent: false }, (response) => {
                let count = 0, text = ''; // an event may come in two parts
                response.setEncoding('utf8').on('data', (part) => { text += part; count = text.split('id: ').length - 1; });
                response.on('aborted', () => fail(new Error(`port sse cut after ${count}`)));
                response.on('end', () => (count === 10 ? resolve() : fail(new Error(`port sse ended after ${count}`))));
            }).on('error', fail);
        });
        kinds.websocket = () => new Promise((resolve, fail) => {
            const socket = new WebSocket(`ws://${ports.app}:${ports.port}/ws`, { lookup: toLoopback });
            let got = 0;
            socket.on('error', fail);
            socket.on('open', () => socket.send('0'));
            socket.on('message', async () => { if (++got === 10) socket.close(1000); else { await sleep(100); socket.send(String(got)); } });
            socket.on('close', (code) => (code === 1000 && got === 10 ? resolve() : fail(new Error(`websocket closed with ${code} after ${got}`))));
        });
    }

    async function loop(name, run) {
        done[name] = 0;
        while (isRunning) {
            try {
                await run();
                done[name]++;
            } catch (error) {
                if (error.wasIdle && error.code === 'ECONNRESET') { // the race of HTTP/1 keep-alive, when this client stood still for longer than
                    done.raced = (done.raced ?? 0) + 1; // the last call of a draining conn (H1_LAST_CALL_MS): no answer was begun
                    continue;
                }
                if (/REFUSED_STREAM/.test(error.message)) { // Node itself, which met our GOAWAY before its request had left: never sent
                    done.unsent = (done.unsent ?? 0) + 1;
                    continue;
                }
                failures.push(`${new Date().toISOString()} ${name}: ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`);
            }
            await sleep(name.includes('unary') || name.startsWith('http') ? 10 : 0);
        }
    }
    const loops = Object.entries(kinds).map(([name, run]) => loop(name, run));
    return {
        failures,
        done,
        async stop() {
            isRunning = false;
            await Promise.all(loops);
            keep.destroy();
            return { done, failures };
        },
    };
}
