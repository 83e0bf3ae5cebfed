// attack_rig.mjs — a gateway with two computers: cmp_1 is what the attack goes to (a scripted agent that counts, or a real one),
// cmp_2 has a real agent and a bystander who calls it all the while and must notice nothing.
import http2 from 'node:http2';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Rig, isSanitized, rssKiB, sleep } from '../support/harness.mjs';

export class AttackRig extends Rig {
    /** `target`: an agent with `.address`; absent: the real one, too. `route`: more fields of cmp_1. */
    async setUp({ target, route = {}, ...gateway } = {}) {
        this.agent = await this.startAgent();
        const routes = {
            computers: {
                cmp_1: { state: 'running', agent: (target ?? this.agent).address, boot: '1', ...route },
                cmp_2: { state: 'running', agent: this.agent.address, boot: '1' },
            },
            sessions: {},
        };
        this.gateway = await this.startGateway({ routes, ...gateway, config: { drain_timeout: '200ms', ...gateway.config } });
        this.attackToken = this.token({ computer: 'cmp_1', session: 'ses_1' });
        this.quietToken = this.token({ computer: 'cmp_2', session: 'ses_2' });
        this.port = this.gateway.port;
    }

    /** Fields of a request to cmp_1. */
    fields(path = '/process.Process/List', more = {}) {
        return { ':method': 'POST', ':scheme': 'http', ':authority': 'exec.computer.test', ':path': path, authorization: `Bearer ${this.attackToken}`, 'content-type': 'application/json', ...more };
    }

    async startBystander() {
        const session = http2.connect(this.gateway.url, { rejectUnauthorized: false });
        const bystander = { times: [], failures: 0, running: true };
        session.on('error', () => { bystander.failures++; });
        await once(session, 'connect');
        const one = () => new Promise((done) => {
            const began = performance.now();
            const stream = session.request({ ':method': 'POST', ':path': '/process.Process/List', 'content-type': 'application/json', authorization: `Bearer ${this.quietToken}` });
            let status = 0;
            stream.on('response', (head) => { status = head[':status']; });
            stream.on('error', () => {});
            stream.resume();
            stream.on('close', () => { bystander.times.push(performance.now() - began); if (status !== 200) bystander.failures++; done(); });
            stream.end('{}');
        });
        await one(); // warm
        bystander.times = [];
        const loop = (async () => { while (bystander.running) { await one(); await sleep(10); } })();
        bystander.stop = async () => {
            bystander.running = false;
            await loop;
            session.close();
            const sorted = bystander.times.sort((a, b) => a - b);
            bystander.p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))];
            return bystander;
        };
        return bystander;
    }

    /** Runs `attack` beside a bystander; the RSS may grow by `rssMiB` at most. */
    async besideBystander(attack, { rssMiB = 32, p99 = 300 } = {}) {
        const before = rssKiB(this.gateway.pid);
        const bystander = await this.startBystander();
        try {
            await attack();
        } finally {
            await bystander.stop();
        }
        const grown = (rssKiB(this.gateway.pid) - before) / 1024;
        assert.equal(bystander.failures, 0, 'the bystander noticed');
        // The test's own process floods on the same two cores: generous.
        assert.ok(bystander.p99 < (isSanitized ? 4 * p99 : p99), `bystander's p99 was ${bystander.p99} ms of ${bystander.times.length} calls`);
        assert.ok(grown < (isSanitized ? 6 * rssMiB : rssMiB), `RSS grew by ${grown} MiB`);
        return { grown, p99: bystander.p99 };
    }
}

export const within = (ms) => (isSanitized ? 3 * ms : ms);
