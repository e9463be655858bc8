"""What servers may do wrong, and what their client must then see: the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.server import Hand, Over, Script

TRUTH = b"0123456789"
"""The body that a lie begins with, if it has one."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"

GET = b""
UPLOAD = b"Content-Length: 2000000\r\n"
CHUNKED_UPLOAD = b"Transfer-Encoding: chunked\r\n"

WHOLE = "whole"  # the server's answer, with all of its body
CUT = "cut"  # begun, and visibly not ended
OWN = "own"  # the balancer's answer, whole


@dataclass(frozen=True, slots=True)
class Lie:
    """`ends` are the ways it may end for the client, `statuses` the ones an own answer may have."""

    name: str
    script: Script
    ends: tuple[str, ...]
    statuses: tuple[int, ...] = (502,)
    request: bytes = GET  # its framing field; empty: a GET
    method: bytes = b""  # when not the one that goes with `request`
    failure: str | None = None  # what is counted against the server; None: not checked
    at_once: bool = False  # done to a new connection, before a request has been read
    length: int | None = len(TRUTH)  # of a whole answer's body; None: any
    first: int = 200  # the status of an answer of the server's own
    later: bool = False  # it comes when the answer is over; until then nobody else asks
    leaves: bool = False  # the client goes after a while: the answer has no end

    def __str__(self) -> str:
        return self.name


def says(data: bytes, then: str = "fin") -> Script:
    """Read the whole request, say this, and then: fin, reset, stay (in silence), next (serve on)."""

    async def script(hand: Hand) -> None:
        await hand.body()
        if data:
            await hand.send(data)
        await ending(hand, then)

    return script


def early(data: bytes, then: str, read: int = 0) -> Script:
    """Answer when this much of the upload has come, and then as `says`; `read`: take the rest in as well."""

    async def script(hand: Hand) -> None:
        await hand.exactly(read)
        await hand.send(data)
        if then == "drain":
            await hand.rest()
            raise Over
        await ending(hand, then)

    return script


async def ending(hand: Hand, then: str) -> None:
    if then == "fin":
        hand.fin()
    elif then == "reset":
        hand.reset()
    elif then == "half":
        hand.half_close()
        await hand.rest()
        raise Over
    elif then == "stay":
        await hand.rest()
        raise Over
    else:
        assert then == "next"


def endless(start: bytes, piece: bytes | Callable[[int], bytes], most: int = 64 * 2**20) -> Script:
    """A flood without end; `most` only guards the test."""

    async def script(hand: Hand) -> None:
        await hand.send(start)
        sent = turn = 0
        while sent < most:
            data = piece if isinstance(piece, bytes) else piece(turn)
            await hand.send(data)
            turn += 1
            sent += len(data)
        raise AssertionError("it was allowed to send without end")

    return script


def silently(start: bytes) -> Script:
    """A beginning, and then nothing, while the connection stays."""
    return says(start, "stay")


async def slow_head(hand: Hand) -> None:
    """A head that comes a byte at a time and never ends."""
    await hand.send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(400):
        await hand.send(b"x")
        await asyncio.sleep(0.02)
    raise AssertionError("a head without end was waited for")


async def slow_interim(hand: Hand) -> None:
    """Interim answers, again and again, and never a final one."""
    for _ in range(400):
        await hand.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.02)
    raise AssertionError("interim answers bought time without end")


async def takes_nothing(hand: Hand) -> None:
    """Reads the head and then nothing more."""
    hand.reader._limit = 1  # type: ignore[attr-defined]  # asyncio reads up to its limit by itself
    transport: Any = hand.writer.transport
    transport.pause_reading()
    await asyncio.sleep(1.0)  # longer than the balancer has patience
    raise Over


async def late_twice(hand: Hand) -> None:
    """A second answer that comes when the connection idles in the pool."""
    await hand.send(OK + TRUTH)
    await asyncio.sleep(0.05)
    await hand.send(POISON)


async def speaks_first(hand: Hand) -> None:
    await hand.send(POISON)


async def speaks_and_goes(hand: Hand) -> None:
    await hand.send(POISON)
    hand.fin()


async def garbage_first(hand: Hand) -> None:
    await hand.send(b"220 mail.example ESMTP\r\n")


async def fin_first(hand: Hand) -> None:
    hand.fin()


async def reset_first(hand: Hand) -> None:
    hand.reset()


