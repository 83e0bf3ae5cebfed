// tests/support/request_mutants.mjs — HTTP/1.1 requests that are nearly right: well-formed seeds, and one to four of the changes by which requests are
// smuggled. Everything follows from a seed and a number, so that each mutant can be made again. Texts are latin1, one character a byte.

/** Numbers in [0, 1): mulberry32. */
function randomOf(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = Math.imul(state ^ (state >>> 15), state | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

class Dice {
    constructor(seed) { this.next = randomOf(seed); }
    below(n) { return Math.floor(this.next() * n); }
    of(list) { return list[this.below(list.length)]; }
}

/** Requests to `host` that are all right. */
export function seedsFor(host) {
    const head = (line, ...fields) => [line, `Host: ${host}`, ...fields, '', ''].join('\r\n');
    const many = Array.from({ length: 40 }, (_, i) => `X-Many-${i}: value ${i}`);
    return [
        head('GET / HTTP/1.1'),
        head('GET /a/b.html?x=1&y=%20z HTTP/1.1', 'User-Agent: seeds/1', 'Accept: */*', 'X-Alpha: one'),
        head(`GET /search?q=${'long-'.repeat(120)} HTTP/1.1`, 'X-Alpha: one'),
        head('HEAD /head HTTP/1.1', 'X-Alpha: one'),
        head('OPTIONS /options HTTP/1.1', 'Origin: https://a.test', 'Access-Control-Request-Method: PUT'),
        head('DELETE /thing/7 HTTP/1.1', 'X-Alpha: one', 'X-Beta: two'),
        head('POST /form HTTP/1.1', 'Content-Type: text/plain', 'Content-Length: 11') + 'hello world',
        head('PUT /put/%7euser/%2e%2e/x HTTP/1.1', 'Content-Type: application/octet-stream', 'Content-Length: 8', 'X-Alpha: \xe9\xff') + '\0\r\n\r\nabc',
        head('POST /empty HTTP/1.1', 'Content-Length: 0', 'X-Empty:', 'X-Alpha: one'),
        head('POST /chunked HTTP/1.1', 'Transfer-Encoding: chunked', 'X-Alpha: one') + '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n',
        head('POST /extensions HTTP/1.1', 'Transfer-Encoding: chunked') + '5;a=b;c="d;e"\r\nhello\r\nA;x\r\n0123456789\r\n000;last\r\n\r\n',
        head('POST /trailers HTTP/1.1', 'Transfer-Encoding: chunked', 'Trailer: X-Sum') + '3\r\nabc\r\n0\r\nX-Sum: 900150983cd24fb0\r\n\r\n',
        head('PATCH /expect HTTP/1.1', 'Expect: 100-continue', 'Content-Length: 4') + 'body',
        [`GET http://${host}/absolute?q HTTP/1.1`, `Host: ${host}`, 'X-Alpha: one', '', ''].join('\r\n'),
        head('GET /many HTTP/1.1', ...many),
        head('GET /hop HTTP/1.1', 'Connection: keep-alive, X-Hop', 'X-Hop: gone', 'Keep-Alive: timeout=5', 'TE: trailers', 'X-Alpha: stays'),
        head('GET /close HTTP/1.1', 'Connection: close', 'X-Alpha: one'),
        head('GET /socket HTTP/1.1', 'Connection: Upgrade', 'Upgrade: other/1', 'X-Alpha: one'),
        head('GET /twice HTTP/1.1', 'X-Alpha: one', 'X-Alpha: two', 'Cookie: a=1; b=2', 'Cookie: c=3'),
        head('GET /blanks HTTP/1.1', 'X-Alpha: \t one \t', 'X-Beta:two', 'X-Gamma: a  b'),
        head('POST /smuggler HTTP/1.1', 'Content-Length: 45') + 'GET /inner HTTP/1.1\r\nHost: inner.test\r\n\r\n1234',
    ];
}

// ---- where things are in a request ----

const headEnd = (text) => { const at = text.indexOf('\r\n\r\n'); return at < 0 ? text.length : at; };

const splice = (text, at, count, by) => text.slice(0, at) + by + text.slice(at + count);

/** The head's lines changed by `change(lines)`, in place. */
function onLines(text, change) {
    const end = headEnd(text);
    const lines = text.slice(0, end).split('\r\n');
    change(lines);
    return lines.join('\r\n') + text.slice(end);
}

const addField = (text, dice, ...fields) => onLines(text, (lines) => lines.splice(1 + dice.below(lines.length), 0, ...fields));

/** The first field of that name, by `change(name, value)`; a new one where there is none. */
function onField(text, dice, name, change) {
    return onLines(text, (lines) => {
        const at = lines.findIndex((line, i) => i > 0 && line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
        const value = at < 0 ? '5' : lines[at].slice(name.length + 1).trim();
        const made = change(name, value);
        if (at < 0) lines.push(made);
        else lines[at] = made;
    });
}

function onTarget(text, change) {
    return onLines(text, (lines) => {
        const [method, target = '/', ...rest] = lines[0].split(' ');
        lines[0] = [method, change(target), ...rest].join(' ');
    });
}

/** A place of `what` in the text, or anywhere. */
function placeOf(text, dice, what) {
    const places = [];
    for (let at = text.indexOf(what); at >= 0; at = text.indexOf(what, at + 1)) places.push(at);
    return places.length > 0 ? dice.of(places) : dice.below(text.length + 1);
}

/** A chunk's line changed; where there are no chunks, the body becomes some. */
function onChunkLine(text, dice, change) {
    let at = headEnd(text) + 4;
    if (!/\r\ntransfer-encoding:[ \t]*chunked/i.test(text))
        text = onLines(`${text.slice(0, at)}5\r\nhello\r\n0\r\n\r\n`, (lines) => lines.push('Transfer-Encoding: chunked'));
    at = headEnd(text) + 4;
    const lines = [...text.slice(at).matchAll(/(^|\r\n)([0-9A-Fa-f]+)([^\r\n]*)\r\n/g)];
    if (lines.length === 0) return text;
    const line = dice.of(lines);
    const start = at + line.index + line[1].length;
    return splice(text, start, line[2].length + line[3].length + 2, change(line[2], line[3]));
}

// ---- the changes ----

const CONTROLS = ['\0', '\x01', '\x08', '\x0b', '\x0c', '\x1f', '\x7f', '\r', '\n', '\x80', '\xa0', '\xff'];

const LENGTHS = [(n) => `+${n}`, (n) => `-${n}`, (n) => `0x${n}`, (n) => `${n},${n}`, (n) => `${n}, ${n}`, (n) => `0${n}`, (n) => `${n} `, (n) => ` \t${n}`, (n) => `${n}.0`,
    (n) => `${n}e0`, (n) => `"${n}"`, (n) => `${n} ${n}`, (n) => `${n}_0`, () => '', () => '18446744073709551616', () => '99999999999', () => '9223372036854775808',
    (n) => `${n};`, (n) => `\x0b${n}`, (n) => `${n}\xa0`, (n) => String(Number(n) + 1), (n) => String(Math.max(0, Number(n) - 1)), () => '0'];

const CODINGS = ['chunked', 'Chunked', 'CHUNKED', 'xchunked', 'chunkedx', 'chunked, identity', 'identity, chunked', 'identity', 'gzip, chunked', 'chunked, chunked', '\tchunked', 'chunked\t',
    ' chunked', '\x0bchunked', '\x0cchunked', 'chunked;q=1', '"chunked"', 'chunked,', ',chunked', 'chun\tked', 'cow', '', 'chunked\xa0', 'c\u0068unked\0', "'chunked'"];

const CODING_NAMES = ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING', 'Transfer_Encoding', 'Transfer-Encoding ', 'Transfer-Encoding\t', ' Transfer-Encoding', 'X-Transfer-Encoding',
    'Transfer-Encoding\x0b', 'Transfer -Encoding', 'Transfer\xadEncoding'];

const TARGET_PARTS = [';', '#', '//', '\\', '..', '/../', '/./', '%2f', '%2F', '%5c', '%00', '%0d%0a', '%', '%zz', '%2e%2e/', '?', '??', ' ', '\t', '@', ':', '[', ']', '"', '<', '>', '{', '|', '^', '`',
    '*', '\xe9', '%E9', '%252f', '\0', '\x7f', '&', '=', '+', '~', '!', "'", '(', ','];

const METHODS = ['get', 'Get', 'GETT', 'G ET', 'TRACE', 'CONNECT', 'PROPFIND', 'PRI', 'QUERY', 'M-SEARCH', 'X_Y', 'GET\t', '"GET"', 'GET/', '', 'A'.repeat(33), "!#$%&'*+.^_`|~", '0', 'POST', 'HEAD', 'OPTIONS'];

const VERSIONS = ['HTTP/1.0', 'HTTP/1.10', 'http/1.1', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 ', ' HTTP/1.1', 'HTTP/01.1', 'HTTP/1', 'HTTP/1.', 'HTTP/11', 'HTTP /1.1', 'HTTPS/1.1', '', 'HTTP/1.1\t',
    'HTTP/+1.1', 'HTTP/1,1', 'XTTP/1.1'];

const HOSTS = [(h) => `${h}:80`, (h) => `${h}.`, (h) => h.toUpperCase(), (h) => `user@${h}`, (h) => `${h}/x`, (h) => `${h}:`, (h) => `${h}:0x50`, (h) => `${h} evil.test`, (h) => `${h},evil.test`,
    (h) => `${h}#`, (h) => `${h}?x`, () => '', () => 'evil.test', () => '[::1]', (h) => `${h}\\`, (h) => `\t${h}`, (h) => `${h}:99999`, (h) => `http://${h}`];

const CONNECTIONS = ['close', 'keep-alive', 'upgrade', 'X-Alpha', 'content-length', 'transfer-encoding', 'host', 'close, X-Alpha', ', ,', 'keep-alive, Upgrade', 'te', 'X Alpha', '"close"', 'x-forwarded-for',
    'cookie', 'expect', ';'];

const OTHERS = ['Upgrade: websocket', 'Upgrade: h2c', 'Upgrade: other/1, h2', 'Expect: 100-continue', 'Expect: 200-ok', 'Expect: 100-Continue', 'TE: trailers', 'TE: chunked', 'Trailer: Content-Length',
    'X_Under: score', 'X-Forwarded-For: 6.6.6.6', 'X-HTTP-Method-Override: PUT', 'X-Original-URL: /evil', 'Proxy-Connection: close', 'HTTP2-Settings: AAMAAABk', 'X-Alpha: a\tb', 'X-Alpha:', ':', ': x',
    ':authority: evil.test', 'X-Alpha', '\x00: x', 'X(Alpha): x', 'X-Big: ' + 'b'.repeat(6000), 'Content-Length2: 5', 'Content-Encoding: gzip', 'Cookie: ; ;', 'Range: bytes=0-1'];

const SIZES = [(n) => `0${n}`, (n) => `000000000${n}`, (n) => `+${n}`, (n) => `-${n}`, (n) => `0x${n}`, (n) => `${n} `, (n) => ` ${n}`, (n) => `${n}\t`, (n) => `${n}h`, (n) => `${n}_0`, () => 'fffffffffffffffff',
    () => '7fffffffffffffff', () => '8000000000000000', (n) => `${n};`, (n) => `${n};a`, (n) => `${n};a="b`, (n) => `${n};a="b\\""`, (n) => `${n};a="\r\n"`, (n) => `${n};\n`, (n) => `${n} ;a=b`, (n) => `${n};a = b`,
    (n) => `${n}\0`, (n) => `${n};\x7f`, (n) => `${n};${'e'.repeat(80)}`, () => '', (n) => (parseInt(n, 16) + 1).toString(16), (n) => Math.max(0, parseInt(n, 16) - 1).toString(16), (n) => n.toUpperCase()];

const LINE_ENDS = ['\n', '\r', '\r\r\n', '\n\r', '\r\n\r\n', '\r\n ', '\r\n\t', '\n\n', '', ' \r\n', '\r \n', '\0\r\n', '\x0b\r\n', '\x85', '\r\n\n'];

const BODIES = ['', '\r\n', '0\r\n\r\n', '\0\x01\xff', '5\r\nhello\r\n0\r\n\r\n', 'GET /inner HTTP/1.1\r\nHost: inner.test\r\n\r\n', '{"a":1}', 'a=1&b=2', '\n\n', 'HTTP/1.1 200 OK\r\n\r\n'];

const VALUES = ['', 'a b', '"quoted, comma"', 'a,b,,c', '\xe4\xf6', '%00', 'a\tb', ';', '=?x?=', 'chunked', '5', '(comment)', '\\', "'", 'http://a.test/#x', '{}'];

const bodyOf = (dice) => Array.from({ length: dice.below(4) }, () => dice.of(BODIES)).join('');

const inChunks = (body, dice) => {
    let text = '';
    for (let at = 0, size; at < body.length; at += size) {
        size = Math.min(1 + dice.below(20), body.length - at);
        text += `${size.toString(16).padStart(1 + dice.below(3), '0')}${dice.of(['', '', ';x', ';x=y', ';x="y;z"'])}\r\n${body.slice(at, at + size)}\r\n`;
    }
    return `${text}0\r\n\r\n`;
};

/** With the fields of the old framing gone, and `field`, `body` in their place. */
function framedAnew(text, field, body) {
    const head = onLines(text.slice(0, headEnd(text) + 4), (lines) => {
        const kept = lines.filter((line) => !/^(content-length|transfer-encoding|trailer)[ \t]*:/i.test(line));
        lines.splice(0, lines.length, ...kept, field);
    });
    return head + body;
}

/** Each takes (text, dice, all seeds) and returns a text. */
export const changes = {
    'line end': (text, dice) => { const at = placeOf(text, dice, '\r\n'); return splice(text, at, 2, dice.of(LINE_ENDS)); },
    'folded field': (text, dice) => addField(text, dice, `X-Folded: a\r\n${dice.of([' ', '\t', '  '])}b`),
    'blank before a colon': (text, dice) => onLines(text, (lines) => { const at = dice.below(lines.length); lines[at] = lines[at].replace(':', dice.of([' :', '\t:', '\x0b:', '\0:', '\xa0:'])); }),
    'odd length': (text, dice) => onField(text, dice, 'Content-Length', (name, value) => `${name}: ${dice.of(LENGTHS)(value)}`),
    'one more length': (text, dice) => addField(text, dice, `${dice.of(['Content-Length', 'content-length', 'Content-Length ', 'Content_Length', 'Content-Length\t'])}: ${dice.of(LENGTHS)('5')}`),
    'odd coding': (text, dice) => onField(text, dice, 'Transfer-Encoding', () => `${dice.of(CODING_NAMES)}: ${dice.of(CODINGS)}`),
    'one more coding': (text, dice) => addField(text, dice, `${dice.of(CODING_NAMES)}:${dice.of(['', ' ', '\t'])}${dice.of(CODINGS)}`),
    'odd chunk size': (text, dice) => onChunkLine(text, dice, (size, rest) => `${dice.of(SIZES)(size)}${rest}\r\n`),
    'odd chunk line end': (text, dice) => onChunkLine(text, dice, (size, rest) => `${size}${rest}${dice.of(LINE_ENDS)}`),
    'odd trailer': (text, dice) => onChunkLine(text, dice, () => `0\r\n${dice.of(['Content-Length: 5', 'Host: evil.test', 'X-T: 1', 'X-T : 1', ' X-T: 1', 'X-T', 'Transfer-Encoding: chunked', 'X-User-Id: root', 'X-Forwarded-For: 6.6.6.6', 'Cookie: a=1', 'Expect: 100-continue', 'X_User_Id: root', 'X-T: a\nX-U: b'])}\r\n\r\n`),
    control: (text, dice) => { const at = dice.below(headEnd(text) + 1); return splice(text, at, dice.below(2), dice.of(CONTROLS)); },
    target: (text, dice) => onTarget(text, (target) => splice(target, dice.below(target.length + 1), 0, dice.of(TARGET_PARTS))),
    'whole target': (text, dice) => onTarget(text, (target) => dice.of(['*', 'a', '', '//evil.test/x', '/', 'http://evil.test/', 'https://evil.test', `http:${target}`, '/\\evil.test', `http://user@evil.test${target}`, '/%', `/${'t'.repeat(9000)}`, '?q', `${target}?`, `${target}/.`])),
    method: (text, dice) => onLines(text, (lines) => { lines[0] = `${dice.of(METHODS)} ${lines[0].slice(lines[0].indexOf(' ') + 1)}`; }),
    version: (text, dice) => onLines(text, (lines) => { lines[0] = lines[0].replace(/HTTP\/1\.1$/, dice.of(VERSIONS)); }),
    'blank in the line': (text, dice) => onLines(text, (lines) => { lines[0] = lines[0].replace(' ', dice.of(['  ', '\t', ' \t', '\x0b', '\xa0'])); }),
    'no Host': (text) => onLines(text, (lines) => { const at = lines.findIndex((line) => /^host:/i.test(line)); if (at > 0) lines.splice(at, 1); }),
    'odd Host': (text, dice) => onField(text, dice, 'Host', (name, value) => `${name}: ${dice.of(HOSTS)(value)}`),
    'two Hosts': (text, dice, seeds) => addField(text, dice, `Host: ${dice.of([/Host: (.*)\r\n/.exec(seeds[0])[1], 'evil.test'])}`),
    connection: (text, dice) => addField(text, dice, `Connection: ${dice.of(CONNECTIONS)}`),
    'other field': (text, dice) => addField(text, dice, dice.of(OTHERS)),
    'doubled line': (text, dice) => onLines(text, (lines) => { const at = dice.below(lines.length); lines.splice(at, 0, lines[at]); }),
    'lost line': (text, dice) => onLines(text, (lines) => lines.splice(dice.below(lines.length), 1)),
    'flipped bit': (text, dice) => { const at = dice.below(text.length); return splice(text, at, 1, String.fromCharCode(text.charCodeAt(at) ^ (1 << dice.below(8)))); },
    'lost bytes': (text, dice) => splice(text, dice.below(text.length), 1 + dice.below(3), ''),
    'doubled bytes': (text, dice) => { const at = dice.below(text.length); return splice(text, at, 0, text.slice(at, at + 1 + dice.below(8))); },
    'two spliced': (text, dice, seeds) => { const other = dice.of(seeds); return text.slice(0, dice.below(text.length + 1)) + other.slice(dice.below(other.length)); },
    'another behind': (text, dice, seeds) => text + dice.of(['', '\r\n', '\r\n\r\n', ' ', '\n', '\0', 'x']) + dice.of(seeds),
    // These change nothing that is right into anything wrong.
    'new body': (text, dice) => { const body = bodyOf(dice); return framedAnew(text, `Content-Length: ${body.length}`, body); },
    'new chunks': (text, dice) => framedAnew(text, dice.of(['Transfer-Encoding: chunked', 'transfer-encoding:CHUNKED']), inChunks(bodyOf(dice), dice)),
    'new field': (text, dice) => addField(text, dice, `X-New${dice.of(['', '.', '!', '~', "'", '1', '-'])}:${dice.of(['', ' ', '\t '])}${dice.of(VALUES)}`),
    'new query': (text, dice) => onTarget(text, (target) => `${target}${target.includes('?') ? '&' : '?'}${dice.of(TARGET_PARTS.filter((part) => /^[!-"$-~]*$/.test(part)))}=${dice.below(1000)}`),
    'new path': (text, dice) => onTarget(text, (target) => `/${dice.below(1000)}${dice.of(['%2f', ';v=1', '//', ':', '@', '%20', '!', '~', '.', '..'])}${target.startsWith('/') ? target : '/'}`),
    'blank lines before': (text, dice) => dice.of(['\r\n', '\r\n\r\n', '\n', '\r', ' ', '\t', '\0']) + text,
};

const names = Object.keys(changes);

/** Mutant `number` of `seed` for `host`: { number, applied: names of the changes, text }. */
export function mutantOf(seed, number, host) {
    const dice = new Dice(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
    const seeds = seedsFor(host);
    let text = dice.of(seeds);
    const applied = Array.from({ length: dice.of([1, 1, 1, 1, 1, 1, 2, 2, 3, 4]) }, () => dice.of(names));
    for (const name of applied) text = changes[name](text, dice, seeds);
    return { number, applied, text };
}
