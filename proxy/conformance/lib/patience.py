"""Waiting for processes of a stage, and failing. The parts `article` and `collector` share it."""

import socket
import time

PATIENCE = 60.0
"""Seconds that anything may take that is waited for."""


class Failure(Exception):
    """What was not as it should be."""


def wait_until(what: str, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not after {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)  # between two looks at a condition


def wait_for_port(name: str, host: str, port: int, check_alive) -> None:
    """Until the process `name` accepts connections. `check_alive` raises a `Failure` if it has ended."""

    def listens() -> bool:
        check_alive(name)
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(f"{name} listens on {host}:{port}", listens)
