"""What a story sends and what arrives, by receiver and stream: `ledger.js` for programs in Python, and says more."""

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

PATIENCE = 60.0
"""Seconds that anything may take that is waited for."""

_entries: dict[tuple[str, str], dict] = {}
_lock = threading.Lock()


def payloads() -> list[str | bytes]:
    """The payloads that every story sends: texts as `str`, the others as `bytes`."""
    files = sorted(Path(os.environ["PAYLOADS"]).iterdir())
    return [file.read_bytes().decode() if file.suffix == ".txt" else file.read_bytes() for file in files]


def redis_of(service: str) -> tuple[str, int]:
    """Where a service finds its Redis."""
    host, port = os.environ["REDIS_" + service.upper().replace("-", "_")].split(":")
    return host, int(port)


def digest(value: object) -> str:
    """A value in a few characters: its type, its length in bytes and a digest."""
    if isinstance(value, str):
        return _sum("text", value.encode())
    if isinstance(value, bytes | bytearray | memoryview):
        return _sum("binary", bytes(value))
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(digest, value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(f'{name}={digest(value[name])}' for name in sorted(value))}}}"
    return repr(value)


def _sum(kind: str, data: bytes) -> str:
    return f"{kind}:{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"


def _entry(receiver: str, stream: str) -> dict:
    return _entries.setdefault((receiver, stream), {"expected": [], "got": []})


def expect(receiver: str, stream: str, value: object) -> None:
    with _lock:
        _entry(receiver, stream)["expected"].append(digest(value))


def got(receiver: str, stream: str, value: object) -> None:
    with _lock:
        _entry(receiver, stream)["got"].append(digest(value))


def complete() -> bool:
    with _lock:
        return all(len(entry["got"]) >= len(entry["expected"]) for entry in _entries.values())


def until(what: str, condition) -> None:
    """Asks again and again until the condition holds, and fails after the deadline."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {PATIENCE:.0f} s: {what}")
        time.sleep(0.01)


def arrived() -> None:
    """Waits until as much has arrived as was sent. What is missing shows in the comparison."""
    try:
        until("everything has arrived", complete)
    except TimeoutError as error:
        print(error, file=sys.stderr)


def settle() -> None:
    """Prints the comparison, and returns when the stage has seen all that it wants to see of the connections."""
    arrived()
    for (receiver, stream), entry in _entries.items():
        print(json.dumps({"receiver": receiver, "stream": stream, **entry}))
    print("settled", flush=True)
    sys.stdin.read()
