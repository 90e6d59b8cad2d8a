"""Compares what services and clients see of each other directly and through the proxy.

Usage: compare.py PROXY [PART...]

Each client talks to each service twice, through a recorder that stands in front of the service and keeps every byte of both
directions: once directly, once with the proxy in front of the recorder. Both times the client has to print the same, and the recorder
has to have seen the same bytes. The only differences that are let pass are written down in `without_own` and `masked`.
"""

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 30


class Recorder:
    """Passes bytes on to a service, and keeps them: a pair for each connection, in the order of connections."""

    def __init__(self, port):
        self.service = port
        self.connections = []
        self.open = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            kept = [bytearray(), bytearray()]
            self.connections.append(kept)
            self.open += 1
            threading.Thread(target=self.carry, args=(client, kept), daemon=True).start()

    def carry(self, client, kept):
        service = socket.create_connection(("127.0.0.1", self.service))
        for stream in (client, service):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        directions = {client: (service, kept[0]), service: (client, kept[1])}
        while directions:
            for source in select.select(list(directions), [], [])[0]:
                if source not in directions:
                    continue
                to, log = directions[source]
                try:
                    data = source.recv(65536)
                    to.sendall(data) if data else to.shutdown(socket.SHUT_WR)
                except OSError:
                    data = b""
                    directions.clear()
                log.extend(data)
                if not data:
                    directions.pop(source, None)
        client.close()
        service.close()
        self.open -= 1

    def taken(self):
        """What was seen since this was last asked, once all connections have ended."""
        deadline = time.monotonic() + PATIENCE
        while self.open and time.monotonic() < deadline:
            time.sleep(0.02)
        seen, self.connections = self.connections, []
        return [(bytes(sent), bytes(got)) for sent, got in seen]


def started(command, pattern, stream="stdout"):
    """Starts a program, and waits for the line that tells its port."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE if stream == "stderr" else subprocess.DEVNULL}
    process = subprocess.Popen(command, text=True, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}, **pipes)
    for line in getattr(process, stream):
        found = re.search(pattern, line)
        if found:
            # Whatever else it says must not fill the pipe.
            threading.Thread(target=getattr(process, stream).read, daemon=True).start()
            return process, int(found[1])
    raise SystemExit(f"{command} did not start")


def behind_proxy(proxy, port, scheme=""):
    """Starts the proxy in front of a service, and returns it with its port."""
    follow = "parent" if os.environ.get("SETTING") == "followed" else "off"
    words = ["--mode", "inject", "--follow", follow, "--http", f"127.0.0.1:0,{scheme}127.0.0.1:{port}"]
    return started([proxy, *words], r'for HTTP address="http://127\.0\.0\.1:(\d+)"', "stderr")


def without_own(data):
    """The bytes without the one header that the proxy adds."""
    return re.sub(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]\r\n", b"", data)


def masked(data):
    """The bytes without what is another one each time: ports, keys and dates."""
    data = re.sub(rb"127\.0\.0\.1:\d+", b"127.0.0.1:PORT", data)
    data = re.sub(rb"(?i)(sec-websocket-(?:key|accept): )[^\r]*", rb"\1KEY", data)
    return re.sub(rb"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", b"DATE", data)


def curl(*arguments):
    return ["curl", "--silent", "--show-error", "--include", "--max-time", "20", *arguments]


def python(code):
    return [sys.executable, "-c", code, "{url}"]


HTTP_CLIENT = """
import http.client, sys, urllib.parse
to = urllib.parse.urlsplit(sys.argv[1]).netloc
connection = http.client.HTTPConnection(to)
for method, path, body, headers in [
    ("GET", "/len/10", None, {}), ("POST", "/echo", b"x" * 70000, {}), ("HEAD", "/len/5", None, {}),
    ("PUT", "/echo", iter([b"a" * 10, b"b" * 20]), {"X-Odd": " spaced "}), ("DELETE", "/nothing", None, {}),
]:
    connection.request(method, path, body, headers, encode_chunked=not isinstance(body, (bytes, type(None))))
    answer = connection.getresponse()
    print(answer.status, answer.reason, sorted(answer.getheaders()), len(answer.read()))
