// tests/support/vite_app.mjs — a Vite dev server as `npm run dev` starts it: `node vite_app.mjs NAME PORT FOLDER`. It checks the Host
// header (allowedHosts: localhost alone by default), so it works behind a gateway only through `host_header: localhost`.
import { createServer } from 'vite';

const [, , , port, folder] = process.argv;
const server = await createServer({
    root: folder,
    configFile: false,
    cacheDir: `${folder}/.vite`,
    logLevel: 'error',
    server: { host: '127.0.0.1', port: Number(port), strictPort: true, watch: { usePolling: false } },
});
await server.listen();
console.log(`listening ${server.httpServer.address().port}`);
process.on('SIGTERM', () => server.close().finally(() => process.exit(0)));
