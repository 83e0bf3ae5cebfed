// What the gateway lets through of requests that are nearly right is one message to every server behind it; what it refuses is closed. Thousands of
// mutants go to a published port whose app keeps the bytes that reach it; each message it got is asked of eight origin servers, with a sentinel behind
// it on the same connection: all read the same method, target, host, body and fields, and then the sentinel. Made again with DIFFERENTIAL_SEED and
// DIFFERENTIAL_COUNT (10000 is the long run).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Rig, sleep, startPatience } from '../support/harness.mjs';
import { takeRequest, takeResponses } from '../support/h1_messages.mjs';
import { recordingApp } from '../support/recording_app.mjs';
import { mutantOf, seedsFor } from '../support/request_mutants.mjs';
import { askOrigin, startOrigins } from '../support/origins.mjs';
import { faultOf } from '../support/origin_rules.mjs';
import { within } from './attack_rig.mjs';

const HOST = 'app--diff.computer.test';
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 1);
const COUNT = Number(process.env.DIFFERENTIAL_COUNT ?? 3000);
const CLIENTS = 24; // mutants on their way at once
const ASKERS = 12; // messages at once, each with all origins
const SETTLED_MS = 40; // an answer came and nothing behind it: that was all
const UNANSWERED_MS = 400; // the mutant's end is missing
const CLOSED_MS = within(10000);
const ANSWERED_MS = within(20000);
const FRAMING = new Set([400, 408, 413, 414, 417, 431, 501, 505]); // after these nobody knows where the next request begins

const rig = new Rig();
let app, gateway, origins;

before(async () => {
    app = await recordingApp();
    const agent = await rig.startAgent();
    const hosts = { [HOST]: { port: app.port, visibility: 'public' } };
    [gateway, origins] = await Promise.all([rig.startPortsGateway({ agent, hosts, config: { drain_timeout: '200ms' } }), startOrigins(rig)]);
});
after(async () => {
    app?.stop();
    origins?.stop();
    await rig.stop();
});

