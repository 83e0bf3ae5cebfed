// tests/support/h1_messages.mjs — HTTP/1.1 messages out of bytes, read as strictly as RFC 9112 allows: what this cannot delimit, no gateway may send.
import { createHash } from 'node:crypto';

const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21\x22\x24-\x7e]+) HTTP\/1\.1$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*$/;

/** What a server that takes trailers for fields would be deceived by. */
const NO_TRAILER = /^(host|content-length|transfer-encoding|connection|te|trailer|expect|authorization|cookie|forwarded|x-(forwarded-.*|real-ip|request-id|(computer|session|user)-id|access-token))$/;

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

/** "name: value" lines → [[name in lower case, value]]; null when one is none. */
function takeFields(lines) {
    const fields = lines.map((line) => FIELD.exec(line)).map((match) => match && [match[1].toLowerCase(), match[2]]);
    return fields.includes(null) ? null : fields;
}

const valuesOf = (fields, name) => fields.filter(([n]) => n === name).map(([, value]) => value);

/** { body, end } of the chunks from `at` on; null: incomplete; { error }. */
function takeChunks(text, at) {
    const parts = [];
    for (;;) {
        const lineEnd = text.indexOf('\r\n', at);
        if (lineEnd < 0) return null;
        const line = text.slice(at, lineEnd);
        if (!/^[0-9a-f]{1,16}$/.test(line)) return { error: `chunk line ${JSON.stringify(line)}` };
        const size = parseInt(line, 16);
        at = lineEnd + 2;
        if (size === 0) break;
        if (text.length < at + size + 2) return null;
        if (text.slice(at + size, at + size + 2) !== '\r\n') return { error: 'no CRLF behind a chunk' };
        parts.push(text.slice(at, at + size));
        at += size + 2;
    }
    if (text.startsWith('\r\n', at)) return { body: parts.join(''), end: at + 2 };
    const end = text.indexOf('\r\n\r\n', at);
    if (end < 0) return null;
    const trailers = takeFields(text.slice(at, end).split('\r\n'));
    const isGood = trailers !== null && !trailers.some(([name]) => NO_TRAILER.test(name));
    return isGood ? { body: parts.join(''), end: end + 4 } : { error: 'a bad trailer' };
}

/** The body's { body, end }: length and chunked never together, nor twice. */
function takeBody(text, at, fields) {
    const lengths = valuesOf(fields, 'content-length');
    const codings = valuesOf(fields, 'transfer-encoding');
    if (lengths.length + codings.length > 1) return { error: 'framed twice' };
    if (codings.length === 1) return codings[0] === 'chunked' ? takeChunks(text, at) : { error: `coding ${codings[0]}` };
    const length = lengths[0] ?? '0';
    if (!/^(0|[1-9]\d{0,15})$/.test(length)) return { error: `length ${length}` };
    const end = at + Number(length);
    return text.length < end ? null : { body: text.slice(at, end), end };
}

/** The x- fields that the sender chose, as every server can tell them: values of one name joined. */
export function customFields(fields) {
    const custom = {};
    for (const [name, value] of fields)
        if (name.startsWith('x-') && !name.startsWith('x-forwarded-'))
            custom[name] = (name in custom ? `${custom[name]},${value}` : value);
    for (const name of Object.keys(custom)) custom[name] = custom[name].split(',').map((part) => part.replace(/^[ \t]+|[ \t]+$/g, '')).join(',');
    return Object.fromEntries(Object.entries(custom).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a server makes of a request, in the form in which all are compared. `body`: bytes or latin1. */
export function meaningOf(method, target, host, body, fields) {
    const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
    return { method, target, host, length: bytes.length, hash: digest(bytes), custom: customFields(fields) };
}

/** The first request of `text` (latin1): null while incomplete, { error }, or { end, fields, meaning }. */
export function takeRequest(text) {
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd < 0) return /[^\r]\n|^\n|\r[^\n]|\0/.test(text) ? { error: 'a bare line end or NUL' } : null;
    const [first, ...rest] = text.slice(0, headEnd).split('\r\n');
    const line = LINE.exec(first);
    const fields = takeFields(rest);
    if (!line || !fields) return { error: `not a head: ${JSON.stringify(text.slice(0, headEnd))}` };
    const hosts = valuesOf(fields, 'host');
    if (hosts.length !== 1) return { error: `${hosts.length} Hosts` };
    const body = takeBody(text, headEnd + 4, fields);
    if (body === null || body.error) return body;
    return { end: body.end, fields, meaning: meaningOf(line[1], line[2], hosts[0], body.body, fields) };
}

/**
 * All final responses of `text` (latin1): [{ status, fields: Map }]. Bodies by Content-Length; HEAD's answer has none, which is seen from the next
 * one's beginning. What is no response is one with status 0.
 */
export function takeResponses(text) {
    const responses = [];
    for (let at = 0; at < text.length;) {
        const headEnd = text.indexOf('\r\n\r\n', at);
        if (headEnd < 0) break;
        const [first, ...rest] = text.slice(at, headEnd).split('\r\n');
        const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1] ?? 0);
        const fields = new Map((takeFields(rest) ?? []));
        if (status === 0 || status >= 200) responses.push({ status, fields });
        if (status === 0) break;
        at = headEnd + 4;
        if (status >= 200 && !text.startsWith('HTTP/1.', at)) at += Number(fields.get('content-length') ?? 0);
    }
    return responses;
}
