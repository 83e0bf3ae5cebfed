// nginx as the app: its answers are the same through the gateway as without it, whatever the path looks like; and curl in each version of
// HTTP that it speaks.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Rig, freePort, until } from '../../support/harness.mjs';

const rig = new Rig();
const run = promisify(execFile);
const HOST = 'web--box.computer.test';
let gateway, port;

const nginxConfig = (dir, listen) => `
${process.getuid() === 0 ? 'user root;' : ''} daemon off; pid ${dir}/nginx.pid; error_log ${dir}/error.log; worker_processes 1;
events { worker_connections 256; }
http {
    access_log off; server_tokens off; absolute_redirect off; keepalive_timeout 30s;
    client_body_temp_path ${dir}/t1; proxy_temp_path ${dir}/t2; fastcgi_temp_path ${dir}/t3; uwsgi_temp_path ${dir}/t4; scgi_temp_path ${dir}/t5;
    gzip on; gzip_min_length 1; gzip_types text/plain;
    types { text/plain txt; text/html html; }
    server {
        listen 127.0.0.1:${listen};
        root ${dir}/www;
        location / { default_type text/plain; return 200 "$request_method|$request_uri|$http_host|$server_protocol\\n"; }
        location /static/ { etag on; }
        location /gone { return 410 "gone"; }
        location /empty { return 204; }
        location /moved { return 301 /static/; }
    }
}`;

before(async () => {
    const dir = rig.path('nginx');
    mkdirSync(`${dir}/www/static/dir with space`, { recursive: true });
    writeFileSync(`${dir}/www/static/a.txt`, 'static words\n'.repeat(2000));
    writeFileSync(`${dir}/www/static/(local).txt`, 'brackets\n');
    writeFileSync(`${dir}/www/static/dir with space/index.html`, '<p>space</p>');
    port = await freePort();
    rig.start('nginx', 'nginx', ['-p', dir, '-e', `${dir}/error.log`, '-c', rig.write('nginx.conf', nginxConfig(dir, port))], { cwd: dir });
    await until(() => fetch(`http://127.0.0.1:${port}/`).then((r) => r.ok, () => false), 'nginx does not answer');
    const agent = await rig.startAgent();
    gateway = await rig.startPortsGateway({
        agent,
        hosts: {
            [HOST]: { port, visibility: 'public', protocol: 'http1' },
            'auto--box.computer.test': { port, visibility: 'public' },
            'direct--box.computer.test': { port, visibility: 'public', via: 'direct' },
            'box.computer.test': { port, visibility: 'public' },
            'www.customer.example': { port, visibility: 'public' },
        },
    });
});
after(() => rig.stop());

const base = ['-sS', '-g', '--path-as-is', '--max-time', '20', '-k'];
async function curl(target, toPort, { flags = [], tls = false, host = HOST } = {}) {
    const { stdout } = await run('curl', [...base, '-i', ...flags, '--connect-to', `::127.0.0.1:${toPort}`, `${tls ? 'https' : 'http'}://${host}${target}`],
        { encoding: 'buffer', maxBuffer: 1 << 24 });
    const split = stdout.indexOf('\r\n\r\n');
    const lines = stdout.subarray(0, split).toString('latin1').split('\r\n');
    return { version: lines[0].split(' ')[0], status: Number(lines[0].split(' ')[1]), fields: lines.slice(1).map((l) => l.replace(/^[^:]+/, (n) => n.toLowerCase())), body: stdout.subarray(split + 4) };
}

const VERSIONS = [
    { name: '--http1.0', flags: ['--http1.0'], version: /^HTTP\/1\.[01]$/ },
    { name: '--http1.1', flags: ['--http1.1'], version: /^HTTP\/1\.1$/ },
    { name: '--http2-prior-knowledge', flags: ['--http2-prior-knowledge'], version: /^HTTP\/2$/ },
    { name: '--http2 (TLS)', flags: ['--http2'], tls: true, version: /^HTTP\/2$/ },
    { name: '--http1.1 (TLS)', flags: ['--http1.1'], tls: true, version: /^HTTP\/1\.1$/ },
];

