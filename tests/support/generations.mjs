// tests/support/generations.mjs — a gateway that replaces itself (SIGUSR2): which process serves now, and the wait for those that drain.
// All generations write to the pipe of the first, so `gateway.err` has every line.
import { readdirSync, readFileSync } from 'node:fs';
import { sleep, until } from './harness.mjs';

const isAlive = (pid) => { try { process.kill(pid, 0); return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')); } catch { return false; } };

export class Generations {
    constructor(gateway) {
        this.gateway = gateway;
        this.pids = [gateway.pid];
        this.most = 1;
    }

    get pid() { return this.pids.at(-1); }

    alive() {
        const count = this.pids.filter((pid) => (pid === this.gateway.pid ? !this.gateway.exited : isAlive(pid))).length;
        this.most = Math.max(this.most, count);
        return count;
    }

    signal(name) { process.kill(this.pid, name); }

    #served() { return [...this.gateway.err.matchAll(/upgrade: the new program serves pid=(\d+)/g)].map((match) => Number(match[1])); }

    /** SIGUSR2, until the next generation serves. */
    async upgrade(ms = 60000) {
        const before = this.#served().length;
        this.signal('SIGUSR2');
        await until(() => this.#served().length > before, `no new generation\n${this.gateway.err.slice(-3000)}`, ms);
        this.pids.push(this.#served().at(-1));
        this.alive();
        return this.pid;
    }

    /** Until the previous generation has ended by itself. */
    alone(ms = 60000) {
        return until(() => this.alive() === 1, `an old generation does not end\n${this.gateway.err.slice(-3000)}`, ms);
    }

    fds(pid = this.pid) { return readdirSync(`/proc/${pid}/fd`).length; }

    /** Ends the last one in order. Before rig.stop(), which knows the first alone. */
    async stop(ms = 20000) {
        if (this.pid === this.gateway.pid) return;
        if (isAlive(this.pid)) this.signal('SIGTERM');
        for (const end = Date.now() + ms; isAlive(this.pid); await sleep(20))
            if (Date.now() > end) { process.kill(this.pid, 'SIGKILL'); throw new Error(`generation ${this.pid} did not end\n${this.gateway.err.slice(-3000)}`); }
    }
}
