"""The services behind the port: python services.py KIND prints the port on which it listens.

KIND is h11 (a server on h11, with interim responses and trailers), uvicorn (on httptools), aiohttp, node, websockets, h2 (hypercorn,
which speaks HTTP/2 to who begins with it) or node-h2 (the same of Node, with interim responses, trailers and tunnels). All but
websockets answer alike:

  /echo   the content of the request goes back, in chunks if it came in chunks
  /len/N  N bytes, with their length
  /hints  103 Early Hints, and then an answer (h11 and node-h2 only)
  /reset  a reset of the stream, and /enough an answer without the rest of the request (node-h2 only)
  /close  an answer that ends with the connection
  else    404
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading

import h11


def bound():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    return listener


def h11_connection(stream):
    connection = h11.Connection(h11.SERVER)

    def send(event):
        data = connection.send(event)
        if data:
            stream.sendall(data)

    def event():
        while True:
            found = connection.next_event()
            if found is not h11.NEED_DATA:
                return found
            if connection.they_are_waiting_for_100_continue:
                send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Go On"))
            connection.receive_data(stream.recv(65536))

    while True:
        request = event()
        if not isinstance(request, h11.Request):
            return
        content, trailers, found = [], [], event()
        while isinstance(found, h11.Data):
            content.append(bytes(found.data))
            found = event()
        if isinstance(found, h11.EndOfMessage):
            trailers = list(found.headers)
        path, headers, body = request.target.split(b"?")[0], [("X-Case", "Kept"), ("x-case", "kept")], b""
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        status = 200
        if path == b"/echo":
            body = b"".join(content)
        elif path.startswith(b"/len/"):
            body = b"x" * int(path[5:])
        elif path == b"/hints":
            send(h11.InformationalResponse(status_code=103, headers=[("Link", "</a.css>")], reason=b"Early Hints"))
        elif path == b"/close":
            headers.append(("Connection", "close"))
        else:
            status = 404
        if not chunked:
            headers.append(("Content-Length", str(len(body))))
        send(h11.Response(status_code=status, headers=headers, reason=b"As You Like"))
        if request.method != b"HEAD":
            for part in content if chunked else [body]:
                send(h11.Data(data=part))
        send(h11.EndOfMessage(headers=trailers if chunked and request.method != b"HEAD" else []))
        if connection.our_state is h11.MUST_CLOSE:
            return
        connection.start_next_cycle()


def serve_h11():
    def serve(stream):
        try:
            h11_connection(stream)
        except (OSError, h11.RemoteProtocolError):
            pass
        stream.close()

    listener = bound()
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


async def asgi(scope, receive, send):
    """The same for ASGI, without what ASGI has not got."""
    if scope["type"] != "http":
        return
    content, more = b"", True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    path, status, body = scope["path"], 200, b""
    if path == "/echo":
        body = content
    elif path.startswith("/len/"):
        body = b"x" * int(path[5:])
    else:
        status = 404
    headers = [(b"content-length", str(len(body)).encode()), (b"x-case", b"kept")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_uvicorn():
    import uvicorn

    config = uvicorn.Config(asgi, log_level="critical", http="httptools", date_header=False, lifespan="off")
    asyncio.run(uvicorn.Server(config).serve(sockets=[bound()]))


def serve_aiohttp():
    from aiohttp import web

    async def handle(request):
        content = await request.read()
        if request.path == "/echo":
            return web.Response(body=content)
        if request.path.startswith("/len/"):
            return web.Response(body=b"x" * int(request.path[5:]))
        return web.Response(status=404)

    async def run():
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.SockSite(runner, bound()).start()
        await asyncio.Event().wait()

    asyncio.run(run())


def serve_websockets():
    from websockets.asyncio.server import serve

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def run():
        async with serve(echo, sock=bound(), max_size=None):
            await asyncio.Event().wait()

    asyncio.run(run())


def serve_h2():
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listener, config = bound(), Config()
    config.bind, config.include_date_header, config.accesslog = [f"fd://{listener.fileno()}"], False, None
    asyncio.run(serve(asgi, config))


NODE = """
const server = require("http").createServer((request, response) => {
  response.sendDate = false;
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const path = request.url.split("?")[0];
    if (path === "/echo") response.end(Buffer.concat(parts));
    else if (path.startsWith("/len/")) response.end("x".repeat(Number(path.slice(5))));
    else { response.statusCode = 404; response.end(); }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""

NODE_2 = """
const http2 = require("http2");
const server = http2.createServer({ settings: { enableConnectProtocol: true, maxConcurrentStreams: 50 } });
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const path = (headers[":path"] || "").split("?")[0], plain = { ":status": 200 }, options = { sendDate: false };
  if (headers[":method"] === "CONNECT") {
    stream.respond({ ":status": 200, "x-protocol": headers[":protocol"] || "none" }, options);
    stream.pipe(stream);
  } else if (path === "/echo") {
    stream.respond({ ":status": 200, "x-case": "kept" }, { ...options, waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1" }));
    stream.pipe(stream);
  } else if (path === "/hints") {
    for (const file of ["a", "b"]) stream.additionalHeaders({ ":status": 103, link: `</${file}.css>; rel=preload` });
    stream.respond(plain, options);
    stream.end("hinted");
  } else if (path === "/reset") {
    stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
  } else if (path === "/enough") {
    stream.respond({ ":status": 413 }, options);
    stream.end("enough");
    stream.on("finish", () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
  } else if (path.startsWith("/len/")) {
    stream.respond({ ":status": 200, "content-length": path.slice(5) }, options);
    stream.end("x".repeat(Number(path.slice(5))));
  } else {
    stream.respond({ ":status": 404 }, { ...options, endStream: true });
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""

if __name__ == "__main__":
    kind = sys.argv[1]
    if kind.startswith("node"):
        code = NODE_2 if kind == "node-h2" else NODE
        sys.exit(subprocess.run(["node", "-e", code], env=os.environ, check=False).returncode)
    globals()[f"serve_{kind}"]()