async def half_close_first(hand: Hand) -> None:
    hand.half_close()
    await hand.rest()
    raise Over


def _nonsense() -> list[Lie]:
    lines = {
        "random bytes": bytes(range(128, 256)) * 4 + b"\r\n\r\n",
        "an ssh banner": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "http/2 settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n",
        "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x0a\r\n\r\n",
        "html without a head": b"<html><body>hello</body></html>\r\n\r\n",
        "an empty line first": b"\r\n" + OK + TRUTH,
        "a blank first": b" " + OK + TRUTH,
        "no status": b"HTTP/1.1\r\n\r\n",
        "a short status": b"HTTP/1.1 20 OK\r\n\r\n",
        "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
        "a status below 100": b"HTTP/1.1 099 Low\r\n\r\n",
        "a signed status": b"HTTP/1.1 +20 OK\r\n\r\n",
        "shoutcast": b"ICY 200 OK\r\n\r\n",
        "http/2": b"HTTP/2 200 OK\r\n\r\n",
        "http/1.10": b"HTTP/1.10 200 OK\r\n\r\n",
        "lower case": b"http/1.1 200 OK\r\n\r\n",
        "two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
        "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
        "a bare CR in the reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
        "a bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "a bare LF in a value": b"HTTP/1.1 200 OK\r\nX: a\nb\r\nContent-Length: 0\r\n\r\n",
        "a NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "a field without a name": b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
        "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 10\r\n\r\n" + TRUTH,
        "a field without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
        "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"Content-Length: 0\r\n\r\n",
        "a switch nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    }
    return [Lie(name, says(data, "stay"), (OWN,), failure="malformed") for name, data in lines.items()]


def _lengths() -> list[Lie]:
    heads = {
        "a length of words": b"Content-Length: ten",
        "a negative length": b"Content-Length: -1",
        "a signed length": b"Content-Length: +10",
        "a hexadecimal length": b"Content-Length: 0xA",
        "an empty length": b"Content-Length:",
        "a length with a blank inside": b"Content-Length: 1 0",
        "an overflowing length": b"Content-Length: " + b"9" * 40,
        "a length of 2 to the 64th and 10": b"Content-Length: 18446744073709551626",
        "two different lengths": b"Content-Length: 10\r\nContent-Length: 11",
        "a list of different lengths": b"Content-Length: 10, 11",
        "a length and chunks": b"Content-Length: 10\r\nTransfer-Encoding: chunked",
        "chunks twice": b"Transfer-Encoding: chunked, chunked",
        "chunks in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "chunks, then gzip": b"Transfer-Encoding: chunked, gzip",
        "gzip, then chunks": b"Transfer-Encoding: gzip, chunked",
        "an unknown coding": b"Transfer-Encoding: xchunked",
        "a coding with a control character": b"Transfer-Encoding: \x0bchunked",
        "an empty coding": b"Transfer-Encoding:",
    }
    lies = [
        Lie(name, says(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, TRUTH), "stay"), (OWN,), failure="malformed")
        for name, head in heads.items()
    ]
    old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
    lies.append(Lie("chunks from HTTP/1.0", says(old), (OWN,), failure="malformed"))
    lies += [
        Lie("a length too short", says(OK + TRUTH + b"more"), (WHOLE,)),
        Lie("a length too short, and it stays", says(OK + TRUTH + b"more", "next"), (WHOLE,)),
        Lie("a length too long", says(OK.replace(b"10", b"11") + TRUTH), (CUT,), failure="reset"),
        Lie("a length too long, by reset", says(OK.replace(b"10", b"11") + TRUTH, "reset"), (CUT,), failure="reset"),
        Lie("a length too long, half-closed", says(OK.replace(b"10", b"11") + TRUTH, "half"), (CUT,), failure="reset"),
        Lie("a length too long, and it stays", silently(OK.replace(b"10", b"11") + TRUTH), (CUT,), failure="timeout"),
        Lie("a huge length", says(OK.replace(b"10", b"9" * 15) + TRUTH), (CUT,), failure="reset"),
    ]
    return lies


