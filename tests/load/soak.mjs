// tests/load/soak.mjs — hours of mixed load with faults injected all the while, on this machine:
//     node tests/load/soak.mjs [--minutes 30] [--every 10] [--out build/soak]
// Users of every kind (tests/support/mixed_load.mjs) call through one gateway; every few seconds something breaks: Redis stands still, dies and
// comes back, the agent or the app behind the port dies, clients vanish in the middle, floods come, the config is read anew. Resident memory and
// descriptors of the gateway are sampled every second and drawn (soak.svg, soak.json). Exit 1 when a call fails that no fault excuses, when
// memory or descriptors do not come back to where they were, or when the gateway died.
import http2 from 'node:http2';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Rig, agentBin, buildDir, rssKiB, sleep, until } from '../support/harness.mjs';
import { MIXED_HOSTS, startLoad, startMixedApps } from '../support/mixed_load.mjs';
import { soakPlot } from './soak_plot.mjs';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '30' }, every: { type: 'string', default: '10' }, out: { type: 'string', default: join(buildDir, 'soak') } } });
const SECONDS = Number(values.minutes) * 60;
const EVERY_S = Number(values.every);
const EXCUSED_MS = 5000; // after a fault: a backoff of the agent's, a reconnect to Redis
const WARM_UP_S = Math.min(60, SECONDS / 5);
const QUIET_MS = 75000; // idle upstream connections end after 60 s
const RSS_GROWTH_KIB = 8 * 1024;
const FDS_GROWTH = 8;

const rig = new Rig();
const log = (words) => console.log(`${new Date().toISOString().slice(11, 19)} ${words}`);
let redis, agent, app, gateway;

async function setUp() {
    redis = await rig.startRedis();
    agent = await rig.startAgent();
    rig.putRoutes(redis, agent);
    ({ app } = await startMixedApps(rig, redis));
    redis.cli('SAVE');
    gateway = await rig.startPortsGateway({ agent, redis, config: { exec: { hosts: ['*'] } } });
}

// ---- faults: each excuses what fails from its beginning until EXCUSED_MS after its end ----

