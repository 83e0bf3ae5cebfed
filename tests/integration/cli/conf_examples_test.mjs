// Every configuration in conf/ and docker/ is valid once the files that it names exist.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync, copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { gatewayBin, root } from '../../support/harness.mjs';

const folder = mkdtempSync(join(tmpdir(), 'exec-gateway-conf-'));
after(() => rmSync(folder, { recursive: true }));

const key = join(folder, 'any.key');
const cert = join(folder, 'any.crt');
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=exec.computer.example.com',
    '-keyout', key, '-out', cert], { stdio: 'ignore' });

/** Puts a copy of an example into a folder of its own, beside all files that it names. `active`: comments that are keys are keys. */
function place(example, change = (text) => text) {
    const dir = mkdtempSync(join(folder, 'case-'));
    const text = change(readFileSync(join(root, example), 'utf8')).replaceAll('@DIR@', dir).replaceAll('@PORT@', '8080').replaceAll('@TLS_PORT@', '8443');
    const file = join(dir, 'gateway.yaml');
    writeFileSync(file, text);
    for (const [, name, path] of text.matchAll(/\b(certificate|key|file|ca|password_file|secret_file|client_ca|ticket_keys):\s*"?([^\s,}"#]+)/g)) {
        const place = path.startsWith('/') ? path : join(dir, path);
        mkdirSync(dirname(place), { recursive: true });
        if (name === 'password_file' || name === 'secret_file') writeFileSync(place, 'a-secret-of-more-than-16-characters\n');
        else if (name === 'ticket_keys') writeFileSync(place, Buffer.alloc(80, 7));
        else if (path.endsWith('.yaml')) copyFileSync(join(root, 'conf/routes.yaml'), place);
        else copyFileSync(name === 'certificate' || name === 'ca' || name === 'client_ca' || path.endsWith('.pub.pem') ? cert : key, place);
    }
    return file;
}

for (const example of ['conf/gateway.yaml', 'conf/minimal.yaml', 'conf/demo/gateway.yaml', 'docker/compose-gateway.yaml'])
    test(`${example} passes the check`, () => {
        const done = spawnSync(gatewayBin, ['check', '-c', place(example)], { encoding: 'utf8' });
        assert.equal(done.status, 0, done.stderr);
    });

test('the check is not one that passes everything', () => {
    const done = spawnSync(gatewayBin, ['check', '-c', place('conf/minimal.yaml', (text) => text.replace('listeners:', 'listener:'))], { encoding: 'utf8' });
    assert.notEqual(done.status, 0);
    assert.match(done.stderr, /gateway\.yaml:2:1: .*listener/);
});
