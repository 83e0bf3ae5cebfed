// tests/support/browser.mjs — Debian's Chromium, headless, whose only network is this machine: *.computer.test is 127.0.0.1, nothing else
// resolves, and the tests' own certificate is taken.
import { chromium } from 'playwright-core';

const args = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-dev-shm-usage', '--ignore-certificate-errors',
    '--host-resolver-rules=MAP *.computer.test 127.0.0.1, EXCLUDE 127.0.0.1, EXCLUDE localhost, MAP * ~NOTFOUND',
];

export function launchBrowser() {
    return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args, timeout: 60000 });
}

/** Waits until element `id` of the page has text, and returns it. */
export async function textOf(page, id, ms = 20000) {
    const handle = await page.waitForFunction((name) => document.getElementById(name)?.textContent || null, id, { timeout: ms });
    return handle.jsonValue();
}

/**
 * The handshakes of the page's WebSockets from now on: [{ url, status }]. Over HTTP/2 (RFC 8441) the answer is 200, over HTTP/1.1 it is 101.
 */
export async function watchSockets(context, page) {
    const session = await context.newCDPSession(page);
    const urls = new Map();
    const handshakes = [];
    session.on('Network.webSocketCreated', ({ requestId, url }) => urls.set(requestId, url));
    session.on('Network.webSocketHandshakeResponseReceived', ({ requestId, response }) => handshakes.push({ url: urls.get(requestId), status: response.status }));
    await session.send('Network.enable');
    return handshakes;
}
