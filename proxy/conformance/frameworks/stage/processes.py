"""Starts and stops what a run needs: a Redis server, its MONITOR, a proxy for each service, the framework's program."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from wire import Wire

PATIENCE = 60.0
"""Seconds that anything may take that is waited for. The machine may be slow; what takes longer hangs."""

REDIS_PORT, SIDECAR_PORT = 6379, 6380


class Failure(Exception):
    """Something that ends a run."""


def wait_until(what: str, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not after {PATIENCE:.0f} s: {what}")
        time.sleep(0.01)  # between two looks at a condition


def wait_until_listens(process: subprocess.Popen, address: str, port: int) -> None:
    """Until a connection is accepted, by this process and not by one that was there before."""

    def listens() -> bool:
        if process.poll() is not None:
            raise Failure(f"{process.args[0]} ended at once, with {process.returncode}")
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True

    try:
        wait_until(f"{process.args[0]} listens on {address}:{port}", listens)
    except Failure:
        process.kill()
        process.wait()
        raise


class Connection:
    """Inline commands to Redis itself, each with an answer of one line or one bulk string."""

    def __init__(self, address: str, timeout: float | None = PATIENCE) -> None:
        self._socket = socket.create_connection((address, REDIS_PORT), timeout=timeout)
        self._lines = self._socket.makefile("rb")

    def ask(self, command: str) -> str:
        self._socket.sendall(command.encode() + b"\r\n")
        head = self.line()
        return self._lines.read(int(head[1:]) + 2).decode() if head.startswith(b"$") else head.decode()

    def line(self) -> bytes:
        line = self._lines.readline()
        if not line.endswith(b"\r\n"):
            raise Failure("Redis closed a connection of the stage")
        return line[:-2]

    def close(self) -> None:
        """Also wakes a thread that waits for a line."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Redis:
    """A fresh server, without persistence."""

    def __init__(self, program: str, folder: Path, address: str) -> None:
        command = [program, "--bind", "0.0.0.0", "--port", str(REDIS_PORT), "--protected-mode", "no"]
        command += ["--save", "", "--dir", str(folder), "--logfile", str(folder / "redis.log")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until_listens(self._process, address, REDIS_PORT)

    def stop(self) -> None:
        ended = self._process.poll()
        self._process.kill()
        self._process.wait()
        if ended is not None:
            raise Failure(f"Redis ended by itself with {ended}")


class Monitor:
    """Follows MONITOR on a thread and fills a `Wire`."""

    def __init__(self, address: str, services: dict[str, str]) -> None:
        self.wire = Wire(services)
        self._commands = Connection(address)
        self._feed = Connection(address, timeout=None)
        self._feed.ask("MONITOR")
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            while not (line := self._feed.line()).endswith(b'"ECHO" "the end"'):
                self.wire.read(line)
        except Exception as failure:
            self._failure = failure

    def alive(self) -> set[str]:
        """The addresses of all connections that Redis has now."""
        clients = self._commands.ask("CLIENT LIST").splitlines()
        return {word.removeprefix("addr=") for line in clients for word in line.split() if word.startswith("addr=")}

    def finish(self) -> Wire:
        """Everything up to now."""
        self._commands.ask('ECHO "the end"')
        self._thread.join(PATIENCE)
        if self._failure or self._thread.is_alive():
            raise Failure(f"MONITOR could not be followed: {self._failure}")
        return self.wire

    def close(self) -> None:
        self._feed.close()
        self._commands.close()
        self._thread.join()


class Sidecar:
    """The proxy of one service."""

    def __init__(self, program: str, service: str, address: str, mode: str, endpoint: str, folder: Path) -> None:
        self._log = folder / f"sidecar-{service}.log"
        environment = {
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        command = [program, "--listen", f"{address}:{SIDECAR_PORT}", "--upstream", f"redis://{address}:{REDIS_PORT}"]
        command += ["--mode", mode, "--follow", "off", "--log-format", "json", "--log-level", "info"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)
        wait_until_listens(self._process, address, SIDECAR_PORT)

    def stop(self) -> list[str]:
        """Ends the proxy, and with it the sending of its spans. What it had to complain of, one line each."""
        running = self._process.poll() is None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        problems = [] if running and code == 0 else [f"{self._log.stem}: ended with {code}"]
        stopped = {}
        for line in self._log.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") else {"level": "not a line of the log"}
            if entry["level"] != "INFO":
                problems.append(f"{self._log.stem}: {line}")
            elif entry["message"] == "stopped":
                stopped = entry
        if any(stopped.get(key) != 0 for key in ("spans_failed", "spans_dropped", "spans_unsent")):
            problems.append(f"{self._log.stem}: spans were lost, or it does not say: {stopped}")
        return problems


class Program:
    """A framework's program. It prints what it expects and got as JSON, a line each, then `settled`, and ends when its
    standard input is closed."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._log = folder / "program.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        # A program that hangs is ended, so that reading its output ends too.
        self._alarm = threading.Timer(3 * PATIENCE, self._kill)
        self._alarm.start()

    def results(self) -> list[dict]:
        """Waits until the story has been told."""
        results = []
        for line in self._process.stdout:
            if line.strip() == b"settled":
                return results
            results.append(json.loads(line))
        raise Failure(
            f"the program ended before its story was told, with {self._process.wait(PATIENCE)}; see {self._log}"
        )

    def finish(self) -> None:
        try:
            self._process.stdin.close()
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"the program does not end; see {self._log}") from None
        finally:
            self.stop()
        if code != 0:
            raise Failure(f"the program ended with {code}; see {self._log}")

    def stop(self) -> None:
        self._alarm.cancel()
        self._kill()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
