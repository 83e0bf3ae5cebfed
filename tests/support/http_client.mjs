// tests/support/http_client.mjs — one request to a port host on this machine by its real name, over HTTP/1.1 or HTTP/2, clear or TLS.
import http from 'node:http';
import https from 'node:https';
import http2 from 'node:http2';
import { toLoopback } from './harness.mjs';

/**
 * `at`: { host, port, ca?, http?: '1.1' | '2', session?, agent? }. Resolves with { status, headers, body (Buffer), trailers, hints } or
 * rejects. `onHead(head, stream)` sees the answer as it begins, `onData(chunk)` each part (then `body` stays empty).
 */
export function ask(at, { method = 'GET', path = '/', headers = {}, body, onHead = () => {}, onData, ms = 30000 } = {}) {
    return at.http === '2' ? askHttp2(at, { method, path, headers, body, onHead, onData, ms }) : askHttp1(at, { method, path, headers, body, onHead, onData, ms });
}

function collect(stream, result, onData) {
    const parts = [];
    stream.on('data', (part) => { if (onData) onData(part); else parts.push(part); });
    return () => { result.body = Buffer.concat(parts); };
}

function sendBody(stream, body) {
    if (body && typeof body.pipe === 'function') body.pipe(stream);
    else stream.end(body);
}

function askHttp1({ host, port, ca, agent }, { method, path, headers, body, onHead, onData, ms }) {
    return new Promise((done, fail) => {
        const result = { hints: [] };
        const request = (ca ? https : http).request({ host, port, path, method, headers, ca, agent, lookup: toLoopback, timeout: ms });
        request.on('error', fail);
        request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no byte for ${ms} ms`)));
        request.on('information', (info) => result.hints.push({ status: info.statusCode, headers: info.headers }));
        request.on('response', (response) => {
            Object.assign(result, { status: response.statusCode, headers: response.headers, raw: response.rawHeaders });
            onHead(result, request);
            const finish = collect(response, result, onData);
            response.on('error', fail);
            response.on('aborted', () => fail(new Error('aborted')));
            response.on('end', () => { finish(); result.trailers = response.trailers; done(result); });
        });
        sendBody(request, body);
    });
}

/** A connection for many requests: `at.session`. */
export function openSession({ port, ca, host }) {
    const session = http2.connect(`${ca ? 'https' : 'http'}://${host}:${port}`, { lookup: toLoopback, ca, servername: host });
    session.on('error', () => {});
    return session;
}

function askHttp2(at, { method, path, headers, body, onHead, onData, ms }) {
    const session = at.session ?? openSession(at);
    return new Promise((done, fail) => {
        const result = { hints: [], trailers: {} };
        const stream = session.request({ ':method': method, ':path': path, ':authority': `${at.host}:${at.port}`, ...headers }, { endStream: body === undefined });
        const finish = collect(stream, result, onData);
        stream.setTimeout(ms, () => { stream.close(8); fail(new Error(`${method} ${path}: no byte for ${ms} ms`)); });
        stream.on('error', fail);
        stream.on('headers', (info) => result.hints.push({ status: info[':status'], headers: info }));
        stream.on('response', (head) => { Object.assign(result, { status: head[':status'], headers: head }); onHead(result, stream); });
        stream.on('trailers', (trailers) => { result.trailers = trailers; });
        let isWhole = false;
        // Node never says 'close' of a stream whose answer is whole and whose unfinished upload was stopped with NO_ERROR (RFC 9113 §8.1).
        stream.on('end', () => {
            isWhole = true;
            setTimeout(() => {
                if (!stream.closed || stream.destroyed || stream.rstCode !== 0 || !result.status) return;
                finish();
                done(result);
                stream.destroy();
            }, 500).unref();
        });
        stream.on('close', () => {
            finish();
            if (stream.rstCode === 0 && result.status && isWhole) done(result);
            else fail(new Error(`stream closed with ${stream.rstCode}`));
        });
        if (body !== undefined) sendBody(stream, body);
    }).finally(() => { if (!at.session) session.close(); });
}
