// tests/support/admin.mjs — talks to the admin listener, on a Unix socket or a port, and remembers all that it said.
import { request } from 'node:http';

export class Admin {
    /** `where`: { socketPath } or { port, secret } */
    constructor(where) {
        this.where = where;
        this.heard = '';
    }

    call(method, path, { body, headers = {}, secret = this.where.secret } = {}) {
        const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
        return new Promise((done, fail) => {
            const req = request({
                ...(this.where.socketPath ? { socketPath: this.where.socketPath } : { host: '127.0.0.1', port: this.where.port }),
                method, path,
                agent: false, // a connection of its own: spawnSync() may outlast the listener's keep-alive
                headers: {
                    ...(secret ? { authorization: `Bearer ${secret}` } : {}),
                    ...(text !== undefined ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}),
                    ...headers,
                },
            }, (response) => {
                let all = '';
                response.setEncoding('utf8');
                response.on('data', (chunk) => { all += chunk; });
                response.on('end', () => {
                    // What a session is made with is meant to be seen once; everything else is kept to be searched.
                    if (!(method === 'POST' && /access-sessions$/.test(path))) this.heard += `${JSON.stringify(response.headers)}\n${all}\n`;
                    let json;
                    try { json = JSON.parse(all); } catch { json = undefined; }
                    done({ status: response.statusCode, headers: response.headers, text: all, json });
                });
            });
            req.on('error', fail);
            req.end(text);
        });
    }

    /** Rows of all workers. */
    async rows(list) {
        const { json } = await this.call('GET', `/${list}`);
        return json.workers.flatMap((worker) => worker.rows);
    }

    /** The sum of a metric's samples whose labels match all of `labels`. */
    async metric(name, labels = {}) {
        const { text } = await this.call('GET', '/metrics');
        let sum = 0, found = false;
        for (const line of text.split('\n')) {
            const match = /^([a-z0-9_]+)(?:\{(.*)\})? ([0-9.e+-]+)$/.exec(line);
            if (!match || match[1] !== name) continue;
            if (!Object.entries(labels).every(([key, value]) => (match[2] ?? '').includes(`${key}="${value}"`))) continue;
            sum += Number(match[3]);
            found = true;
        }
        return found ? sum : undefined;
    }
}
