// An app that is weary of a connection (ENHANCE_YOUR_CALM to all that is new on it, as Node's HTTP/2 server does for ever once people have
// left in the middle of large answers) gets a new one: nobody sees it, but for what cannot be sent twice.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Rig } from '../../support/harness.mjs';
import { ask } from '../../support/http_client.mjs';

const rig = new Rig();
const HOST = 'app--box.computer.test';
let gateway;

before(async () => {
    const agent = await rig.startAgent();
    const app = await rig.startApp('weary', { file: 'weary_app.mjs' });
    gateway = await rig.startPortsGateway({
        agent, hosts: { [HOST]: { port: app.port, visibility: 'public', protocol: 'h2c' } }, config: { workers: 1 },
    });
});
after(() => rig.stop());

const at = () => ({ host: HOST, http: '2', port: gateway.clear });
const connectionOf = async (options) => {
    const { status, body } = await ask(at(), { path: '/', ...options });
    assert.equal(status, 200, String(body));
    return Number(/^connection (\d+)$/.exec(String(body))[1]);
};
/** Leaves when the app has all of its 4 MB answer in its buffers; what the answer's head said. */
async function leave(method) {
    let head = {};
    const onHead = (got, stream) => { head = got; stream.pause(); setTimeout(() => stream.close(8), 30); };
    await ask(at(), { method, path: '/big', onHead, onData() {} }).catch(() => {});
    return head;
}

test('GETs go on, on a connection of their own, however many leave', async () => {
    const seen = new Set([await connectionOf()]);
    for (let i = 0; i < 24; i++) {
        assert.equal((await leave('GET')).status, 200);
        seen.add(await connectionOf());
    }
    assert.ok(seen.size >= 2, 'the app was never weary: this shows nothing');
    assert.ok(seen.size <= 13, `${seen.size} connections for 24 large answers: new ones although the old ones were good`);
});

test('a POST may fail, since it may have been delivered: the one after it goes to the new connection', async () => {
    const post = (path) => (path === '/big' ? leave('POST') : ask(at(), { method: 'POST', path, body: Buffer.from('a few bytes') }));
    let failed = 0;
    let before = 200;
    for (let i = 0; i < 48; i++) {
        const { status, headers } = await post(i % 2 ? '/' : '/big');
        assert.ok(status === 200 || before === 200, 'two in a row');
        before = status;
        if (status === 200) continue;
        failed++;
        assert.equal(status, 503);
        assert.equal(headers['x-gateway-error'], 'agent_busy');
    }
    assert.ok(failed > 0, 'the app was never weary: this shows nothing');
});
