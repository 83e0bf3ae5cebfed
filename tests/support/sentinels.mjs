// tests/support/sentinels.mjs — Redis with Sentinel: a master, a replica and three of Debian's redis-sentinel, with delays for a test; and
// sentinels that say what a test wants.
import { createServer } from 'node:net';
import { once } from 'node:events';
import { freePort, redisCli, until } from './harness.mjs';

export const MASTER = 'routes-main';

/** `security`: { certificate (of Rig.certificate(), which is its own CA), password, sentinelPassword }; null: neither TLS nor passwords. */
function means(security) {
    if (!security) return { server: () => [], conf: (port) => [`port ${port}`], auth: [], cli: () => [] };
    const { certificate, password, sentinelPassword } = security;
    const tls = { 'tls-cert-file': certificate.cert, 'tls-key-file': certificate.key, 'tls-ca-cert-file': certificate.cert, 'tls-auth-clients': 'no', 'tls-replication': 'yes' };
    return {
        server: (port) => Object.entries({ port: 0, 'tls-port': port, ...tls, requirepass: password, masterauth: password }).flatMap(([name, value]) => [`--${name}`, String(value)]),
        conf: (port) => ['port 0', `tls-port ${port}`, ...Object.entries(tls).map((pair) => pair.join(' ')), `requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`],
        auth: [`sentinel auth-pass ${MASTER} ${password}`],
        cli: (word) => ['--tls', '--cacert', certificate.cert, '--no-auth-warning', '-a', security[word]],
    };
}

/**
 * { master, replica, sentinels: [{ port, cli, child }], announced() }: the two change roles as the sentinels say. `announced()` resolves with
 * { at, port } at the next +switch-master of any of them.
 */
export async function startSentinels(rig, security = null) {
    const by = means(security);
    const master = await rig.startRedis(by.server, by.cli('password'));
    const replica = await rig.startRedis((port) => [...by.server(port), '--replicaof', '127.0.0.1', String(master.port)], by.cli('password'));
    await until(() => /master_link_status:up/.test(replica.cli('INFO', 'replication')), 'the replica does not follow');
    const sentinels = [];
    for (let i = 0; i < 3; i++) {
        const port = await freePort();
        const file = rig.write(`sentinel-${i}.conf`, [
            ...by.conf(port), 'bind 127.0.0.1', `dir ${rig.dir}`, `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 2`,
            `sentinel down-after-milliseconds ${MASTER} 500`, `sentinel failover-timeout ${MASTER} 3000`, ...by.auth, '',
        ].join('\n'));
        const child = rig.start(`sentinel-${i}`, 'redis-sentinel', [file]);
        await child.line(/\+monitor/);
        sentinels.push({ port, child, cli: redisCli(port, by.cli('sentinelPassword')) });
    }
    const waiting = [];
    for (const { port } of sentinels) {
        const watch = rig.start(`watch-${port}`, 'redis-cli', ['-p', String(port), ...by.cli('sentinelPassword'), 'SUBSCRIBE', '+switch-master']);
        watch.process.stdout.on('data', (text) => {
            const told = /^\S+ \S+ \d+ \S+ (\d+)$/m.exec(text);
            if (told) waiting.splice(0).forEach((done) => done({ at: performance.now(), port: Number(told[1]) }));
        });
        await watch.line(/subscribe/);
    }
    await until(() => sentinels.every(({ cli }) => /num-other-sentinels\n2\n[^]*/.test(cli('SENTINEL', 'MASTER', MASTER)) &&
        /num-slaves\n1\n/.test(cli('SENTINEL', 'MASTER', MASTER))), 'the sentinels do not find each other', 20000);
    return { master, replica, sentinels, announced: () => new Promise((done) => waiting.push(done)) };
}

/** A sentinel that says that the master is at `it.master` with `it.epoch`; null: that it watches none. `it.port`, `it.asked`, `it.stop()`. */
export async function startFakeSentinel(master, epoch) {
    const it = { master, epoch, asked: 0 };
    const sockets = new Set();
    const bulk = (words) => `*${words.length}\r\n${words.map((word) => `$${String(word).length}\r\n${word}\r\n`).join('')}`;
    const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {}).on('close', () => sockets.delete(socket)).on('data', (bytes) => {
            for (const [, name] of String(bytes).matchAll(/\*\d\r\n\$\d+\r\n(\w+)/g)) {
                if (name === 'PING') socket.write('+PONG\r\n');
                else if (name !== 'SENTINEL') socket.write(`*3\r\n$${name.length}\r\n${name.toLowerCase()}\r\n$14\r\n+switch-master\r\n:1\r\n`);
                else if (it.master === null) socket.write('-ERR No such master with that name\r\n');
                else socket.write(bulk(['name', MASTER, 'ip', '127.0.0.1', 'port', it.master, 'flags', 'master', 'config-epoch', it.epoch]));
                it.asked += name === 'SENTINEL';
            }
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    it.port = server.address().port;
    it.stop = () => { server.close(); for (const socket of sockets) socket.destroy(); };
    return it;
}
