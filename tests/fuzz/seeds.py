"""Inputs to begin from, made of the tricky messages that the differential tests begin from too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.differential.corpus import REQUESTS, RESPONSES

CORPUS = Path(__file__).parent / "corpus"


def seeds(target: str) -> list[bytes]:
    """Hand-chosen inputs of a target, and those that were kept of earlier runs."""
    return [*_chosen(target), *kept(target)]


def kept(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*.bin"))]


def _chosen(target: str) -> Iterable[bytes]:
    if target == "request_head":
        return [b"\x00" + data.partition(b"\r\n\r\n")[0] for data in REQUESTS]
    if target == "response_head":
        return [b"\x00" + data.partition(b"\r\n\r\n")[0] for data in RESPONSES]
    if target == "chunked":
        return [b"\x02" + data.partition(b"\r\n\r\n")[2] for data in REQUESTS if b"hunked" in data]
    if target == "client_stream":
        return [step + data for step in (b"\x00", b"\x05") for data in REQUESTS]
    return [choice + data for choice in (b"\x00", b"\x0a", b"\x62", b"\x2c") for data in RESPONSES]