def _chunks() -> list[Lie]:
    begun = CHUNKED + b"5\r\n01234\r\n"
    broken = {
        "no size": b"\r\n56789\r\n0\r\n\r\n",
        "a size of words": b"five\r\n56789\r\n0\r\n\r\n",
        "a negative size": b"-5\r\n56789\r\n0\r\n\r\n",
        "a signed size": b"+5\r\n56789\r\n0\r\n\r\n",
        "a prefixed size": b"0x5\r\n56789\r\n0\r\n\r\n",
        "a blank before the size": b" 5\r\n56789\r\n0\r\n\r\n",
        "a size with a bare LF": b"5\n56789\r\n0\r\n\r\n",
        "a size with a bare CR": b"5\r56789\r\n0\r\n\r\n",
        "an overflowing size": b"1" + b"0" * 16 + b"5\r\n56789\r\n0\r\n\r\n",
        "a chunk too long": b"4\r\n56789\r\n0\r\n\r\n",
        "a chunk too short": b"6\r\n56789\r\n0\r\n\r\n",
        "a chunk that ends with LF": b"5\r\n56789\n0\r\n\r\n",
        "an extension with a bare CR": b"5;a\rb\r\n56789\r\n0\r\n\r\n",
        "an extension with a NUL": b"5;a\0b\r\n56789\r\n0\r\n\r\n",
        "a trailer that is no field": b"0\r\nnonsense\r\n\r\n",
        "a trailer with a bare LF": b"0\r\nX: a\nb\r\n\r\n",
        "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
        "too many trailers": b"0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    }
    lies = [Lie(name, says(begun + data, "stay"), (CUT,), failure="malformed") for name, data in broken.items()]
    lies += [
        Lie("no last chunk", says(begun), (CUT,), failure="reset"),
        Lie("no last chunk, by reset", says(begun, "reset"), (CUT,), failure="reset"),
        Lie("no last chunk, and it stays", silently(begun), (CUT,), failure="timeout"),
        Lie("no end of the trailers", says(begun + b"0\r\n"), (CUT,), failure="reset"),
        Lie("no end of the trailers, and it stays", silently(begun + b"0\r\nX: 1\r\n"), (CUT,), failure="timeout"),
    ]
    return lies


def _silence() -> list[Lie]:
    return [
        Lie("accepts and closes", fin_first, (OWN,), at_once=True, failure="reset"),
        Lie("accepts and resets", reset_first, (OWN,), at_once=True),
        Lie("accepts and half-closes", half_close_first, (OWN,), at_once=True, failure="reset"),
        Lie("reads and closes", says(b""), (OWN,), failure="reset"),
        Lie("reads and resets", says(b"", "reset"), (OWN,), failure="reset"),
        Lie("reads and half-closes", says(b"", "half"), (OWN,), failure="reset"),
        Lie("never answers", silently(b""), (OWN,), (504,), failure="timeout"),
        Lie("never ends its head", silently(OK[:-2]), (OWN,), (504,), failure="timeout"),
        Lie("drips its head without end", slow_head, (OWN,), (504,), failure="timeout"),
        Lie("drips interim answers without end", slow_interim, (OWN, CUT), (502, 504)),
        Lie("continues, and no more", silently(b"HTTP/1.1 100 Continue\r\n\r\n"), (OWN,), (504,), failure="timeout"),
        Lie("begins its body, and no more", silently(OK + b"0"), (CUT,), failure="timeout"),
        Lie("begins a body until close, and no more", silently(UNTIL_CLOSE + b"0"), (CUT,), failure="timeout"),
        Lie("begins a body until close, and resets", says(UNTIL_CLOSE + b"0", "reset"), (CUT,), failure="reset"),
        Lie("half-closes behind a whole answer", says(OK + TRUTH, "half"), (WHOLE,)),
        Lie("half-closes behind a body until close", says(UNTIL_CLOSE + TRUTH, "half"), (WHOLE,)),
    ]


def _floods() -> list[Lie]:
    kib = b"x" * 1024
    return [
        Lie("an endless line", endless(b"HTTP/1.1 200 OK\r\nX: ", kib), (OWN,), failure="malformed"),
        Lie("an endless status line", endless(b"HTTP/1.1 200 ", kib), (OWN,), failure="malformed"),
        Lie("an endless head", endless(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n" * 100), (OWN,), failure="malformed"),
        Lie(
            "endless interim answers",
            endless(b"", b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" * 100),
            (OWN, CUT),
            (502, 504),
        ),
        Lie("endless continues", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), (OWN, CUT), (502, 504)),
        Lie("an endless chunk size", endless(CHUNKED, b"0" * 1024), (CUT,), failure="malformed"),
        Lie("an endless extension", endless(CHUNKED + b"5;x=", kib), (CUT,), failure="malformed"),
        Lie("an endless trailer", endless(CHUNKED + b"0\r\nX: ", kib), (CUT,), failure="malformed"),
        Lie("endless trailers", endless(CHUNKED + b"0\r\n", b"X: 1\r\n" * 100), (CUT,), failure="malformed"),
        Lie("an endless body", endless(UNTIL_CLOSE, kib * 64, 2**40), (CUT,), leaves=True),
        Lie("an endless chunked body", endless(CHUNKED, b"400\r\n%b\r\n" % kib * 64, 2**40), (CUT,), leaves=True),
        Lie("endless chunks of one byte", endless(CHUNKED, b"1\r\nx\r\n" * 4096, 2**40), (CUT,), leaves=True),
    ]


def _more_than_asked() -> list[Lie]:
    return [
        Lie("answers twice at once", says(OK + TRUTH + POISON, "next"), (WHOLE,)),
        Lie("answers twice, later", late_twice, (WHOLE,), later=True),
        Lie("garbage behind the answer", says(OK + TRUTH + b"\0\xff garbage", "next"), (WHOLE,)),
        Lie(
            "an answer behind chunks",
            says(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n" + POISON, "next"),
            (WHOLE,),
        ),
        Lie("an empty line behind the answer", says(OK + TRUTH + b"\r\n", "next"), (WHOLE,)),
        Lie("speaks first", speaks_first, (WHOLE, OWN), at_once=True, length=None),
        Lie("speaks first and goes", speaks_and_goes, (WHOLE, OWN), at_once=True, length=None),
        Lie("greets first", garbage_first, (OWN,), at_once=True),
        Lie("a body for HEAD", says(OK + TRUTH, "next"), (WHOLE,), method=b"HEAD", length=0),
        Lie("an answer as a body for HEAD", says(OK + POISON, "next"), (WHOLE,), method=b"HEAD", length=0),
        Lie(
            "a body with 204",
            says(b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n" + TRUTH, "next"),
            (WHOLE,),
            length=0,
            first=204,
        ),
        Lie(
            "an answer as a body with 304",
            says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 46\r\n\r\n" + POISON, "next"),
            (WHOLE,),
            length=0,
            first=304,
        ),
    ]


def _early() -> list[Lie]:
    lies = []
    for name, request in (("", UPLOAD), (", in chunks", CHUNKED_UPLOAD)):
        for status in (200, 413):
            answer = b"HTTP/1.1 %d Early\r\nContent-Length: 10\r\n%%b\r\n0123456789" % status
            kept, closing = answer % b"", answer % b"Connection: close\r\n"

            def lie(
                what: str,
                script: Script,
                ends: tuple[str, ...],
                *,
                status: int = status,
                request: bytes = request,
                name: str = name,
            ) -> None:
                lies.append(Lie(f"{status} early, {what}{name}", script, ends, request=request, first=status))

            lie("and reads on", early(kept, "drain"), (WHOLE,))
            lie("and closes", early(closing, "fin"), (WHOLE, CUT, OWN))
            lie("and resets", early(closing, "reset"), (WHOLE, CUT, OWN))
            lie("and half-closes", early(closing, "half"), (WHOLE,))
            lie("and reads no more", early(kept, "stay"), (WHOLE,))
            lie("begun and reset", early(kept[:-5], "reset"), (CUT, OWN))
            lie("in the middle, and reads on", early(kept, "drain", read=100_000), (WHOLE,))
            lie("in the middle, and resets", early(closing, "reset", read=100_000), (WHOLE, CUT, OWN))
    lies += [
        Lie("takes no body", takes_nothing, (OWN,), (504,), request=UPLOAD),
        Lie("takes no chunks", takes_nothing, (OWN,), (504,), request=CHUNKED_UPLOAD),
        Lie("resets in mid-upload", early(b"", "reset", read=100_000), (OWN,), request=UPLOAD, failure="reset"),
        Lie("closes in mid-upload", early(b"", "fin", read=100_000), (OWN,), request=UPLOAD, failure="reset"),
    ]
    return lies


LIES = (*_silence(), *_nonsense(), *_lengths(), *_chunks(), *_floods(), *_more_than_asked(), *_early())