"""

HTTPX = """
import httpx, sys
with httpx.Client() as client:
    for answer in [client.get(sys.argv[1] + "/len/9?q=%20"), client.post(sys.argv[1] + "/echo", content=b"x" * 9), client.options(sys.argv[1])]:
        print(answer.http_version, answer.status_code, len(answer.content))
"""

HTTPX_2 = """
import httpx, sys
with httpx.Client(http1=False, http2=True) as client:
    for size in (0, 1, 70000, 1000000):
        answer = client.post(sys.argv[1] + "/echo?n=1", content=b"x" * size, headers={"X-A": "1"})
        print(answer.http_version, answer.status_code, sorted(answer.headers.items()), len(answer.content))
    print(client.head(sys.argv[1] + "/len/5").headers, client.get(sys.argv[1] + "/nothing").status_code)
"""

AIOHTTP = """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession() as session:
        for expect in (False, True):
            async with session.put(sys.argv[1] + "/echo", data=b"y" * 100000, expect100=expect) as answer:
                print(answer.status, answer.reason, len(await answer.read()))
        async def one(n):
            async with session.get(f"{sys.argv[1]}/len/{n}") as answer:
                return len(await answer.read())
        print(await asyncio.gather(*(one(n) for n in range(30))))
asyncio.run(main())
"""

WEBSOCKETS = """
import asyncio, sys
from websockets.asyncio.client import connect
async def main():
    async with connect(sys.argv[1].replace("http", "ws"), max_size=None, compression=None) as socket:
        for message in ["hello", "", "x" * 3000000, b"\\0\\1", "y"]:
            await socket.send(message)
            answer = await socket.recv()
            print(type(answer).__name__, len(answer), answer == message)
        await (await socket.ping())
