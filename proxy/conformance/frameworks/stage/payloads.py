"""The payloads that every program sends: one file each, text (`.txt`, valid UTF-8) or binary (`.bin`)."""

import random
from pathlib import Path

LARGE = 1_000_000
"""Bytes of a large payload that still gets a context, however a framework wraps it."""

OVER = 1_100_000
"""Bytes of one that is over the limit of 1 MiB and gets none."""


def write(folder: Path) -> None:
    noise = random.Random(1).randbytes
    many = "Zażółć gęślą jaźń · Ünïcödé · 日本語 · 🦀 · "
    magic = b"\xfbrdtrac\xfe"
    payloads = {
        "01-empty.txt": b"",
        "02-ascii.txt": b"plain words",
        "03-utf8.txt": many.encode(),
        "04-lines.txt": b'quotes " and \\ and\r\nlines\r\n$5\r\n*3\r\n\x00 and a NUL byte',
        "05-json.txt": b'{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","a":[1]}',
        "06-large.txt": ("x" * 4096 + many).encode() * 300,
        "07-over.txt": b"y" * OVER,
        "11-empty.bin": b"",
        "12-every-byte.bin": bytes(range(256)),
        "13-no-utf8.bin": b"\xff\xfe\x80\x00\xc3\x28",
        "14-magic.bin": b"ends like a trailer" + magic,
        "15-half-trailer.bin": b"\x01\xfbrdtrac" + bytes(range(1, 25)) + b"\x01" + magic,
        "16-large.bin": noise(LARGE),
        "17-over.bin": noise(OVER),
    }
    payloads["06-large.txt"] = payloads["06-large.txt"].decode()[: LARGE - 40_000].encode()
    for name, payload in payloads.items():
        (folder / name).write_bytes(payload)
