// tests/support/harness.mjs — real parts for the integration tests: redis-server, guest-agent, exec-gateway, tokens, a client CA.
// Everything listens on 127.0.0.1 with ports that the kernel picks, lives in a folder of its own and ends with the test
// (`after(() => rig.stop())`); only processes started here are ended, by pid.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync, readFileSync, openSync, readSync, closeSync } from 'node:fs';
import { createServer, connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { sign } from 'node:crypto';

const here = dirname(fileURLToPath(import.meta.url));
export const root = resolve(here, '../..');
export const buildDir = process.env.BUILD_DIR ?? join(root, 'build');
export const gatewayBin = join(buildDir, 'exec-gateway');
export const agentBin = join(buildDir, 'guest-agent');
export const isSanitized = process.env.SANITIZED === '1';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** setTimeout in parts: while the machine stands still only one passes, so that what came meanwhile is heard first. Returns what cancels it. */
export function startPatience(ms, done, parts = 4) {
    let timer;
    const wait = (left) => { timer = setTimeout(() => (left > 1 ? wait(left - 1) : done()), ms / parts); };
    wait(parts);
    return () => clearTimeout(timer);
}

/** Polls until `probe` returns something truthy; throws with `what` after `ms`. */
export async function until(probe, what, ms = 10000) {
    const end = Date.now() + ms;
    for (;;) {
        const value = await probe();
        if (value) return value;
        if (Date.now() > end) throw new Error(`timed out after ${ms} ms: ${what}`);
        await sleep(10);
    }
}

const handedOut = new Set();

/** Never the same twice: two listeners of one gateway would share it (SO_REUSEPORT), and each get half of the connections. */
export async function freePort() {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    if (handedOut.has(port)) return freePort();
    handedOut.add(port);
    return port;
}

/** A child process whose lines are kept; `line(regex)` waits for one. */
export class Child {
    constructor(name, file, args, options = {}) {
        this.name = name;
        this.out = '';
        this.err = '';
        this.process = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
        this.pid = this.process.pid;
        this.exit = new Promise((done) => this.process.on('exit', (code, signal) => done({ code, signal })));
        this.process.on('error', (error) => { this.err += `spawn: ${error.message}\n`; });
        this.exited = false;
        this.exit.then(() => { this.exited = true; });
        this.process.stdout.on('data', (chunk) => { this.out += chunk; });
        this.process.stderr.on('data', (chunk) => { this.err += chunk; });
    }

    /** Waits for a match in stdout or stderr. */
    async line(pattern, ms = 20000) {
        return until(() => {
            const match = pattern.exec(this.out) ?? pattern.exec(this.err);
            if (match) return match;
            if (this.exited) throw new Error(`${this.name} ended early\n${this.out}\n${this.err}`);
            return null;
        }, `${this.name}: no line like ${pattern}\n${this.out}\n${this.err}`, ms);
    }

    kill(signal = 'SIGTERM') {
        if (!this.exited) this.process.kill(signal);
    }

    /** SIGTERM, then SIGKILL after `ms`. Returns { code, signal }. */
    async stop(signal = 'SIGTERM', ms = 10000) {
        this.kill('SIGCONT');
        this.kill(signal);
        const timer = setTimeout(() => this.kill('SIGKILL'), ms);
        const result = await this.exit;
        clearTimeout(timer);
        return result;
    }
}

/** Resident memory and open descriptors of a process. */
export function rssKiB(pid) {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

/** A file's text in pieces that overlap by more than a token's part, so that none is cut in all of them. */
function* pieces(file, bytes = 8 << 20, overlap = 4096) {
    let fd;
    try { fd = openSync(file, 'r'); } catch { return; }
    const buffer = Buffer.alloc(bytes);
    try {
        for (let at = 0, got; (got = readSync(fd, buffer, 0, bytes, at)) > 0; at += got > overlap ? got - overlap : got)
            yield buffer.toString('latin1', 0, got);
    } finally {
        closeSync(fd);
    }
}

const PART = 40; // characters of a token's payload or signature that tell it

/** The parts of tokens that no log may show: how payload and signature begin (a log may have cut the rest). */
export function secretParts(token) {
    return token.split('.').slice(1).filter((part) => part.length >= PART).map((part) => part.slice(0, PART));
}

/** JSON is YAML: a plain object becomes a config file. */
const toYaml = (value) => JSON.stringify(value, null, 2);

export const ISSUER = 'https://control.test';
export const KID = 'test-1';

export const DOMAIN = 'computer.test';

/** `lookup` option of Node's clients: every name is this machine, so that tests use real host names. */
export function toLoopback(name, options, done) {
    if (options.all) done(null, [{ address: '127.0.0.1', family: 4 }]);
    else done(null, '127.0.0.1', 4);
}

/** `cli('HSET', …)` for the Redis or Sentinel at `port`; `options` of redis-cli itself. */
export function redisCli(port, options = []) {
    return (...words) => execFileSync('redis-cli', ['-p', String(port), ...options, ...words.map(String)], { encoding: 'utf8' }).trim();
}

export class Rig {
    constructor() {
        this.dir = mkdtempSync(join(tmpdir(), 'exec-gateway-test-'));
        this.children = [];
        this.secrets = new Set(); // parts of every token that was made here: no gateway may log one
        this.keyFile = join(this.dir, 'sign.key');
        execFileSync('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', this.keyFile], { stdio: 'ignore' });
    }

    path(name) { return join(this.dir, name); }

    write(name, text) {
        writeFileSync(this.path(name), text);
        return this.path(name);
    }

    start(name, file, args, options) {
        const child = new Child(name, file, args, options);
        this.children.push(child);
        return child;
    }

    /** A certificate for localhost and *.computer.test, signed by itself. */
    certificate(name = 'server', names = ['localhost', 'exec.computer.test', '*.computer.test']) {
        const san = [...names.map((n) => `DNS:${n}`), 'IP:127.0.0.1'].join(',');
        const cert = this.path(`${name}.crt`);
        const key = this.path(`${name}.key`);
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
            '-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${san}`, '-keyout', key, '-out', cert], { stdio: 'ignore' });
        return { cert, key, pem: readFileSync(cert) };
    }

    async startAgent(args = [], options = {}) {
        const agent = this.start('agent', agentBin, ['--listen', '127.0.0.1:0', ...args], options);
        const match = await agent.line(/listening (127\.0\.0\.1:(\d+))/);
        agent.address = match[1];
        agent.port = Number(match[2]);
        return agent;
    }

    /** Redis on a free TCP port; `redis.cli('HSET', …)`. `extra`: options, or what makes them of the port; `cliOptions` of redis-cli. */
    async startRedis(extra = [], cliOptions = []) {
        const port = await freePort();
        const dir = mkdtempSync(join(this.dir, 'redis-'));
        const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir, ...(typeof extra === 'function' ? extra(port) : extra)];
        const redis = this.start('redis', 'redis-server', args);
        redis.port = port;
        redis.args = args;
        redis.cli = redisCli(port, cliOptions);
        await redis.line(/Ready to accept connections/);
        return redis;
    }

    /**
     * A gateway. `listeners`: list of { tls }; `routes`: object of the routes file, or `redis`: a Redis of startRedis().
     * `config` is merged on top, section by section. Returns the child with `.ports` (one per listener) and `.url`.
     */
    async startGateway({ listeners = [{}], routes, redis, certificate, config = {}, env = {} } = {}) {
        const name = `gateway-${this.children.length}`;
        const tree = {
            workers: 2,
            drain_timeout: '5s',
            listeners: listeners.map((listener) => ({ address: '127.0.0.1:0', ...listener })),
            exec: { hosts: ['*'] },
            auth: { issuer: ISSUER, keys: [{ kid: KID, alg: 'ES256', file: this.keyFile }] },
            upstream: { allow: ['127.0.0.0/8'] },
            log: { access: this.path(`${name}.access`) },
            routes: {},
        };
        if (certificate) tree.tls = { certificates: [{ certificate: certificate.cert, key: certificate.key }] };
        if (redis) tree.routes = { source: 'redis', redis: { url: `redis://127.0.0.1:${redis.port}` } };
        else tree.routes = { source: 'file', file: this.write(`${name}.routes.yaml`, toYaml(routes ?? { computers: {} })) };
        for (const [section, value] of Object.entries(config))
            tree[section] = value && typeof value === 'object' && !Array.isArray(value) ? { ...tree[section], ...value } : value;
        const file = this.write(`${name}.yaml`, toYaml(tree));
        const gateway = this.start(name, gatewayBin, ['serve', '-c', file], { env: { ...process.env, ...env } });
        gateway.configFile = file;
        gateway.accessFile = this.path(`${name}.access`);
        gateway.routesFile = tree.routes.file;
        gateway.accessLog = () => { try { return readFileSync(this.path(`${name}.access`), 'utf8'); } catch { return ''; } };
        await until(() => {
            if (gateway.exited) throw new Error(`gateway ended early\n${gateway.err}`);
            gateway.ports = [...gateway.err.matchAll(/listening address=127\.0\.0\.1:(\d+)/g)].map((m) => Number(m[1]));
            return gateway.ports.length >= tree.listeners.length;
        }, 'gateway does not listen', 30000);
        gateway.port = gateway.ports[0];
        gateway.url = `${tree.listeners[0].tls ? 'https' : 'http'}://127.0.0.1:${gateway.port}`;
        return gateway;
    }

    /** A token of our key; every option of `exec-gateway token mint` by name. */
    token(options = {}) {
        const all = { issuer: ISSUER, alg: 'ES256', kid: KID, key: this.keyFile, computer: 'cmp_1', session: 'ses_1', user: 'usr_1', ...options };
        const args = Object.entries(all).filter(([, v]) => v !== undefined).flatMap(([k, v]) => [`--${k}`, String(v)]);
        return this.remember(execFileSync(gatewayBin, ['token', 'mint', ...args], { encoding: 'utf8' }).trim());
    }

    /** stop() fails when a log has this token. */
    remember(token) {
        for (const part of secretParts(token)) this.secrets.add(part);
        return token;
    }

    /** One pass over the text, however many tokens there are. */
    findSecret(text) {
        for (const [run] of text.matchAll(/[\w-]{40,}/g))
            for (let at = 0; at + PART <= run.length; at++)
                if (this.secrets.has(run.slice(at, at + PART))) return run;
        return undefined;
    }

    /** What a gateway wrote: nothing of a token may be in it. */
    loggedSecret(gateway) {
        let found = this.findSecret(gateway.err) ?? this.findSecret(gateway.out);
        for (const piece of pieces(gateway.accessFile)) found ??= this.findSecret(piece);
        return found;
    }

    /** Routes for one computer at an agent. */
    routesFor(agent, more = {}) {
        return {
            computers: { cmp_1: { state: 'running', agent: agent.address, boot: '1', ...more } },
            sessions: { ses_1: { kind: 'exec', computer: 'cmp_1', user: 'usr_1' } },
        };
    }

    /** The same records in Redis. */
    putRoutes(redis, agent, more = {}) {
        const pairs = Object.entries({ state: 'running', agent: agent.address, boot: '1', ...more }).flat();
        redis.cli('HSET', 'computer:{cmp_1}', ...pairs);
        redis.cli('HSET', 'session:{ses_1}', 'kind', 'exec', 'computer', 'cmp_1', 'user', 'usr_1');
    }

    // ---- published ports ----

    /** An app "in the computer": the agent runs on this machine, so an app on 127.0.0.1 is one. See guest_app.mjs. */
    async startApp(name = 'app', { port = 0, file = 'guest_app.mjs', args = [] } = {}) {
        const app = this.start(`app-${name}`, process.execPath, [join(here, file), name, String(port), ...args]);
        app.port = Number((await app.line(/listening (\d+)/))[1]);
        /** What reached it: [{ method, url, headers, raw }]. */
        app.seen = async () => (await fetch(`http://127.0.0.1:${app.port}/_seen`)).json();
        return app;
    }

    /** An access-session token: of cmp_1 and session acs_1 unless told otherwise. */
    accessToken(options = {}) {
        return this.token({ kind: 'browser', session: 'acs_1', ...options });
    }

    /** An access-session token signed here, apart from the gateway's own code: for tests that need many. */
    signedToken(claims) {
        const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
        const now = Math.floor(Date.now() / 1000);
        const text = `${part({ alg: 'ES256', typ: 'JWT', kid: KID })}.${part({ iss: ISSUER, aud: 'access', sub: 'usr_1', iat: now, nbf: now, exp: now + 3600, ...claims })}`;
        return this.remember(`${text}.${sign('sha256', text, { key: readFileSync(this.keyFile), dsaEncoding: 'ieee-p1363' }).toString('base64url')}`);
    }

    /**
     * A gateway with a clear and a TLS listener (`.clear`, `.tls`: their ports) whose hosts are `hosts`: { name: { port, … } }, of cmp_1 at
     * `agent` unless they say otherwise. The rest as startGateway().
     */
    async startPortsGateway({ agent, hosts = {}, computers = {}, sessions = {}, config = {}, ...more }) {
        this.certificates ??= this.certificate();
        const routes = {
            computers: { cmp_1: { state: 'running', agent: agent.address, boot: '1' }, ...computers },
            hosts: Object.fromEntries(Object.entries(hosts).map(([name, host]) => [name, { computer: 'cmp_1', ...host }])),
            sessions: {
                ses_1: { kind: 'exec', computer: 'cmp_1', user: 'usr_1' },
                acs_1: { kind: 'browser', computer: 'cmp_1', user: 'usr_1' },
                ...sessions,
            },
        };
        const gateway = await this.startGateway({
            listeners: [{}, { tls: true }], certificate: this.certificates, routes,
            ...more,
            config: { exec: { hosts: [`exec.${DOMAIN}`] }, ports: { domain: DOMAIN }, ...config },
        });
        [gateway.clear, gateway.tls] = gateway.ports;
        gateway.putRoutes = (change) => { change(routes); this.write(basename(gateway.routesFile), toYaml(routes)); };
        return gateway;
    }

    /** The folder stays, with what everybody wrote to standard error. */
    keep() {
        for (const { name, err } of this.children) this.write(`${name}.err`.replace(/\W/g, '_'), err);
        process.stderr.write(`kept: ${this.dir}\n`);
    }

    /** Ends everything, newest first; throws when a gateway or an agent crashed, a sanitizer spoke, or a token is in a log. */
    async stop() {
        const problems = [];
        for (const child of this.children.reverse()) {
            const wasUp = !child.exited;
            const result = await child.stop();
            if (/AddressSanitizer|runtime error:|LeakSanitizer|assertion failed/.test(child.err))
                problems.push(`${child.name}:\n${child.err.slice(-6000)}`);
            else if (wasUp && /^(gateway|agent)/.test(child.name) && result.code !== 0)
                problems.push(`${child.name} ended with ${JSON.stringify(result)}\n${child.err.slice(-3000)}`);
            const logged = child.accessFile && this.loggedSecret(child);
            if (logged) problems.push(`${child.name} logged a token: …${logged}…`);
        }
        if (problems.length > 0) {
            process.stderr.write(`kept: ${this.dir}\n`);
            throw new Error(problems.join('\n'));
        }
        if (process.env.KEEP) this.keep();
        else rmSync(this.dir, { recursive: true, force: true });
    }
}

/** Raw bytes over TCP: sends `parts` one after another, resolves with all that came until the peer closes (or `ms`). */
export function rawExchange(port, parts, { ms = 3000, gap = 0 } = {}) {
    return new Promise((done) => {
        const socket = netConnect(port, '127.0.0.1');
        let got = Buffer.alloc(0);
        let closed = false;
        const timer = setTimeout(() => socket.destroy(), ms);
        socket.on('data', (chunk) => { got = Buffer.concat([got, chunk]); });
        socket.on('end', () => { closed = true; });
        socket.on('error', () => { closed = true; });
        socket.on('close', () => { clearTimeout(timer); done({ text: got.toString('latin1'), bytes: got, closed }); });
        socket.on('connect', async () => {
            for (const part of [].concat(parts)) {
                socket.write(part);
                if (gap) await sleep(gap);
            }
        });
    });
}
