// What people see when a port does not open: small self-contained pages in light and dark that say whose fault it is. Screenshots of each
// go to BUILD_DIR/error-pages. Programs get JSON.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Rig, buildDir, freePort, isSanitized } from '../../support/harness.mjs';
import { launchBrowser } from '../../support/browser.mjs';
import { ask } from '../../support/http_client.mjs';

const rig = new Rig();
let gateway, browser;

const PAGES = [
    { host: 'nobody--box', status: 404, words: /no (such )?(port|host|page|site)|not (found|published)|nothing is published/i },
    { host: 'private--box', status: 401, words: /private|sign in|auth_required/i },
    { host: 'theirs--den', status: 403, words: /machine_unauthorized/, query: () => `/?access_token=${rig.accessToken()}` },
    { host: 'closed--box', status: 502, words: /nothing (is )?listen|not listening|port \d+/i },
    { host: 'stopped--box', status: 503, words: /not running|stopped|asleep/i },
    { host: 'lost--box', status: 503, words: /reach/i },
];

before(async () => {
    const agent = await rig.startAgent();
    const app = await rig.startApp('pages');
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            'private--box.computer.test': { port: app.port },
            'theirs--den.computer.test': { port: app.port, computer: 'cmp_2' },
            'closed--box.computer.test': { port: await freePort(), visibility: 'public' },
            'stopped--box.computer.test': { port: app.port, visibility: 'public', computer: 'cmp_stopped' },
            'lost--box.computer.test': { port: app.port, visibility: 'public', computer: 'cmp_lost' },
        },
        computers: {
            cmp_2: { state: 'running', agent: agent.address, boot: '1' },
            cmp_stopped: { state: 'stopped' },
            cmp_lost: { state: 'running', agent: `127.0.0.1:${await freePort()}`, boot: '1' },
        },
    });
    mkdirSync(join(buildDir, 'error-pages'), { recursive: true });
    browser = await launchBrowser();
});
after(async () => {
    await browser?.close();
    await rig.stop();
});

/** Contrast of two CSS colours, as WCAG 2 defines it. */
function contrast(a, b) {
    const light = (text) => {
        const [red, green, blue] = text.match(/[\d.]+/g).map(Number).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
}

/** In the page: the colours of the heading, and of what is behind it. */
function colours() {
    const behind = (element) => {
        if (!element) return 'rgb(255, 255, 255)';
        const { backgroundColor } = getComputedStyle(element);
        return /, 0\)$|transparent/.test(backgroundColor) ? behind(element.parentElement) : backgroundColor;
    };
    const heading = document.querySelector('h1');
    return [behind(heading), getComputedStyle(heading).color];
}

for (const { host, status, words, query } of PAGES)
    test(`${status} (${host}): a page for people, in light and dark and on a phone`, async () => {
        const url = `https://${host}.computer.test:${gateway.tls}${query ? query() : '/'}`;
        const context = await browser.newContext({ ignoreHTTPSErrors: true });
        const page = await context.newPage();
        const asked = [];
        page.on('request', (request) => { if (!request.url().endsWith('/favicon.ico')) asked.push(request.url()); });
        const problems = [];
        page.on('console', (message) => { if (message.type() === 'error' && !/status of/.test(message.text())) problems.push(message.text()); });

        const answer = await page.goto(url);
        assert.equal(answer.status(), status);
        assert.equal(asked.length, 1, `asks for nothing else: ${asked}`);
        assert.deepEqual(problems, []);
        const headers = answer.headers();
        assert.match(headers['content-type'], /^text\/html; *charset=utf-8$/i);
        assert.match(headers['cache-control'], /no-store/);
        assert.match(headers['content-security-policy'] ?? '', /default-src 'none'/);
        if (status === 503) assert.ok(Number(headers['retry-after']) > 0, 'Retry-After');
        const html = await answer.text();
        assert.ok(html.length < 8192, `${html.length} bytes`);
        assert.ok(!html.includes('access_token=ey'), 'the token is not in the page');
        const text = await page.innerText('body');
        assert.match(text, words);
        assert.ok(text.includes(headers['x-request-id']), 'the request id, to quote it');

        const grounds = [];
        for (const scheme of ['light', 'dark']) {
            await page.emulateMedia({ colorScheme: scheme });
            await page.setViewportSize({ width: 900, height: 560 });
            const [ground, ink] = await page.evaluate(colours);
            assert.ok(contrast(ground, ink) >= 7, `contrast of ${ink} on ${ground}`);
            grounds.push(ground);
            if (!isSanitized) await page.screenshot({ path: join(buildDir, 'error-pages', `${status}-${host}-${scheme}.png`) });
        }
        await page.setViewportSize({ width: 360, height: 640 });
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no sideways scrolling on a phone');
        await context.close();
        assert.notEqual(grounds[0], grounds[1], 'dark is dark');
    });

test('programs get JSON with the same word, in HTTP/1.1 and HTTP/2, also by POST', async () => {
    const check = async (http, method, { host, status, query }) => {
        const at = { host: `${host}.computer.test`, port: gateway.tls, ca: rig.certificates.pem, http };
        const answer = await ask(at, { method, path: query ? query() : '/', body: method === 'POST' ? 'x' : undefined });
        assert.equal(answer.status, status);
        assert.match(answer.headers['content-type'], /^application\/json/);
        const told = JSON.stringify(JSON.parse(answer.body));
        if (status === 401) assert.ok(told.includes('auth_required'), told);
        if (status === 403) assert.ok(told.includes('machine_unauthorized'), told);
        assert.match(answer.headers['x-gateway-delivered'], /^(never|maybe)$/);
        assert.ok(answer.headers['x-request-id']);
    };
    await Promise.all(['1.1', '2'].flatMap((http) => ['GET', 'POST'].flatMap((method) => PAGES.map((page) => check(http, method, page)))));
});