asyncio.run(main())
"""

NODE = """
const http = require("http"), base = process.argv[1];
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ask = (method, path, body) => new Promise((done, fail) => {
  const request = http.request(base + path, { method, agent }, (answer) => {
    let length = 0;
    answer.on("data", (part) => (length += part.length)).on("end", () => done([answer.statusCode, answer.statusMessage, answer.rawHeaders, length]));
  });
  request.on("error", fail);
  request.on("information", (info) => console.log("information", info.statusCode, info.rawHeaders));
  for (const part of body) request.write(part);
  request.end();
});
(async () => {
  console.log(JSON.stringify(await ask("GET", "/len/7", [])));
  console.log(JSON.stringify(await ask("POST", "/echo", ["a".repeat(100), "b"])));
  console.log(JSON.stringify(await ask("GET", "/hints", [])));
  agent.destroy();
})();
"""

NODE_2 = """
const session = require("http2").connect(process.argv[1]);
const once = (emitter, name) => new Promise((done, fail) => { emitter.once(name, (...all) => done(all)); emitter.once("error", fail); });
const ask = (headers, parts) => new Promise((done) => {
  const stream = session.request(headers, { endStream: parts.length === 0 }), seen = [];
  let length = 0;
  stream.on("headers", (headers) => seen.push(["interim", headers[":status"], headers.link]));
  stream.on("response", (headers) => seen.push(["response", headers[":status"], Object.keys(headers).sort()]));
  stream.on("trailers", (headers) => seen.push(["trailers", Object.entries(headers)]));
  stream.on("data", (data) => (length += data.length));
  stream.on("error", (error) => seen.push(["error", error.code]));
  stream.on("close", () => done([headers[":path"], seen, length, stream.rstCode]));
  parts.forEach((part) => stream.write(part));
  if (parts.length) stream.end();
});
(async () => {
  const [settings] = await once(session, "remoteSettings");
  console.log("WebSockets", settings.enableConnectProtocol, "streams", settings.maxConcurrentStreams);
  for (const [headers, parts] of [
    [{ ":path": "/len/70000" }, []],
    [{ ":path": "/hints" }, []],
    [{ ":path": "/echo", ":method": "POST" }, ["a", "b".repeat(300000)]],
    [{ ":path": "/echo", ":method": "POST", expect: "100-continue" }, ["a"]],
    [{ ":path": "/reset" }, []],
    [{ ":path": "/enough", ":method": "POST" }, ["a"]],
    [{ ":path": "/len/5", ":method": "HEAD" }, []],
    [{ ":path": "/nothing", ":method": "DELETE" }, []],
  ]) console.log(JSON.stringify(await ask(headers, parts)));
  for (const headers of [
    { ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat", ":scheme": "http", ":authority": "x" },
    { ":method": "CONNECT", ":authority": "x:1" },
  ]) {
    const tunnel = session.request(headers, { endStream: false });
    const [answer] = await once(tunnel, "response");
    console.log("tunnel", answer[":status"], answer["x-protocol"]);
    for (const word of ["ping", "pong"]) {
      tunnel.write(word);
      console.log(String((await once(tunnel, "data"))[0]));
    }
    tunnel.end();
    await once(tunnel, "end");
  }
  session.close();
})();
"""

# The name, whether the bytes are compared too, and the command, in which `{url}` is where to connect.
HTTP1_CLIENTS = [
    ("curl-get", True, curl("{url}/len/10?a=b", "{url}/len/20")),
    ("curl-1.0", True, curl("--http1.0", "{url}/len/10")),
    ("curl-head", True, curl("--head", "{url}/len/10")),
    ("curl-post", True, curl("--data", "a=b", "{url}/echo", "{url}/echo")),
    ("curl-expect", True, curl("-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked", "-T", "{file}", "{url}/echo")),
    ("curl-put-long", True, curl("-T", "{long}", "{url}/echo", "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}")),
    ("curl-delete", True, curl("-X", "DELETE", "{url}/nothing")),
    ("curl-options", True, curl("-X", "OPTIONS", "--request-target", "*", "{url}")),
    ("curl-custom", True, curl("-X", "PROPFIND", "-H", "x-LOWER: a", "-H", "X-Empty;", "-H", "Cookie: a=b", "{url}/nothing")),
    ("curl-h2c-upgrade", True, curl("--http2", "{url}/len/10", "{url}/len/11")),
    ("curl-range", True, curl("--range", "0-1", "{url}/len/10")),
    ("curl-parallel", False, curl("--parallel", "--no-progress-meter", "{url}/len/1", "{url}/len/1", "{url}/len/1")),
    ("http.client", True, python(HTTP_CLIENT)),
    ("httpx", True, python(HTTPX)),
    ("aiohttp", False, python(AIOHTTP)),
    ("node", True, ["node", "-e", NODE, "{url}"]),
    ("raw-pipelined", True, "pipelined"),
    ("raw-trailers", True, "trailers"),
    ("raw-half-close", True, "half-close"),
    ("raw-malformed", True, "malformed"),
]
OWN_CLIENTS = {
    "websockets": [("websockets", False, python(WEBSOCKETS))],
    "h2": [
        ("curl-h2", False, curl("--http2-prior-knowledge", "{url}/len/10", "{url}/len/300000")),
        # A long one never ends between curl and hypercorn, directly.
        ("curl-h2-put", False, curl("--http2-prior-knowledge", "-T", "{file}", "{url}/echo", "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}")),
        ("httpx-h2", False, python(HTTPX_2)),
    ],
    "node-h2": [
        ("curl-h2", False, curl("--http2-prior-knowledge", "{url}/len/10", "{url}/hints", "-T", "{file}", "{url}/echo")),
        ("node-h2", False, ["node", "-e", NODE_2, "{url}"]),
        ("httpx-h2", False, python(HTTPX_2)),
    ],
}
RAW = {
    "pipelined": b"GET /len/3 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHOST: x\r\nContent-Length: 2\r\n\r\nhiGET /len/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "trailers": b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 1\r\n\r\n",
    "half-close": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
    "malformed": b"GET /len/1 HTTP/1.1\r\nHost : x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
}


def raw(port, kind):
    """Sends bytes, shuts the client's side of it if the case is about that, and returns what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stream:
        stream.sendall(RAW[kind])
        if kind in ("half-close", "malformed"):
            stream.shutdown(socket.SHUT_WR)
        got = b""
        while data := stream.recv(65536):
            got += data
    return got


def run(command, port, files):
    if isinstance(command, str):
        return masked(raw(port, command))
    words = [word.replace("{url}", f"http://127.0.0.1:{port}") for word in command]
    words = [word.replace("{file}", files[0]).replace("{long}", files[1]) for word in words]
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE * 2, check=False)
    return masked(done.stdout + b"%d" % done.returncode + done.stderr)


