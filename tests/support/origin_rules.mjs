// tests/support/origin_rules.mjs — is an origin's answer to a message right? A differing reading never is. What is well-formed and yet refused, or read
// less closely than RFC 9110 has it, is listed here, each with its reason and as narrow as it can be.

const LLHTTP_METHODS = /^(DELETE|GET|HEAD|POST|PUT|OPTIONS|PROPFIND|M-SEARCH|PATCH)$/;
const AIOHTTP_ONCE = /^(content-type|content-location|content-range|etag|max-forwards|server|user-agent)$/;

const namesOf = (text) => text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n').slice(1).map((line) => line.slice(0, line.indexOf(':')).toLowerCase());

function isTwice(text, test) {
    const names = namesOf(text).filter(test);
    return new Set(names).size < names.length;
}

const hasTrailers = (text) => /\r\ntransfer-encoding: chunked\r\n/i.test(text) && /\r\n0\r\n(?!\r\n$)/.test(text);

/** Does the path, read as nginx does, leave the root? */
function climbs(target) {
    let depth = 0;
    for (const part of decodeURI(target.split('?')[0].replace(/%(?!2e|2f)/gi, '%25')).replace(/%2f/gi, '/').split('/')) {
        if (part === '..' && --depth < 0) return true;
        if (part !== '' && part !== '.' && part !== '..') depth++;
    }
    return false;
}

/** What these may refuse though it is well-formed. */
const refusals = [
    { origins: ['node', 'nginx', 'aiohttp'], why: 'llhttp, also behind nginx, knows its methods by name', applies: ({ method }) => !LLHTTP_METHODS.test(method) },
    { origins: ['gunicorn'], why: 'gunicorn wants methods of 3 to 20 of A-Z, 0-9 and some signs', applies: ({ method }) => !/^[A-Z0-9$-_.]{3,20}$/.test(method) },
    { origins: ['nginx'], why: 'nginx answers OPTIONS * for no one', applies: ({ target }) => target === '*' },
    { origins: ['nginx'], why: 'nginx: a path above the root', applies: ({ target }) => climbs(target) },
    { origins: ['nginx'], why: 'nginx: % without two digits, or of NUL', applies: ({ target }) => /%(?![0-9a-f]{2})|%00/i.test(target.split('?')[0]) },
    { origins: ['cheroot'], why: 'cheroot takes // for an authority', applies: ({ target }) => target.startsWith('//') },
    { origins: ['tornado'], why: 'tornado has no trailers', applies: (_, text) => hasTrailers(text) },
    { origins: ['aiohttp'], why: 'aiohttp: twice what stands once', applies: (_, text) => isTwice(text, (name) => AIOHTTP_ONCE.test(name)) },
    { origins: ['aiohttp'], why: 'aiohttp decodes bodies', applies: (_, text) => namesOf(text).includes('content-encoding') },
];

/** What these may read less closely. `blind`: of the meaning; "after": what comes behind. */
const laxities = [
    { origins: ['cheroot'], why: 'cheroot keeps the last of a field\'s lines', blind: 'custom', applies: (_, text) => isTwice(text, (name) => name.startsWith('x-')) },
    { origins: ['waitress', 'tornado'], why: 'Python takes \\xa0 and \\x85 for blanks', blind: 'custom', applies: ({ custom }) => Object.values(custom).some((value) => /(^|,)[\x85\xa0]|[\x85\xa0](,|$)/.test(value)) },
    { origins: ['aiohttp'], why: 'aiohttp takes trailers for fields', blind: 'custom', applies: (_, text) => hasTrailers(text) }, // the app looks that none is ours
    // The gateway sends nothing behind trailers on that connection for this reason.
    { origins: ['cheroot'], why: 'cheroot leaves trailers to the app, which has not heard of them', blind: 'after', applies: (_, text) => hasTrailers(text) },
];

const isRefusal = (answer) => answer.meaning === null && answer.status >= 400 && answer.status < 600;

/** What is wrong with `answer` (of askOrigin) to `message` { text, meaning }; '' when nothing is. `needs(why)`: a rule was needed. */
export function faultOf(origin, message, answer, needs) {
    const rules = (isRefusal(answer) ? refusals : laxities).filter((rule) => rule.origins.includes(origin) && rule.applies(message.meaning, message.text));
    for (const { why } of rules) needs(why);
    if (isRefusal(answer)) return rules.length > 0 ? '' : `${origin} refused it with ${answer.status}`;
    const isBlind = (what) => rules.some((rule) => rule.blind === what);
    if (answer.after !== 'sentinel' && !isBlind('after')) return `${origin}: ${answer.status}, then ${answer.after}`;
    const [said, meant] = [answer.meaning, message.meaning].map((meaning) => JSON.stringify({ ...meaning, ...(isBlind('custom') && { custom: '' }) }));
    return said === meant ? '' : `${origin} read ${said.slice(0, 1500)}\n  we sent ${meant.slice(0, 1500)}`;
}
