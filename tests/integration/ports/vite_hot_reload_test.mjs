// A Vite dev server through a port host: `host_header: localhost` satisfies its host check, and an edit reaches the browser by its WebSocket.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Rig, freePort, until } from '../../support/harness.mjs';
import { launchBrowser, textOf, watchSockets } from '../../support/browser.mjs';

const rig = new Rig();
const HOST = 'vite--box.computer.test';
let gateway, browser, folder;

const moduleText = (words) => `
document.getElementById('words').textContent = ${JSON.stringify(words)};
document.getElementById('loads').textContent = String((window.timesRun = (window.timesRun ?? 0) + 1));
if (import.meta.hot) import.meta.hot.accept();
`;

before(async () => {
    folder = rig.path('site');
    mkdirSync(folder);
    writeFileSync(`${folder}/index.html`, '<!doctype html><html><head><title>v</title></head><body><p id="words"></p><p id="loads"></p><script type="module" src="/main.js"></script></body></html>');
    writeFileSync(`${folder}/main.js`, `import './style.css';\n${moduleText('before the edit')}`);
    writeFileSync(`${folder}/style.css`, 'p { color: rgb(10, 20, 30); }');
    const port = await freePort();
    await rig.startApp('vite', { file: 'vite_app.mjs', port, args: [folder] });
    const agent = await rig.startAgent();
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            [HOST]: { port, visibility: 'session', host_header: 'localhost' },
            'plain--box.computer.test': { port, visibility: 'public', host_header: 'preserve' },
        },
    });
    browser = await launchBrowser();
});
after(async () => {
    await browser?.close();
    await rig.stop();
});

test('the page loads, and an edit arrives without a reload', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    const sockets = await watchSockets(context, page);
    const navigations = [];
    page.on('framenavigated', (frame) => navigations.push(frame.url()));

    assert.equal((await page.goto(`https://${HOST}:${gateway.tls}/?access_token=${rig.accessToken()}`)).status(), 200);
    assert.equal(await textOf(page, 'words'), 'before the edit');
    await until(() => sockets.length > 0, 'the hot reload WebSocket did not open');
    assert.equal(sockets[0].status, 200, 'over HTTP/2');
    const before = navigations.length;

    writeFileSync(`${folder}/main.js`, `import './style.css';\n${moduleText('after the edit')}`);
    await page.waitForFunction(() => document.getElementById('words').textContent === 'after the edit', null, { timeout: 20000 });
    assert.equal(await page.evaluate(() => window.timesRun), 2, 'the module ran again in the same page');

    writeFileSync(`${folder}/style.css`, 'p { color: rgb(40, 50, 60); }');
    await page.waitForFunction(() => getComputedStyle(document.getElementById('words')).color === 'rgb(40, 50, 60)', null, { timeout: 20000 });
    assert.equal(navigations.length, before, 'no reload');
    await context.close();
});

test('without the rewrite the dev server refuses the host: the setting is what makes it work', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    const answer = await page.goto(`https://plain--box.computer.test:${gateway.tls}/`);
    assert.equal(answer.status(), 403);
    assert.match(await answer.text(), /host.*not allowed/is);
    await context.close();
});
