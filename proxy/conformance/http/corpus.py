"""The cases by which llhttp, the parser of Node and of aiohttp, is tested: requests and responses as bytes, good ones and bad ones.

Usage: corpus.py PROXY FOLDER [PART...]

FOLDER is llhttp's `test`. Each request is sent to each service, and each response is given to each client, directly and through the
proxy. What the other side gets has to be the same.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading

from compare import HERE, PATIENCE, Recorder, behind_proxy, masked, started, without_own

# How often a case is tried at most.
ATTEMPTS = 5

CASE = re.compile(r"^## (.+?)$|^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def bytes_of(text):
    """The bytes that a case stands for, by llhttp's notation."""
    text = re.sub(r"\\\n", "", text.removesuffix("\n")).replace("\n", "\r\n")
    text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    for written, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(written, meant)
    return text.encode("latin-1", "replace")


def cases(folder, kind):
    """Pairs of a name and bytes, of the files of a kind."""
    for file in sorted(os.listdir(os.path.join(folder, kind))):
        with open(os.path.join(folder, kind, file), encoding="utf-8") as opened:
            title = ""
            for found in CASE.finditer(opened.read()):
                if found[1]:
                    title = found[1]
                else:
                    yield f"{file.removesuffix('.md')}: {title}", bytes_of(found[2])


def exchange(port, data):
    """Sends bytes, shuts that side, and returns what comes back and how it ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stream:
        try:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while more := stream.recv(65536):
                got += more
        except ConnectionError:
            # Whoever closes with unread bytes resets, and that may come before or behind what was sent.
            pass
    return masked(got)


class Replay:
    """A service that gives the bytes `answer` to whoever has sent a head, and closes."""

    def __init__(self):
        self.answer = b""
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            stream, _ = self.listener.accept()
            with stream:
                head = b""
                while b"\r\n\r\n" not in head and (more := stream.recv(65536)):
                    head += more
                stream.sendall(self.answer)


def by_curl(port, _):
    words = ["curl", "--silent", "--include", "--raw", "--max-time", "20", f"http://127.0.0.1:{port}/x"]
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout


class Tally:
    """The cases that were the same, and those that were not."""

    def __init__(self):
        self.same, self.different = 0, []

    def compare(self, name, ask):
        """Asks directly and through the proxy, by `ask(behind)`.

        A service that is shut off while it works may answer still or not, whichever comes first. So a case is tried again until both
        ways have had the same outcome.
        """
        outcomes = [], []
        for _ in range(ATTEMPTS):
            for behind in (False, True):
                outcomes[behind].append(ask(behind))
            if any(outcome in outcomes[True] for outcome in outcomes[False]):
                self.same += 1
                return
        self.different.append(name)
        direct, proxied = outcomes[False][-1], outcomes[True][-1]
        print(f"DIFFERS  {name}\n  {direct!r:.1000}\nand through the proxy\n  {proxied!r:.1000}", flush=True)


def requests(proxy, folder, service, tally):
    """Each request to one service: what the service and the client see."""
    behind, port = started([sys.executable, os.path.join(HERE, "services.py"), service], r"^(\d+)$")
    recorder = Recorder(port)
    front, proxy_port = behind_proxy(proxy, recorder.port)
    for name, data in cases(folder, "request"):

        def ask(behind, data=data):
            got = exchange(proxy_port if behind else recorder.port, data)
            return got, [without_own(asked) for asked, _ in recorder.taken()]

        tally.compare(f"{service}: {name}", ask)
    for process in (front, behind):
        process.terminate()
        process.wait(PATIENCE)


def responses(proxy, folder, tally):
    """Each response to a client that shows all bytes, and to curl."""
    service = Replay()
    front, proxy_port = behind_proxy(proxy, service.port)
    asks = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, data in cases(folder, "response"):
        service.answer = data
        for client, by in (("bytes", exchange), ("curl", by_curl)):
            tally.compare(f"{client}: {name}", lambda behind, by=by: by(proxy_port if behind else service.port, asks))
    front.terminate()
    front.wait(PATIENCE)


def main():
    proxy, folder, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
    tally = Tally()
    for service in parts or ["h11", "uvicorn", "aiohttp", "node"]:
        if service == "node" and not shutil.which("node"):
            print("left out: there is no node")
            continue
        requests(proxy, folder, service, tally)
    responses(proxy, folder, tally)
    print(f"llhttp's cases: {tally.same} pairs of a case and a service or a client were the same, {len(tally.different)} differed")
    sys.exit(0 if tally.same and not tally.different else 1)


if __name__ == "__main__":
    main()
