// h2_raw.mjs — HTTP/2 with hand-made frames, as a client or as an agent: says whatever a test wants said.
import { connect, createServer } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { once } from 'node:events';
import { sleep, until } from '../support/harness.mjs';

export const T = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST: 3, SETTINGS: 4, PUSH: 5, PING: 6, GOAWAY: 7, WINDOW: 8, CONT: 9 };
export const F = { END: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 };
export const CALM = 11;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export function frame(type, flags, id, payload = Buffer.alloc(0)) {
    const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload, 'latin1');
    const head = Buffer.alloc(9);
    head.writeUIntBE(body.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(id >>> 0, 5);
    return Buffer.concat([head, body]);
}
export const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n >>> 0); return b; };
export const setting = (id, value) => Buffer.concat([Buffer.from([id >> 8, id & 255]), u32(value)]);

/** HPACK integer with a prefix of `bits`. */
function integer(n, bits, first) {
    const max = (1 << bits) - 1;
    if (n < max) return Buffer.from([first | n]);
    const out = [first | max];
    for (n -= max; n >= 128; n >>= 7) out.push((n & 127) | 128);
    return Buffer.from([...out, n]);
}
const text = (s) => { const b = Buffer.from(s, 'latin1'); return Buffer.concat([integer(b.length, 7, 0), b]); };
/** Literal fields, without indexing; `indexed: true` puts them into the dynamic table. */
export function hpack(fields, { indexed = false } = {}) {
    const out = [];
    for (const [name, value] of Array.isArray(fields) ? fields : Object.entries(fields))
        out.push(Buffer.from([indexed ? 0x40 : 0]), text(name), text(value));
    return Buffer.concat(out);
}
export const hpackIndex = (n) => integer(n, 7, 0x80);

const DIGITS = { '00000': '0', '00001': '1', '00010': '2', '011001': '3', '011010': '4', '011011': '5', '011100': '6', '011101': '7', '011110': '8', '011111': '9' };
/** `:status`, which stands first; enough of HPACK for the first response of a connection. */
export function statusOf(block) {
    let at = 0;
    while ((block[at] & 0xe0) === 0x20) { // table size update
        if ((block[at] & 0x1f) === 0x1f) while (block[++at] & 128);
        at++;
    }
    const fixed = { 0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500 };
    if (fixed[block[at]]) return fixed[block[at]];
    const huffman = block[at + 1] & 128;
    const value = block.subarray(at + 2, at + 2 + (block[at + 1] & 127));
    if (!huffman) return Number(value.toString());
    let bits = [...value].map((b) => b.toString(2).padStart(8, '0')).join('');
    let digits = '';
    while (digits.length < 3) {
        const code = [bits.slice(0, 5), bits.slice(0, 6)].find((c) => DIGITS[c]);
        digits += DIGITS[code];
        bits = bits.slice(code.length);
    }
    return Number(digits);
}

/** One end of a connection. `reads: false`: never takes a byte off the socket. */
export class H2Raw {
    constructor(socket, { isAgent = false, reads = true, acks = true, settings = Buffer.alloc(0) } = {}) {
        Object.assign(this, { socket, isAgent, acks, frames: [], goaway: null, closed: false, closeMs: 0, sent: 0, counts: {} });
        this.input = Buffer.alloc(0);
        this.hasPreface = !isAgent;
        this.closing = new Promise((done) => socket.on('close', () => { this.closed = true; this.closeMs = Date.now(); done(); }));
        socket.on('error', () => {});
        socket.on('end', () => socket.end());
        if (reads) socket.on('data', (bytes) => this.take(bytes));
        if (!isAgent) this.send(PREFACE);
        this.send(frame(T.SETTINGS, 0, 0, settings));
    }

    static async open(port, { tls = false, ...options } = {}) {
        const socket = tls
            ? tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], servername: 'exec.computer.test' })
            : connect(port, '127.0.0.1');
        await once(socket, tls ? 'secureConnect' : 'connect');
        socket.setNoDelay(true);
        return new H2Raw(socket, options);
    }

    take(bytes) {
        this.input = Buffer.concat([this.input, bytes]);
        if (!this.hasPreface) {
            if (this.input.length < PREFACE.length) return;
            this.input = this.input.subarray(PREFACE.length);
            this.hasPreface = true;
        }
        while (this.input.length >= 9) {
            const len = this.input.readUIntBE(0, 3);
            if (this.input.length < 9 + len) return;
            const got = { type: this.input[3], flags: this.input[4], id: this.input.readUInt32BE(5) & 0x7fffffff, payload: this.input.subarray(9, 9 + len) };
            this.input = this.input.subarray(9 + len);
            this.got(got);
        }
    }

    got(f) {
        this.frames.push(f);
        this.counts[f.type] = (this.counts[f.type] ?? 0) + 1;
        if (f.type === T.GOAWAY) this.goaway = { last: f.payload.readUInt32BE(0), code: f.payload.readUInt32BE(4) };
        if (this.acks && f.type === T.SETTINGS && !(f.flags & F.ACK)) this.send(frame(T.SETTINGS, F.ACK, 0));
        if (this.acks && f.type === T.PING && !(f.flags & F.ACK)) this.send(frame(T.PING, F.ACK, 0, f.payload));
        this.onFrame?.(f);
    }

    send(bytes) {
        if (this.socket.destroyed || this.socket.writableEnded) return false;
        this.sent += bytes.length;
        return this.socket.write(bytes);
    }

    /** Sends what `make(i)` gives, in batches, until the peer closes, it returns null or `ms` are over. */
    async flood(make, { count = 100000, batch = 100, ms = 10000 } = {}) {
        const end = Date.now() + ms;
        for (let i = 0; i < count && !this.closed && !this.goaway && Date.now() < end;) {
            const parts = [];
            for (let j = 0; j < batch && i < count; j++, i++) parts.push(make(i));
            if (!this.send(Buffer.concat(parts))) await Promise.race([once(this.socket, 'drain').catch(() => {}), this.closing, sleep(200)]);
            else await sleep(0);
        }
    }

    find(type, id) { return this.frames.find((f) => f.type === type && f.id === id); }

    status(id) { const f = this.find(T.HEADERS, id); return f ? statusOf(f.payload) : undefined; }

    body(id) { return Buffer.concat(this.frames.filter((f) => f.type === T.DATA && f.id === id).map((f) => f.payload)).toString(); }

    /** Did the peer end the connection within `ms`? */
    async ended(ms = 5000) {
        await until(() => this.closed, '', ms).catch(() => {});
        return this.closed;
    }

    close() { this.socket.destroy(); }
}

/**
 * An agent made of frames. `script(conn)` runs for each connection (set conn.onFrame there); `agent.requests` counts the requests
 * that were started at it, over all connections.
 */
export async function rawAgent(script = () => {}, options = {}) {
    const agent = { requests: 0, conns: [], settings: undefined }; // settings: of its next connections
    const server = createServer((socket) => {
        socket.setNoDelay(true);
        const conn = new H2Raw(socket, { isAgent: true, ...options, settings: agent.settings });
        const count = (f) => { if (f.type === T.HEADERS && f.id % 2 === 1 && !conn.known?.has(f.id)) { (conn.known ??= new Set()).add(f.id); agent.requests++; } };
        const got = conn.got.bind(conn);
        conn.got = (f) => { count(f); got(f); };
        agent.conns.push(conn);
        script(conn, agent);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    agent.port = server.address().port;
    agent.address = `127.0.0.1:${agent.port}`;
    agent.stop = () => { for (const conn of agent.conns) conn.close(); server.close(); };
    return agent;
}
