"""A proxy that has measured operations of every kind, with a Redis and an HTTP service that are played here."""

import contextlib
import os
import re
import socket
import socketserver
import subprocess
import threading

CHANNEL, WITH_ID = b"reports", b"user:12345678"
HTTP_ANSWER = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Redis(socketserver.StreamRequestHandler):
    """Answers the commands that are sent here: with one receiver, a message, or an error."""

    def handle(self):
        while (line := self.rfile.readline()).startswith(b"*"):
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
            name = words[0].upper()
            if name == b"PUBLISH":
                refused = words[1] == WITH_ID
                self.wfile.write(b"-NOPERM no access\r\n" if refused else b":1\r\n")
            elif name == b"SUBSCRIBE":
                channel = b"$%d\r\n%s\r\n" % (len(words[1]), words[1])
                self.wfile.write(b"*3\r\n$9\r\nsubscribe\r\n" + channel + b":1\r\n")
                # In mode `inject` it has a span without a context.
                self.wfile.write(b"*3\r\n$7\r\nmessage\r\n" + channel + b"$1\r\nx\r\n")
            else:
                self.wfile.write(b"-ERR refused\r\n")


class Service(socketserver.StreamRequestHandler):
    """Answers one HTTP request with an error."""

    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(HTTP_ANSWER)


@contextlib.contextmanager
def served(handler):
    """The address of a server with this handler."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield "127.0.0.1:%d" % server.server_address[1]
        finally:
            server.shutdown()


def ask(address, request, until):
    """Sends a request and reads until its answer ends in `until`."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(until):
            more = connection.recv(4096)
            if not more:
                raise EOFError(f"{request!r} was answered by {answer!r}")
            answer += more


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@contextlib.contextmanager
def measured_proxy(program):
    """The address of the admin port of a proxy that has measured publishes, a delivery, a command and a request."""
    with served(Redis) as redis, served(Service) as service:
        arguments = [program, "--listen", "127.0.0.1:0", "--upstream", f"redis://{redis}", "--admin", "0"]
        arguments += ["--http", f"127.0.0.1:0,{service}", "--commands", "all", "--mode", "inject", "--follow", "off"]
        arguments += ["--detect-proxies", "off"]
        environment = {"PATH": os.environ["PATH"], "OTEL_SERVICE_NAME": "api", "OTEL_TRACES_EXPORTER": "none"}
        with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                said = {"listening address": None, "listening for HTTP address": None, "admin port address": None}
                while None in said.values():
                    line = process.stderr.readline()
                    assert line, "the proxy has ended"
                    for what in said:
                        if found := re.search(rf'{what}="?(?:http://)?([^\s"]+)', line):
                            said[what] = found[1]
                threading.Thread(target=process.stderr.read, daemon=True).start()
                listen, http, admin = said.values()
                for channel in (CHANNEL, WITH_ID):
                    ask(listen, resp(b"PUBLISH", channel, b"x"), b"\r\n")
                    ask(listen, resp(b"SUBSCRIBE", channel), b"$1\r\nx\r\n")
                ask(listen, resp(b"GET", b"key"), b"\r\n")
                ask(http, b"GET /orders/7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", HTTP_ANSWER)
                yield admin
            finally:
                process.terminate()
