// tests/support/proto.mjs — a service of a .proto file, for connect-es.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, basename, join } from 'node:path';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

export function loadService(protoFile, serviceName) {
    const dir = mkdtempSync(join(tmpdir(), 'exec-gateway-proto-'));
    const file = join(dir, 'set.binpb');
    execFileSync('protoc', ['-I', dirname(protoFile), `--descriptor_set_out=${file}`, basename(protoFile)]);
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
    rmSync(dir, { recursive: true, force: true });
    return registry.getService(serviceName);
}