def compared(client, service, recorder, proxy_port, files):
    kind, with_bytes, command = client
    direct, seen_directly = run(command, recorder.port, files), recorder.taken()
    behind, seen_behind = run(command, proxy_port, files), recorder.taken()
    faults = []
    if direct != behind:
        faults.append(f"the client saw\n  {direct[:2000]!r}\nand through the proxy\n  {behind[:2000]!r}")
    one = [tuple(masked(part) for part in pair) for pair in seen_directly]
    other = [(masked(without_own(asked)), masked(got)) for asked, got in seen_behind]
    if with_bytes and one != other:
        faults.append(f"the service saw\n  {one!r:.2000}\nand through the proxy\n  {other!r:.2000}")
    added = sum(asked.count(b"traceparent: 00-") for asked, _ in seen_behind)
    print(f"{'DIFFERS' if faults else 'same':8} {service:11} {kind:18} {added:3} contexts {len(one)} connections", flush=True)
    for fault in faults:
        print(fault)
    return not faults


def load(proxy_port, recorder):
    """wrk through the proxy: as many answers as requests, and no error."""
    if not shutil.which("wrk"):
        print("left out: there is no wrk")
        return True
    done = subprocess.run(
        ["wrk", "-t1", "-c16", "-d2s", f"http://127.0.0.1:{proxy_port}/len/100"], capture_output=True, text=True, check=False
    )
    fine = done.returncode == 0 and "requests in" in done.stdout
    fine = fine and not re.search(r"Non-2xx|Socket errors", done.stdout)
    print("same    " if fine else "DIFFERS ", "wrk:", " ".join(done.stdout.split())[:200], done.stderr)
    recorder.taken()
    return fine


def main():
    proxy, parts = sys.argv[1], sys.argv[2:]
    services = parts or ["h11", "uvicorn", "aiohttp", "node", "websockets", "h2", "node-h2"]
    same, compared_count = True, 0
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("short", "long")]
        for path, size in zip(files, (5_000, 8_000_000)):
            with open(path, "wb") as file:
                file.write(os.urandom(size))
        for service in services:
            if service.startswith("node") and not shutil.which("node"):
                print("left out: there is no node")
                continue
            behind, port = started([sys.executable, os.path.join(HERE, "services.py"), service], r"^(\d+)$")
            recorder = Recorder(port)
            scheme = "h2://" if "h2" in service else ""
            front, proxy_port = behind_proxy(proxy, recorder.port, scheme)
            for client in OWN_CLIENTS.get(service, HTTP1_CLIENTS):
                if client[0].startswith("node") and not shutil.which("node"):
                    continue
                same &= compared(client, service, recorder, proxy_port, files)
                compared_count += 1
            if service in ("uvicorn", "node"):
                same &= load(proxy_port, recorder)
            for process in (front, behind):
                process.terminate()
                process.wait(PATIENCE)
    print(f"{compared_count} pairs of a client and a service compared")
    sys.exit(0 if same and compared_count else 1)


if __name__ == "__main__":
    main()