const TARGETS = [
    '/', '/%28local%29/a%2Fb//c?x=%00', '/a/../b/./c', '/a//b///c//', '/%2e%2e/%2E%2e/etc', '/%c3%bc/%E4%BD%A0', '/sp%20ace+plus', "/!$&'()*+,;=:@-._~", '/?', '/??', '/?a=b&a=b&&=',
    '/x?%', '/x?q=%zz', '/x?a[]=1&b{}=2|3', '/path;params=1/x', '/static/a.txt', '/static/%28local%29.txt', '/static/dir%20with%20space/', '/static/dir%20with%20space', '/gone', '/empty', '/moved',
    '/no%00zero', '/%', '/static/none.txt', `/${'long/'.repeat(1000)}?${'q'.repeat(1000)}`,
];

/** Fields that the two legs may differ in. */
const own = /^(date|connection|keep-alive|transfer-encoding|x-request-id|via|alt-svc|strict-transport-security):/;

const answers = new Map();
async function asNginxSaysIt(target) {
    if (!answers.has(target)) answers.set(target, await curl(target, port, { flags: ['--http1.1'] }));
    return answers.get(target);
}

for (const { name, flags, tls, version } of VERSIONS)
    test(`curl ${name}: every path is answered as nginx answers it`, async () => {
        for (const target of TARGETS) {
            const direct = await asNginxSaysIt(target);
            const through = await curl(target, tls ? gateway.tls : gateway.clear, { flags, tls });
            assert.match(through.version, version);
            assert.equal(through.status, direct.status, target);
            assert.deepEqual(through.body.toString('latin1'), direct.body.toString('latin1'), target);
            assert.deepEqual(through.fields.filter((f) => !own.test(f)).sort(), direct.fields.filter((f) => !own.test(f)).sort(), target);
            if (/^\/%28local/.test(target)) assert.equal(String(through.body), `GET|${target}|${HOST}|HTTP/1.1\n`);
        }
    });

test('conditional, ranged, compressed and HEAD requests', async () => {
    const { fields } = await curl('/static/a.txt', port);
    const etag = fields.find((f) => f.startsWith('etag:')).slice(6);
    assert.equal(fields.find((f) => f.startsWith('content-length:')), 'content-length: 26000');
    for (const flags of [['-H', `If-None-Match: ${etag}`], ['-r', '5-20'], ['-r', '0-3,10-12'], ['-H', 'Accept-Encoding: gzip'], ['-I'], ['-X', 'DELETE'], ['-X', 'OPTIONS'], ['-d', 'a=b'], ['-X', 'PROPFIND']])
        for (const how of VERSIONS.slice(1, 4)) {
            const direct = await curl('/static/a.txt', port, { flags: ['--http1.1', ...flags] });
            const through = await curl('/static/a.txt', how.tls ? gateway.tls : gateway.clear, { flags: [...how.flags, ...flags], tls: how.tls });
            assert.equal(through.status, direct.status, `${how.name} ${flags}`);
            const alike = (text) => (flags[1] === '0-3,10-12' ? text.replaceAll(/\d{20}/g, 'boundary') : text); // nginx counts its boundaries up
            assert.equal(alike(through.body.toString('latin1')), alike(direct.body.toString('latin1')), `${how.name} ${flags}`);
        }
});

test('the bare handle, a custom domain, protocol auto and via: direct', async () => {
    for (const host of ['box.computer.test', 'auto--box.computer.test', 'direct--box.computer.test', 'www.customer.example']) {
        const { status, body } = await curl('/%28local%29/a%2Fb//c?x=%00', gateway.clear, { host });
        assert.equal(status, 200, host);
        assert.equal(String(body), `GET|/%28local%29/a%2Fb//c?x=%00|${host}|HTTP/1.1\n`);
    }
    const upper = await curl('/x', gateway.clear, { host: HOST, flags: ['-H', `Host: ${HOST.toUpperCase()}.`] });
    assert.equal(upper.status, 200, 'a host name has no case, and may end with a dot');
    const foreign = await curl('/', gateway.tls, { host: 'www.customer.example', tls: true });
    assert.equal(foreign.status, 421, 'TLS with a certificate that is of other names');
});

test('a hundred requests on one connection are a hundred answers in order', async () => {
    const list = Array.from({ length: 100 }, (_, i) => ['--next', ...base, '--http1.1', '--connect-to', `::127.0.0.1:${gateway.clear}`, `http://${HOST}/n/${i}`]).flat().slice(1);
    const { stdout } = await run('curl', list, { maxBuffer: 1 << 24 });
    assert.equal(stdout, Array.from({ length: 100 }, (_, i) => `GET|/n/${i}|${HOST}|HTTP/1.1\n`).join(''));
});
