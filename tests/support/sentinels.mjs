// tests/support/sentinels.mjs — Redis with Sentinel: a master, a replica and three of Debian's redis-sentinel, with delays for a test; and
// sentinels that say what a test wants.
import { createServer } from 'node:net';
import { once } from 'node:events';
import { freePort, redisCli, until } from './harness.mjs';

export const MASTER = 'routes-main';

/**
 * { master, replica, sentinels: [{ port, cli, child }], announced() }: the two change roles as the sentinels say. `announced()` resolves with
 * { at, port } at the next +switch-master of any of them.
 */
export async function startSentinels(rig) {
    const master = await rig.startRedis();
    const replica = await rig.startRedis(['--replicaof', '127.0.0.1', String(master.port)]);
    await until(() => /master_link_status:up/.test(replica.cli('INFO', 'replication')), 'the replica does not follow');
    const sentinels = [];
    for (let i = 0; i < 3; i++) {
        const port = await freePort();
        const file = rig.write(`sentinel-${i}.conf`, [
            `port ${port}`, 'bind 127.0.0.1', `dir ${rig.dir}`, `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 2`,
            `sentinel down-after-milliseconds ${MASTER} 500`, `sentinel failover-timeout ${MASTER} 3000`, '',
        ].join('\n'));
        const child = rig.start(`sentinel-${i}`, 'redis-sentinel', [file]);
        await child.line(/\+monitor/);
        sentinels.push({ port, child, cli: redisCli(port) });
    }
    const waiting = [];
    for (const { port } of sentinels) {
        const watch = rig.start(`watch-${port}`, 'redis-cli', ['-p', String(port), 'SUBSCRIBE', '+switch-master']);
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
