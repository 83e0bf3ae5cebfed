// tests/support/moving_routes.mjs — computers and hosts whose records change in Redis all the while, with a memory of what was in force
// when, so that an answer can be judged.
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const chance = (share) => Math.random() < share;

/** What a record was over time: [{ from, until, value }]; `until` is when the last trace of it must be gone. */
class History {
    constructor(value, graceMs) {
        this.graceMs = graceMs;
        this.items = [{ from: 0, until: Infinity, value }];
    }

    get latest() { return this.items.at(-1).value; }

    /**
     * The change is sent now: from now on an answer may follow it, whether or not Redis has told this process that it is done. Returns
     * what to call when it is: the record before ends its grace then.
     */
    change(value) {
        const before = this.items.at(-1);
        this.items.push({ from: performance.now(), until: Infinity, value });
        if (this.items.length > 64) this.items.shift();
        return () => { before.until = performance.now() + this.graceMs; };
    }

    between(start, end) { return this.items.filter((item) => item.from <= end && item.until >= start).map((item) => item.value); }
}

export class MovingRoutes {
    /** `farm`: of farm.mjs, each with its lives; `hostCount` hosts are spread over them. */
    constructor(farm, hostCount, graceMs) {
        this.farm = farm;
        this.computers = farm.map(() => new History({ life: 0, boot: 1, state: 'running' }, graceMs));
        this.hosts = Array.from({ length: hostCount }, (_, i) => {
            const name = i % 5 === 0 ? `h${i}.computer.test` : `${3000 + (i % 7)}--h${i}.computer.test`;
            return { name, history: new History(this.randomRoute(i % farm.length), graceMs), isBusy: false };
        });
        this.busyComputers = new Set();
        this.recent = [];
        this.changes = 0;
    }

    randomRoute(computer = Math.floor(Math.random() * this.farm.length)) {
        const index = Math.floor(Math.random() * this.farm[computer].ports.length);
        const { port, protocol } = this.farm[computer].ports[index];
        return {
            computer, index, port, via: chance(0.75) ? 'agent' : 'direct', visibility: chance(0.5) ? 'public' : 'session',
            protocol: protocol === 'h2c' ? 'h2c' : pick(['http1', 'auto']),
        };
    }

    async putAll(redis) {
        const writes = this.computers.map((history, c) => this.writeComputer(redis, c, history.latest));
        for (const host of this.hosts) writes.push(this.writeHost(redis, host.name, host.history.latest));
        this.farm.forEach(({ id }, c) => writes.push(redis.send('HSET', `session:{acs_${c}}`, 'kind', 'browser', 'computer', id, 'user', 'usr_1')));
        await Promise.all(writes);
    }

    writeComputer(redis, c, { life, boot, state }) {
        const { id, lives } = this.farm[c];
        return redis.send('HSET', `computer:{${id}}`, 'state', state, 'agent', lives[life].agent, 'boot', boot);
    }

    writeHost(redis, name, route) {
        if (route === null) return redis.send('DEL', `host:{${name}}`);
        const { id } = this.farm[route.computer];
        return redis.send('HSET', `host:{${name}}`, 'computer', id, 'port', route.port, 'via', route.via, 'visibility', route.visibility, 'protocol', route.protocol);
    }

    /** One random change: a host moves, goes, comes back; a computer boots anew elsewhere, stops, starts. */
    async changeSomething(redis) {
        this.changes++;
        if (chance(0.8)) {
            const host = pick(this.hosts);
            if (host.isBusy) return;
            host.isBusy = true;
            const now = host.history.latest;
            const next = now !== null && chance(0.1) ? null : this.randomRoute(now !== null && chance(0.4) ? now.computer : undefined);
            await this.apply(host.history, next, () => this.writeHost(redis, host.name, next));
            host.isBusy = false;
            this.recent = [host, ...this.recent.slice(0, 19)];
            return;
        }
        const c = Math.floor(Math.random() * this.farm.length);
        if (this.busyComputers.has(c)) return;
        this.busyComputers.add(c);
        const now = this.computers[c].latest;
        const life = Math.floor(Math.random() * this.farm[c].lives.length);
        const next = now.state === 'running' && chance(0.3) ? { ...now, state: 'stopped' } : { life, boot: now.boot + 1, state: 'running' };
        await this.apply(this.computers[c], next, () => this.writeComputer(redis, c, next));
        this.busyComputers.delete(c);
    }

    async apply(history, next, write) {
        const isDone = history.change(next);
        await write();
        isDone();
    }

    randomHost() { return this.recent.length > 0 && chance(0.4) ? pick(this.recent) : pick(this.hosts); }

    /**
     * What a request for `host` with the token of computer `tokenOf` (or none: null) may get between the two times:
     * { names: Set of who may answer, statuses: Set, changed: whether anything moved meanwhile }.
     */
    allowed(host, tokenOf, start, end) {
        const names = new Set();
        const statuses = new Set();
        const routes = host.history.between(start, end);
        let changed = routes.length > 1;
        for (const route of routes) {
            if (route === null) {
                statuses.add(404);
                continue;
            }
            const states = this.computers[route.computer].between(start, end);
            changed ||= states.length > 1;
            if (route.visibility === 'session' && tokenOf !== route.computer) statuses.add(tokenOf === null ? 401 : 403);
            else for (const { life, state } of states)
                if (state === 'running') names.add(this.farm[route.computer].names[route.index][life]);
                else statuses.add(503);
        }
        return { names, statuses, changed };
    }
}
