// tests/support/recording_app.mjs — an app in a computer that keeps, byte for byte, every request that it is sent and answers 200 to it. Whose it was
// is said by X-Forwarded-For, which the gateway writes: a client that wants its own found comes from an address of its own.
import { createServer } from 'node:net';
import { once } from 'node:events';
import { takeRequest } from './h1_messages.mjs';

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** Resolves with { port, byAddress: Map of lists of { text }, faults: [what could not be delimited], stop() }. */
export async function recordingApp() {
    const sockets = new Set();
    const app = { byAddress: new Map(), faults: [] };

    function take(text, socket) {
        for (let message; text.length > 0 && (message = takeRequest(text)) !== null;) {
            if (message.error) {
                app.faults.push({ error: message.error, text });
                socket.destroy();
                return '';
            }
            const from = message.fields.find(([name]) => name === 'x-forwarded-for')?.[1];
            if (!app.byAddress.has(from)) app.byAddress.set(from, []);
            app.byAddress.get(from).push({ text: text.slice(0, message.end) });
            text = text.slice(message.end);
            socket.write(ANSWER);
        }
        return text;
    }

    const server = createServer((socket) => {
        let text = '';
        let begun = false;
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        socket.on('error', () => {});
        socket.on('data', (chunk) => {
            text += chunk.toString('latin1');
            if (!begun && /\r\nexpect: 100-continue\r\n[^]*\r\n\r\n$/i.test(text)) socket.write(CONTINUE);
            text = take(text, socket);
            begun = text.length > 0 && text.includes('\r\n\r\n');
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    app.port = server.address().port;
    app.stop = () => { server.close(); for (const socket of sockets) socket.destroy(); };
    return app;
}
