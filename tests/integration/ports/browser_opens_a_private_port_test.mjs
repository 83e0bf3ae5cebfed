// Chromium opens a private port by its access_url: the token becomes a cookie, the page works whole, the app never sees either.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig, until } from '../../support/harness.mjs';
import { launchBrowser, textOf, watchSockets } from '../../support/browser.mjs';

const rig = new Rig();
const COOKIE = 'agentcomputer_access_session';
let gateway, app, browser, token, origin;

before(async () => {
    const agent = await rig.startAgent();
    app = await rig.startApp('private page');
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            'app--box.computer.test': { port: app.port, visibility: 'session' },
            'second--box.computer.test': { port: app.port, visibility: 'session' },
            'theirs--den.computer.test': { port: app.port, visibility: 'session', computer: 'cmp_2' },
        },
        computers: { cmp_2: { state: 'running', agent: agent.address, boot: '1' } },
        sessions: { acs_2: { kind: 'browser', computer: 'cmp_2', user: 'usr_1' } },
    });
    token = rig.accessToken({ ttl: 1800 });
    origin = `https://app--box.computer.test:${gateway.tls}`;
    browser = await launchBrowser();
});
after(async () => {
    await browser?.close();
    await rig.stop();
});

const spoken = () => gateway.accessLog().trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));

test('access_url: the clean URL, a host-only cookie, scripts, fetches, and a WebSocket over HTTP/2', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    const sockets = await watchSockets(context, page);
    const hops = [];
    page.on('response', (r) => { if (r.request().isNavigationRequest()) hops.push({ status: r.status(), url: r.url(), headers: r.headers() }); });

    const answer = await page.goto(`${origin}/?keep=1&access_token=${token}&also=a%2Fb`);
    assert.equal(answer.status(), 200);
    assert.equal(page.url(), `${origin}/?keep=1&also=a%2Fb`);
    assert.deepEqual(hops.map((h) => h.status), [303, 200]);
    assert.equal(hops[0].headers['referrer-policy'], 'no-referrer');
    assert.match(hops[0].headers['cache-control'], /no-store/);

    const cookies = await context.cookies();
    const ours = cookies.filter((c) => c.name === COOKIE);
    assert.equal(ours.length, 1);
    assert.equal(ours[0].value, token);
    assert.equal(ours[0].domain, 'app--box.computer.test', 'host-only: no leading dot');
    assert.equal(ours[0].path, '/');
    assert.ok(ours[0].httpOnly && ours[0].secure);
    assert.equal(ours[0].sameSite, 'Lax');
    const left = ours[0].expires - Date.now() / 1000;
    assert.ok(left > 1700 && left <= 1801, `${left} s left of 1800`);

    assert.equal(await textOf(page, 'title'), 'private page');
    assert.equal(await textOf(page, 'script'), 'ran');
    assert.equal(await textOf(page, 'fetch'), '/api/echo?from=fetch');
    assert.equal(await textOf(page, 'post'), 'posted', 'an unsafe method from the same origin, by cookie');
    assert.equal(await textOf(page, 'ws'), 'hello from the page');
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(1, 2, 3)');
    assert.equal(await page.evaluate(() => document.cookie.includes('access_session')), false);

    assert.equal(sockets.length, 1);
    assert.equal(sockets[0].status, 200, 'RFC 8441 answers 200; 101 would be HTTP/1.1');
    await page.close();
    const line = await until(() => spoken().find((l) => String(l.path).startsWith('/ws')), 'no access log line of the WebSocket');
    assert.equal(String(line.http), '2');

    const tab = await context.newPage();
    const again = await tab.goto(`${origin}/`);
    assert.equal(again.status(), 200, 'a second tab needs no token');
    assert.equal(await textOf(tab, 'ws'), 'hello from the page');
    await context.close();
});

test('the app saw its own cookies, and neither the token nor our cookie', async () => {
    const seen = await app.seen();
    const all = JSON.stringify(seen);
    assert.ok(seen.length >= 8);
    assert.ok(!all.includes(token), 'the token reached the app');
    assert.ok(!all.includes(token.split('.')[2]), 'the signature reached the app');
    assert.ok(!all.includes(COOKIE) && !all.includes('access_token'), 'a name of ours reached the app');
    assert.ok(seen.some((r) => /(^|; )app=1(;|$)/.test(r.headers.cookie ?? '')), 'the app has its own cookie back');
    assert.ok(!gateway.accessLog().includes(token.split('.')[2]) && !gateway.err.includes(token.split('.')[2]), 'the token is in a log');
    const page = seen.find((r) => r.url.startsWith('/?keep'));
    assert.equal(page.url, '/?keep=1&also=a%2Fb');
    assert.equal(page.headers['x-forwarded-proto'], 'https');
    assert.equal(page.headers['x-forwarded-host'], `app--box.computer.test:${gateway.tls}`);
    assert.equal(page.headers.host, `app--box.computer.test:${gateway.tls}`);
});

test("another computer's cookie is refused, and so is none; neither reaches the app", async () => {
    const before = (await app.seen()).length;
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const theirs = rig.accessToken({ computer: 'cmp_2', session: 'acs_2' });
    await context.addCookies([{ name: COOKIE, value: theirs, url: origin, httpOnly: true, secure: true, sameSite: 'Lax' }]);
    const page = await context.newPage();
    assert.equal((await page.goto(`${origin}/`)).status(), 403);
    assert.match(await page.content(), /machine_unauthorized/);

    await context.clearCookies();
    assert.equal((await page.goto(`${origin}/`)).status(), 401);
    assert.match(await page.content(), /auth_required/);
    assert.equal((await app.seen()).length, before);
    await context.close();
});

test('the cookie is of one host: a second port of the same computer asks again', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    assert.equal((await page.goto(`${origin}/?access_token=${token}`)).status(), 200);
    assert.equal((await page.goto(`https://second--box.computer.test:${gateway.tls}/`)).status(), 401);
    await context.close();
});

test('a page of another site cannot open a WebSocket or POST with the cookie', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    // Both hosts are one "site" (computer.test), so that SameSite=Lax sends the cookie: the Origin check is what refuses.
    const second = `https://second--box.computer.test:${gateway.tls}`;
    assert.equal((await page.goto(`${second}/?access_token=${token}`)).status(), 200);
    assert.equal((await page.goto(`${origin}/?access_token=${token}`)).status(), 200);
    await textOf(page, 'ws');
    const before = (await app.seen()).length;
    const opened = await page.evaluate((url) => new Promise((done) => {
        const socket = new WebSocket(url);
        socket.onopen = () => done('open');
        socket.onerror = () => done('refused');
    }), `${second.replace('https', 'wss')}/ws`);
    assert.equal(opened, 'refused');
    await page.evaluate((url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x' }).catch(() => {}), `${second}/api/echo?cross`);
    assert.equal((await app.seen()).length, before, 'nothing of it reached the app');
    await context.close();
});
