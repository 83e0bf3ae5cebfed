// tests/support/faults.mjs — a gateway under libfaults.so (faults.c), and what it is told.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, until } from './harness.mjs';

/** Environment of a gateway that the library is loaded into. */
export function faultsEnv(rig) {
    return { LD_PRELOAD: join(buildDir, 'tests/libfaults.so'), FAULTS_FILE: rig.path('faults'), FAULTS_SEED: String(process.env.FAULTS_SEED ?? 1) };
}

/** Words for the library; resolves when they are in force, with what was done under the words before: { recv: 12, … }. */
export async function setFaults(rig, gateway, words) {
    rmSync(rig.path('faults.done'), { force: true });
    writeFileSync(rig.path('faults.new'), words);
    renameSync(rig.path('faults.new'), rig.path('faults'));
    await until(async () => {
        if (gateway.exited) throw new Error(`the gateway ended: ${JSON.stringify(await gateway.exit)}\n${gateway.err.slice(-2000)}`);
        return existsSync(rig.path('faults.done')) && readFileSync(rig.path('faults.done'), 'utf8').includes('openssl=');
    }, 'the library does not answer');
    return Object.fromEntries(readFileSync(rig.path('faults.done'), 'utf8').trim().split(' ').map((pair) => pair.split('=')).map(([name, count]) => [name, Number(count)]));
}
