"""tests/support/echo_origin.py KIND — one server of Python's world on a port that the kernel picks ("listening PORT" on standard output). It answers
every request with 200, no body, and in X-Seen what it made of it: base64 of JSON [method, target, host, base64 of the body, [[name, value] …]]."""
import base64
import json
import socket
import sys


def seen(method, target, host, body, fields):
    document = [method, target, host, base64.b64encode(body).decode(), [[name.lower(), value] for name, value in fields]]
    return base64.b64encode(json.dumps(document).encode("latin-1")).decode()


def wsgi_app(environ, start_response):
    fields = [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key.startswith("HTTP_")]
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if target is None:  # waitress keeps the path as it came nowhere but in its parser
        target = environ["waitress.target"]
    text = seen(environ["REQUEST_METHOD"], target, environ.get("HTTP_HOST"), environ["wsgi.input"].read(), fields)
    start_response("200 OK", [("Content-Length", "0"), ("X-Seen", text)])
    return [b""]


def listening():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def announce(listener):
    print("listening", listener.getsockname()[1], flush=True)


def gunicorn():
    from gunicorn.app.base import BaseApplication

    listener = listening()

    class Echo(BaseApplication):
        def load_config(self):
            self.cfg.set("bind", f"fd://{listener.fileno()}")
            for name, value in {"worker_class": "gthread", "threads": 4, "keepalive": 30, "loglevel": "error", "limit_request_line": 8190,
                                "limit_request_fields": 256, "when_ready": lambda arbiter: announce(arbiter.LISTENERS[0])}.items():
                self.cfg.set(name, value)

        def load(self):
            return wsgi_app

    Echo().run()


def waitress():
    from waitress import create_server
    from waitress.task import WSGITask

    class RawTask(WSGITask):
        def get_environment(self):
            environ = super().get_environment()
            environ["waitress.target"] = self.request.request_uri
            return environ

    listener = listening()
    server = create_server(wsgi_app, sockets=[listener], threads=4, clear_untrusted_proxy_headers=False)
    server.channel_class.task_class = RawTask
    announce(listener)
    server.run()


def cheroot():
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", 0), wsgi_app, numthreads=4)
    server.keep_alive_conn_limit = 1000
    server.prepare()
    announce(server.socket)
    server.serve()


def tornado():
    from tornado.httpserver import HTTPServer
    from tornado.httputil import HTTPHeaders, ResponseStartLine
    from tornado.ioloop import IOLoop

    def echo(request):
        text = seen(request.method, request.uri, request.headers.get("Host"), request.body, request.headers.get_all())
        request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0", "X-Seen": text}), b"")
        request.connection.finish()

    listener = listening()
    listener.setblocking(False)
    HTTPServer(echo).add_sockets([listener])
    announce(listener)
    IOLoop.current().start()


def aiohttp():
    import asyncio
    from aiohttp import web

    def latin(text):
        return text.encode("utf-8", "surrogateescape").decode("latin-1")

    async def echo(request):
        fields = [(latin(name), latin(value)) for name, value in request.headers.items()]
        return web.Response(headers={"X-Seen": seen(request.method, request._message.path, request.headers.get("Host"), await request.read(), fields)})

    async def main():
        listener = listening()
        await asyncio.get_running_loop().create_server(web.Server(echo), sock=listener)
        announce(listener)
        await asyncio.Event().wait()

    asyncio.run(main())


def h11():
    import asyncio
    import h11 as lib

    async def serve(reader, writer):
        conn = lib.Connection(lib.SERVER, max_incomplete_event_size=64 * 1024)
        request, body = None, b""
        try:
            while True:
                event = conn.next_event()
                if event is lib.NEED_DATA:
                    conn.receive_data(await reader.read(65536))
                elif isinstance(event, lib.Request):
                    request, body = event, b""
                elif isinstance(event, lib.Data):
                    body += event.data
                elif isinstance(event, lib.EndOfMessage):
                    fields = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
                    text = seen(request.method.decode(), request.target.decode(), dict(fields).get("host"), body, fields)
                    writer.write(conn.send(lib.Response(status_code=200, headers=[("Content-Length", "0"), ("X-Seen", text)])))
                    writer.write(conn.send(lib.EndOfMessage()))
                    if conn.our_state is lib.MUST_CLOSE:
                        return
                    conn.start_next_cycle()
                else:
                    return
        except lib.RemoteProtocolError as error:
            if conn.our_state in (lib.IDLE, lib.SEND_RESPONSE):
                writer.write(conn.send(lib.Response(status_code=error.error_status_hint, headers=[("Content-Length", "0"), ("Connection", "close")])))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main():
        listener = listening()
        await asyncio.start_server(serve, sock=listener)
        announce(listener)
        await asyncio.Event().wait()

    asyncio.run(main())


globals()[sys.argv[1]]()
