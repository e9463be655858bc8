"""Small changes to a message, drawn from a seed: the same seed gives the same messages on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random

BYTES = b'\r\n\t \x00\x0b\x0c\x7f\x80\xff:;,="_-+/?#%*0159aAfFgxX.'
INSERTS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n", b" ", b"\t", b"\x00", b"\x0b", b" \r\n", b"\r\n ", b"\r\n\t",
    b":", b" :", b";", b",",
    b"chunked", b"identity", b"gzip, ", b"0\r\n\r\n", b"5\r\nhello\r\n", b"5;x\r\nhello\r\n", b"0", b"00", b"1", b"f",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Content-Length: 1\r\n", b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Connection: X, TE\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"X: y\r\n", b"X:\r\n", b"X_Y: z\r\n", b"X-Forwarded-For: 6.6.6.6\r\n", b"Trailer: X\r\n", b"TE: trailers\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n", b"HTTP/1.0", b"HTTP/1.1", b"http://b",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
)  # fmt: skip
LONG = (300, 9000, 33000)


def mutations(corpus: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """That many changed messages. Most have one change or two, so that many of them are still messages."""
    rng = Random(seed)
    for _ in range(count):
        data = corpus[int(rng.random() * len(corpus))]
        for _ in range(1 if rng.random() < 0.6 else 1 + int(rng.random() * 4)):
            data = mutate(data, corpus, rng)
        yield data


def mutate(data: bytes, corpus: Sequence[bytes], rng: Random) -> bytes:
    """One change."""
    draw = rng.random
    at = int(draw() * (len(data) + 1))
    kind = int(draw() * 14)
    if kind == 0:
        return data[:at] + bytes((BYTES[int(draw() * len(BYTES))],)) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes((int(draw() * 256),)) + data[at + 1 :]
    if kind == 2:
        return data[:at] + data[at + 1 :]
    if kind == 3:
        return data[:at] + data[at + int(draw() * 12) :]
    if kind == 4:
        return data[:at] + INSERTS[int(draw() * len(INSERTS))] + data[at:]
    if kind == 5:
        return data[:at] + bytes((BYTES[int(draw() * len(BYTES))],)) + data[at:]
    if kind == 6:
        return data[:at]
    if kind == 7:
        return data + corpus[int(draw() * len(corpus))]
    if kind == 8:
        other = corpus[int(draw() * len(corpus))]
        return data[:at] + other[int(draw() * len(other)) :]
    if kind == 13 and draw() < 0.02:
        return data[:at] + b"a" * LONG[int(draw() * len(LONG))] + data[at:]
    lines = data.split(b"\r\n")
    one = int(draw() * len(lines))
    if kind == 9:
        lines.insert(one, lines[int(draw() * len(lines))])
    elif kind == 10:
        two = int(draw() * len(lines))
        lines[one], lines[two] = lines[two], lines[one]
    elif kind == 11:
        lines[one] = lines[one].swapcase()
    elif kind == 12:
        lines.insert(one, INSERTS[int(draw() * len(INSERTS))].removesuffix(b"\r\n"))
    else:
        del lines[one]
    return b"\r\n".join(lines)


def pieces(data: bytes, rng: Random) -> list[bytes]:
    """The same bytes in a few pieces, or each alone."""
    if rng.random() < 0.2 and len(data) < 600:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted({int(rng.random() * (len(data) + 1)) for _ in range(1 + int(rng.random() * 5))} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(cuts)]
