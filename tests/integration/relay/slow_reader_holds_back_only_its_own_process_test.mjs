// 2,000 Start streams on one connection and one agent; readers that stop reading hold back only their own process, and the gateway's
// memory stays bounded.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { once } from 'node:events';
import { Rig, isSanitized, rssKiB, sleep, until } from '../../support/harness.mjs';

const rig = new Rig();
const STREAMS = 2000;
let agent, gateway, token;

before(async () => {
    agent = await rig.startAgent();
    gateway = await rig.startGateway({
        routes: rig.routesFor(agent),
        config: { workers: 1, limits: { requests_per_session: 4096, requests_per_computer: 4096, h2: { streams: 4096, streams_total: 100000 } } },
    });
    token = rig.token();
});
after(() => rig.stop());

function envelope(value) {
    const body = Buffer.from(JSON.stringify(value));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    return Buffer.concat([head, body]);
}

function startStream(session, command) {
    const stream = session.request({
        ':method': 'POST', ':path': '/process.Process/Start', authorization: `Bearer ${token}`,
        'content-type': 'application/connect+json', 'connect-protocol-version': '1',
    });
    stream.end(envelope({ process: { cmd: '/bin/sh', args: ['-c', command] } }));
    return stream;
}

async function connectSession() {
    const session = http2.connect(gateway.url, { settings: { initialWindowSize: 65535 } });
    await once(session, 'remoteSettings');
    session.on('error', () => {});
    return session;
}

/** The connection shows a token once, so that more than 100 streams are granted. */
async function warmUp(session) {
    const first = startStream(session, 'true');
    first.resume();
    await once(first, 'end');
}

test(`${STREAMS} streams are open at once on one connection, each gets its own output`, { timeout: 240000 }, async () => {
    const session = await connectSession();
    await warmUp(session);
    const before = rssKiB(gateway.pid);
    const texts = new Array(STREAMS).fill('');
    const streams = [];
    let ended = 0;
    for (let i = 0; i < STREAMS; i++) {
        const stream = startStream(session, `echo mark-${i}; read line; echo done-$line`);
        stream.on('data', (chunk) => { texts[i] += chunk.toString('latin1'); });
        stream.on('end', () => { ended++; });
        stream.on('error', (error) => { texts[i] += `error ${error.message}`; });
        streams.push(stream);
        if (i % 100 === 99) await until(() => texts[i].includes('"stdout"') || texts[i].includes('error'), `stream ${i}: ${texts[i]}`, 60000);
    }
    const b64 = (text) => Buffer.from(text).toString('base64');
    await until(() => texts.every((text, i) => text.includes(b64(`mark-${i}\n`))), `output everywhere; e.g. ${texts.find((t, i) => !t.includes(b64(`mark-${i}\n`)))}`, 120000);
    assert.equal(ended, 0, 'all are open');
    const grown = rssKiB(gateway.pid) - before;
    console.log(`gateway grew ${grown} KiB for ${STREAMS} open streams (${(grown / STREAMS).toFixed(2)} KiB each)`);
    if (!isSanitized) assert.ok(grown < STREAMS * 16, `${grown} KiB`);
    session.destroy();
    await sleep(200);
});

test('a reader that stops reading holds back only its own process; memory stays bounded', { timeout: 120000 }, async () => {
    const session = await connectSession();
    await warmUp(session);
    const before = rssKiB(gateway.pid);
    const agentBefore = rssKiB(agent.pid);
    const stalled = [];
    for (let i = 0; i < 20; i++) {
        const stream = startStream(session, 'cat /dev/zero'); // endless
        stream.pause();
        stalled.push(stream);
    }
    await sleep(1500);
    // The others are as quick as ever.
    const began = Date.now();
    for (let i = 0; i < 20; i++) {
        const stream = startStream(session, 'echo fine');
        let text = '';
        stream.on('data', (chunk) => { text += chunk.toString('latin1'); });
        await once(stream, 'end');
        assert.ok(text.includes(Buffer.from('fine\n').toString('base64')));
    }
    const took = Date.now() - began;
    const grown = rssKiB(gateway.pid) - before;
    const agentGrown = rssKiB(agent.pid) - agentBefore;
    console.log(`20 stalled readers: gateway grew ${grown} KiB, agent ${agentGrown} KiB; 20 commands beside them took ${took} ms`);
    assert.ok(grown < 20 * 256 + (isSanitized ? 65536 : 4096), `gateway grew ${grown} KiB`);
    assert.ok(agentGrown < 20 * 1024 + (isSanitized ? 65536 : 8192), `agent grew ${agentGrown} KiB`);
    assert.ok(took < (isSanitized ? 20000 : 5000));
    // Reading again lets it flow.
    let flowed = 0;
    stalled[0].on('data', (chunk) => { flowed += chunk.length; });
    stalled[0].resume();
    await until(() => flowed > 5_000_000, 'flow after resuming', 30000);
    session.destroy();
    await sleep(200);
});
