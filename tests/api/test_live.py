"""What happens, as it happens: told to everybody at once, resumed after a break, and over with the session."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import ClientResponse

from api import streams
from api.live import BOOT, LiveViews
from api.monitoring import Monitoring
from api.sessions import IDLE
from api.streams import MOST, MOST_WAITING, Stream, frame
from balancer.telemetry.report import CertificateReport
from tests.api.desk import Desk
from tests.system.process import until

EVENTS = "/api/events"


class Heard:
    """A stream from its reader's side."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response

    async def event(self) -> tuple[str, str, dict[str, object]]:
        """Name, id and data of the next one; comments and `retry` are passed over."""
        while True:
            fields: dict[str, str] = {}
            async with asyncio.timeout(5):
                while line := (await self._response.content.readline()).decode().rstrip("\n"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                if self._response.content.at_eof() and not fields:
                    raise EOFError
            if "event" in fields:
                return fields["event"], fields.get("id", ""), json.loads(fields["data"])

    async def named(self, wanted: str) -> dict[str, object]:
        while True:
            name, _, data = await self.event()
            if name == wanted:
                return data


@asynccontextmanager
async def following(desk: Desk, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Heard]:
    sent = headers if headers is not None else {"Authorization": f"Bearer {desk.keys.text['viewer']}"}
    async with desk.client.get(EVENTS + query, headers=sent) as response:
        assert response.status == 200, await response.read()
        assert response.content_type == "text/event-stream"
        yield Heard(response)


class Beat:
    """What the process does once a second."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._live = LiveViews(desk.services)
        self._monitoring = Monitoring(desk.services)

    async def __call__(self) -> None:
        report = await self._desk.room.control.report()
        self._desk.services.history.sample(self._desk.clock.now, 1_800_000_000.0 + self._desk.clock.now, report)
        self._live.look(report, self._monitoring.note(report))
        self._desk.clock.now += 1.0


async def test_a_stream_begins_with_what_is_known_and_goes_on_with_each_second(desk: Desk) -> None:
    beat = Beat(desk)
    await beat()
    async with following(desk) as heard:
        name, number, hello = await heard.event()
        assert (name, number) == ("hello", f"{BOOT}-1")
        assert (hello["boot"], hello["resumed"]) == (BOOT, False)
        assert [one["kind"] for one in hello["happenings"]] == ["start"]  # type: ignore[attr-defined]  # JSON
        await beat()
        second = await heard.named("second")
        assert second["pools"]["web"]["states"] == {"up": 2}  # type: ignore[index]  # JSON
        assert {"requests", "errors_5xx", "p99", "in_flight", "connections", "checks"} <= second.keys()


async def test_a_drained_server_is_told_at_the_next_second_with_an_id_to_resume_from(desk: Desk) -> None:
    beat = Beat(desk)
    await beat()
    async with following(desk) as heard:
        await heard.event()
        await desk.ask("POST", "/api/infrastructure/load-balancer/pools/web/servers/a/drain")
        await beat()
        _, number, told = await heard.event()
        assert told["text"] == "a of web is drained"
        assert number.startswith(f"{BOOT}-")
    await desk.ask("POST", "/api/infrastructure/load-balancer/pools/web/servers/a/ready")
    await beat()
    for query, headers in (("?since=" + number, None), ("", {"Last-Event-ID": number})):
        sent = {"Authorization": f"Bearer {desk.keys.text['viewer']}", **(headers or {})}
        async with following(desk, query, sent) as heard:
            _, _, hello = await heard.event()
            assert [one["text"] for one in hello["happenings"]] == ["a of web is up"]  # type: ignore[attr-defined]  # JSON
            assert hello["resumed"] is True


async def test_a_second_tells_of_certificates_that_end_soon_and_of_what_the_api_has_changed(desk: Desk) -> None:
    now = desk.services.wall()
    report = replace(
        await desk.room.control.report(),
        certificates=tuple(
            CertificateReport("main", f"{days}.example", (), "", now, now + timedelta(days=days), "", now)
            for days in (-1, 13, 15)
        ),
    )
    live = LiveViews(desk.services)
    async with following(desk) as heard:
        live.look(report, {})
        second = await heard.named("second")
        assert second["certificates"] == [["main", "-1.example", -1.0], ["main", "13.example", 13.0]]
        assert second["overlaid"] is False
        await desk.ask("POST", "/api/infrastructure/load-balancer/pools/web/servers/a/drain")
        live.look(report, {})
        assert (await heard.named("second"))["overlaid"] is True


@pytest.mark.parametrize("boot", ["00000000", BOOT], ids=["another process", "this process"])
async def test_whoever_resumes_from_another_process_is_told_so(desk: Desk, boot: str) -> None:
    desk.services.happenings.add(0.0, "start", "info", "", "began")
    async with following(desk, f"?since={boot}-999") as heard:
        _, _, hello = await heard.event()
        assert hello["resumed"] is (boot == BOOT)


async def test_servers_and_one_series_are_told_to_those_who_asked(desk: Desk) -> None:
    beat = Beat(desk)
    await beat()
    async with following(desk, "?topics=servers&of=pool:web") as more, following(desk) as less:
        await beat()
        await beat()
        servers = await more.named("servers")
        assert servers["web"]["a"][:3] == ["up", True, 1.0]  # type: ignore[index]  # JSON
        assert (await more.named("point"))["of"] == "pool:web"
        names = [(await less.event())[0] for _ in range(3)]
        assert names == ["hello", "second", "second"]


@pytest.mark.parametrize(("query", "status"), [("?of=pool:nix", 404), ("?topics=all", 422), ("?since=x", 422)])
async def test_what_cannot_be_followed_is_refused(desk: Desk, query: str, status: int) -> None:
    assert (await desk.ask("GET", EVENTS + query)).status == status
    assert len(desk.services.streams) == 0


async def test_a_stream_needs_a_key_and_is_over_with_its_session(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await desk.ask("GET", EVENTS, role=None)).status == 401
    session = await desk.session("viewer")
    async with following(desk, headers={"Cookie": session["Cookie"]}) as heard:
        await heard.event()
        desk.clock.now += IDLE + 1
        desk.services.streams.publish("second", frame("second", {}))
        over = await heard.named("over")
        assert "session" in str(over["reason"])
        with pytest.raises(EOFError):
            await heard.event()
    assert len(desk.services.streams) == 0


async def test_an_open_stream_says_that_it_is_still_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "QUIET", 0.01)
    sent = {"Authorization": f"Bearer {desk.keys.text['viewer']}"}
    async with desk.client.get(EVENTS, headers=sent) as response:
        async with asyncio.timeout(5):
            while (await response.content.readline()) != b": still here\n":
                pass


async def test_whoever_does_not_read_is_cut_off_and_keeps_nobody_waiting(desk: Desk) -> None:
    asleep = Stream("k", frozenset(("second",)), None)
    awake = Stream("k", frozenset(("second",)), None)
    desk.services.streams.admit(asleep)
    desk.services.streams.admit(awake)
    for _ in range(MOST_WAITING + 1):
        desk.services.streams.publish("second", frame("second", {}))
        awake.waiting.clear()
    assert asleep.over
    assert len(asleep.waiting) == MOST_WAITING
    assert not awake.over
    assert (len(desk.services.streams), desk.services.streams.cut_off) == (1, 1)


async def test_there_are_not_more_streams_than_leave_room_for_others(desk: Desk) -> None:
    for _ in range(MOST):
        desk.services.streams.admit(Stream("k", frozenset(), None))
    answer = await desk.ask("GET", EVENTS)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")


async def test_at_the_end_everybody_is_told(desk: Desk) -> None:
    async with following(desk) as heard:
        await heard.event()
        desk.services.streams.close()
        assert "stops" in str((await heard.named("over"))["reason"])


async def test_a_head_of_it_is_answered_and_holds_no_stream(desk: Desk) -> None:
    answer = await desk.ask("HEAD", EVENTS)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert len(desk.services.streams) == 0


async def test_who_has_left_before_the_first_word_is_no_failure_and_holds_no_stream(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    question = f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {desk.keys.text['viewer']}\r\n\r\n".encode()
    for _ in range(50):
        with socket.create_connection((desk.client.host, desk.client.port)) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            door.sendall(question)
        await asyncio.sleep(0)
    assert (await desk.ask("GET", "/api/session")).status == 200
    desk.services.streams.close()
    await until(lambda: not len(desk.services.streams))
    assert "fault" not in capsys.readouterr().out
