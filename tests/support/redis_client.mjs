// tests/support/redis_client.mjs — commands to Redis without a process each: `await redis.send('HSET', …)`, in order, pipelined.
import { connect } from 'node:net';
import { once } from 'node:events';

export async function redisClient(port) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const waiting = [];
    let text = '';
    socket.on('data', (part) => {
        text += part;
        for (let end; (end = text.indexOf('\r\n')) >= 0; text = text.slice(end + 2)) {
            const line = text.slice(0, end);
            const { done, fail } = waiting.shift();
            if (line.startsWith('-')) fail(new Error(line)); else done(line.slice(1));
        }
    });
    socket.on('error', (error) => waiting.splice(0).forEach(({ fail }) => fail(error)));
    return {
        /** Commands whose answer is one line (integers, OK). */
        send(...words) {
            return new Promise((done, fail) => {
                waiting.push({ done, fail });
                socket.write(`*${words.length}\r\n${words.map((w) => `$${Buffer.byteLength(String(w))}\r\n${w}\r\n`).join('')}`);
            });
        },
        close: () => socket.destroy(),
    };
}