/** `count` streams of `cat` that are begun, read for a moment and left without a word. */
async function vanish(count) {
    const token = rig.token();
    const sessions = Array.from({ length: count }, () => {
        const session = http2.connect(`http://127.0.0.1:${gateway.clear}`);
        session.on('error', () => {});
        const stream = session.request({ ':method': 'POST', ':path': '/process.Process/Start', authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/x-ndjson' });
        stream.on('error', () => {});
        stream.resume();
        stream.end('{"command": ["sh", "-c", "for i in $(seq 40); do echo x; sleep 0.1; done"]}');
        return session;
    });
    await sleep(500);
    for (const session of sessions) session.socket?.resetAndDestroy?.() ?? session.destroy();
}

async function rapidReset(count) {
    const session = http2.connect(`http://127.0.0.1:${gateway.clear}`);
    session.on('error', () => {});
    for (let i = 0; i < count && !session.destroyed; i++) {
        const stream = session.request({ ':method': 'POST', ':path': '/process.Process/List' });
        stream.on('error', () => {});
        stream.close(8);
        if (i % 20 === 0) await sleep(1);
    }
    await sleep(200);
    session.destroy();
}

async function rubbish(count) {
    const sockets = Array.from({ length: count }, (_, i) => {
        const socket = connect(gateway.clear, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(i % 2 ? 'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n' : Buffer.alloc(4000, 0xfe));
        return socket;
    });
    await sleep(300);
    for (const socket of sockets) socket.destroy();
}

async function restart(child, file, args) {
    child.kill('SIGKILL');
    await child.exit;
    await sleep(300);
    return Object.assign(rig.start(child.name, file, args), { address: child.address, port: child.port, cli: child.cli, args: child.args });
}

const faults = {
    'redis stands still for 2 s': async () => { redis.kill('SIGSTOP'); await sleep(2000); redis.kill('SIGCONT'); },
    'redis dies and comes back': async () => { redis = await restart(redis, 'redis-server', redis.args); await redis.line(/Ready to accept/); },
    'the agent dies and comes back': async () => { agent = await restart(agent, agentBin, ['--listen', agent.address]); await agent.line(/listening/); },
    'the agent stands still for 1 s': async () => { agent.kill('SIGSTOP'); await sleep(1000); agent.kill('SIGCONT'); },
    'the app dies and comes back': async () => { app = await restart(app, process.execPath, [...app.process.spawnargs.slice(1, -1), String(app.port)]); await app.line(/listening/); },
    '50 clients vanish': () => vanish(50),
    'rapid reset': () => rapidReset(2000),
    'rubbish on 100 connections': () => rubbish(100),
    'reload': async () => { gateway.kill('SIGHUP'); await sleep(500); },
    'the computer moves (a new boot)': async () => { redis.cli('HSET', 'computer:{cmp_1}', 'boot', String(Date.now())); redis.cli('SAVE'); },
};

// ---- the run ----

const samples = [];
const marks = [];
const sample = () => samples.push({ t: Date.now(), rssKiB: rssKiB(gateway.pid), fds: readdirSync(`/proc/${gateway.pid}/fd`).length });

async function quiet(words) {
    await sleep(QUIET_MS);
    const { rssKiB: rss, fds } = samples.at(-1);
    log(`${words}: ${rss} KiB, ${fds} descriptors`);
    return { rssKiB: rss, fds };
}

const isExcused = (failure) => {
    const at = Date.parse(failure.slice(0, 24));
    return marks.some(({ from, to }) => at >= from && at <= to + EXCUSED_MS);
};

async function soak() {
    await setUp();
    const sampler = setInterval(sample, 1000);
    let load;
    const startAll = () => startLoad({ url: `http://127.0.0.1:${gateway.clear}`, token: rig.token(), ports: { port: gateway.clear, ...MIXED_HOSTS } });
    const result = { done: {}, failures: [] };
    const stopLoad = async () => {
        const { done, failures } = await load.stop();
        for (const [kind, count] of Object.entries(done)) result.done[kind] = (result.done[kind] ?? 0) + count;
        result.failures.push(...failures);
    };
    try {
        // Where it was: after a warm-up in which everything happened once, and a rest.
        load = startAll();
        await sleep(WARM_UP_S * 500);
        for (const [name, run] of Object.entries(faults)) await inject(name, run);
        await sleep(WARM_UP_S * 500);
        await stopLoad();
        result.before = await quiet('before');
        load = startAll();
        const end = Date.now() + SECONDS * 1000;
        for (const names = []; Date.now() < end;) {
            if (names.length === 0) names.push(...Object.keys(faults).sort(() => Math.random() - 0.5));
            const name = names.pop();
            await inject(name, faults[name]);
            await sleep(EVERY_S * 1000);
        }
        await sleep(EXCUSED_MS);
        await stopLoad();
        result.after = await quiet('after');
    } finally {
        clearInterval(sampler);
    }
    return result;
}

async function inject(name, run) {
    const mark = { name, from: Date.now(), to: Date.now() };
    marks.push(mark);
    log(name);
    await run();
    mark.to = Date.now();
    if (gateway.exited) throw new Error(`the gateway died: ${gateway.err.slice(-3000)}`);
}

const out = resolve(values.out);
mkdirSync(out, { recursive: true });
let problems = [];
try {
    const { done, failures, before, after } = await soak();
    const unexcused = failures.filter((failure) => !isExcused(failure));
    log(`${Object.values(done).reduce((a, b) => a + b, 0)} calls, ${marks.length} faults, ${failures.length} failures that a fault excuses: ${JSON.stringify(done)}`);
    if (unexcused.length > 0) problems.push(`${unexcused.length} failed without a fault:\n  ${unexcused.slice(0, 10).join('\n  ')}`);
    for (const [kind, count] of Object.entries(done)) if (count === 0) problems.push(`${kind} did nothing`);
    if (after.rssKiB > before.rssKiB + RSS_GROWTH_KIB) problems.push(`memory: ${before.rssKiB} KiB before, ${after.rssKiB} KiB after`);
    if (after.fds > before.fds + FDS_GROWTH) problems.push(`descriptors: ${before.fds} before, ${after.fds} after`);
    writeFileSync(join(out, 'soak.json'), JSON.stringify({ done, before, after, unexcused, excused: failures.length - unexcused.length, marks, samples }));
    writeFileSync(join(out, 'soak.svg'), soakPlot(samples, marks));
    log(`${out}/soak.svg, soak.json`);
    await until(() => !gateway.exited, 'the gateway', 100);
} catch (error) {
    problems.push(error.stack);
} finally {
    await rig.stop().catch((error) => problems.push(error.message));
}
console.log(problems.length === 0 ? 'held' : problems.join('\n'));
process.exit(problems.length === 0 ? 0 : 1);