/** Each mutant comes from an address of its own, which the gateway tells the app. */
const addressOf = (number) => `127.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;

const show = (text) => JSON.stringify(text.length > 1500 ? `${text.slice(0, 1500)}…` : text);

const ENOUGH = 20; // faults: what is wrong everywhere is not waited for everywhere

/** Runs `work` over `items`, `width` at a time, until `faults` are enough. */
async function forAll(items, width, faults, work) {
    const queue = items[Symbol.iterator]();
    await Promise.all(Array.from({ length: width }, async () => {
        for (let next = queue.next(); !next.done && faults.length < ENOUGH; next = queue.next()) await work(next.value);
    }));
}

const mustClose = (response) => FRAMING.has(response.status) || response.fields.get('connection') === 'close';

/**
 * Sends `text` from an address of its own. Resolves with { responses, gaveUp: no answer came within `patience`, isOpen: it should have been closed }.
 */
function send(number, text, patience = within(UNANSWERED_MS)) {
    return new Promise((done) => {
        const socket = connect({ port: gateway.clear, host: '127.0.0.1', localAddress: addressOf(number) });
        const outcome = { responses: [], gaveUp: false, isOpen: false };
        let got = '';
        const onQuiet = () => {
            const last = outcome.responses.at(-1);
            outcome.gaveUp = last === undefined;
            outcome.isOpen = last !== undefined && mustClose(last);
            socket.destroy();
        };
        let cancel = startPatience(patience, onQuiet);
        socket.on('connect', () => socket.write(Buffer.from(text, 'latin1')));
        socket.on('data', (chunk) => {
            got += chunk.toString('latin1');
            outcome.responses = takeResponses(got);
            const last = outcome.responses.at(-1);
            cancel();
            cancel = startPatience(last === undefined ? patience : mustClose(last) ? CLOSED_MS : within(SETTLED_MS), onQuiet);
        });
        socket.on('error', () => {});
        socket.on('close', () => { cancel(); done(outcome); });
    });
}

/** What differs in every request that the gateway forwards, so that equal messages are asked about once. */
const DRAWN = [/(?<=\r\nx-request-id: )[0-9a-f]{32}(?=\r\n)/, /(?<=\r\ntraceparent: )[0-9a-f-]{55}(?=\r\n)/, /(?<=\r\nx-forwarded-for: )127\.[0-9.]+(?=\r\n)/];

/** The messages that reached the app for that client: { text, meaning }. */
function recordedOf(number) {
    return (app.byAddress.get(addressOf(number)) ?? []).map((recorded) => {
        const text = DRAWN.reduce((rest, pattern) => rest.replace(pattern, 'drawn'), recorded.text);
        return { text, meaning: takeRequest(text).meaning };
    });
}

/** All faults of all origins with these messages, and which rules were needed. */
async function faultsOf(messages) {
    const faults = [];
    const used = new Map();
    await forAll(messages, ASKERS, faults, async (message) => {
        const answers = await Promise.all(origins.all.map((origin) => askOrigin(origin, message.text, ANSWERED_MS)));
        for (const [i, answer] of answers.entries()) {
            const fault = faultOf(origins.all[i].name, message, answer, (rule) => used.set(rule, (used.get(rule) ?? 0) + 1));
            if (fault) faults.push(`${fault}\n  message: ${show(message.text)}`);
        }
    });
    return { faults, used };
}

const reportOf = (faults) => `${faults.length} faults, seed ${SEED}; the first of them:\n${faults.slice(0, 12).join('\n')}`;

test('every well-formed seed reaches the app once, and all origins read it alike', async () => {
    const seeds = seedsFor(HOST);
    const numberOf = (i) => COUNT + i;
    await Promise.all(seeds.map(async (text, i) => {
        const { responses } = await send(numberOf(i), text, ANSWERED_MS);
        assert.deepEqual(responses.map((r) => r.status), [200], text);
    }));
    const messages = seeds.flatMap((_, i) => recordedOf(numberOf(i)));
    assert.equal(messages.length, seeds.length);
    const { faults } = await faultsOf(messages);
    assert.equal(faults.length, 0, reportOf(faults));
});

test(`${COUNT} mutants: refused and closed, or one message to everybody`, async (t) => {
    const began = performance.now();
    const faults = [];
    const outcomes = new Map();
    const statuses = {};
    await forAll(Array(COUNT).keys(), CLIENTS, faults, async (number) => {
        const mutant = mutantOf(SEED, number, HOST);
        const outcome = await send(number, mutant.text);
        outcomes.set(number, { mutant, ...outcome });
        if (outcome.isOpen) faults.push(`open after a refusal: mutant ${number} (${mutant.applied.join(', ')}): ${show(mutant.text)}`);
    });
    await sleep(within(300)); // what was cut off may still be on its way to the app
    const sent = performance.now();

    const unique = new Map();
    let forwarded = 0, refused = 0, unanswered = 0, silent = 0;
    for (const [number, { mutant, responses, gaveUp }] of outcomes) {
        const recorded = recordedOf(number);
        const blame = (what) => faults.push(`${what}: mutant ${number} (${mutant.applied.join(', ')}): ${show(mutant.text)}\n  answers: ${responses.map((r) => r.status)}; app got: ${show(recorded.map((r) => r.text).join('|'))}`);
        const answered = responses.filter((r) => r.status === 200).length;
        for (const { status } of responses) statuses[status] = (statuses[status] ?? 0) + 1;
        for (const message of recorded) unique.set(message.text, message);
        if (recorded.length > 0) forwarded++;
        else if (responses.length > 0) refused++;
        else if (gaveUp) unanswered++;
        else silent++;
        if (responses.some((r) => r.status < 200 || (r.status !== 200 && r.status < 400))) blame('no answer of ours');
        if (answered > recorded.length) blame('answered, though the app never heard of it');
        if (FRAMING.has(responses.at(-1)?.status) && recorded.length > answered) blame('refused, and yet it reached the app');
    }
    for (const { error, text } of app.faults) faults.push(`the app cannot delimit what it got (${error}): ${show(text)}`);

    const { faults: differences, used } = await faultsOf([...unique.values()]);
    faults.push(...differences);
    t.diagnostic(`seed ${SEED}, ${COUNT} mutants: ${forwarded} forwarded (${unique.size} different messages to ${origins.all.length} origins), ${refused} refused, ${unanswered} without an end, ${silent} closed silently`);
    t.diagnostic(`answers ${JSON.stringify(statuses)}; stricter origins ${JSON.stringify(Object.fromEntries(used))}`);
    t.diagnostic(`sent in ${Math.round(sent - began)} ms, asked in ${Math.round(performance.now() - sent)} ms`);
    assert.equal(faults.length, 0, reportOf(faults));
    assert.ok(forwarded > COUNT / 8, `only ${forwarded} were forwarded`);
    assert.ok(refused > COUNT / 4, `only ${refused} were refused`);
    assert.ok(silent <= COUNT / 100, `${silent} closed without a word`);
    assert.ok(unanswered < COUNT / 4, `${unanswered} without an end`);
});
