"""Pictures as clients get them: over HTTP, from real workers and a real folder."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from balancer.cdn.edge.app import make_edge
from balancer.cdn.edge.pictures import PictureHandler, client_of
from balancer.cdn.errors import Full, SourceBlocked, SourceUnreachable
from balancer.cdn.images.engine import Bounds, Wish
from balancer.cdn.images.links import Links
from balancer.cdn.images.opened import PIECE
from balancer.cdn.images.pictures import FAILURE_KEPT, FOREIGN_FRESH, WORSE, Original, Pictures
from balancer.cdn.images.pool import Failed, Job, Pool
from balancer.cdn.images.signing import PictureSource, foreign_tag, foreign_tags, spell_source
from balancer.cdn.images.variants import Variants
from balancer.cdn.purging.own import Places, means_source
from balancer.cdn.purging.patterns import target
from balancer.cdn.types import ImageOptions
from config.cdn import CdnImages, ImagePreset
from tests.cdn.images import gallery
from tests.cdn.images.test_pool import stopped, until

CAT = PictureSource(path="image/cat.png")
ELSEWHERE = PictureSource(url="https://media.example.com/cat.png")
SMALL = ImageOptions(100)
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
pytestmark = pytest.mark.slow


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Folder:
    """Files by their paths, as a local provider has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: str, data: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    async def original(self, path: str) -> Original | None:
        place = self.folder / path
        if not place.is_file():
            return None
        data = place.read_bytes()
        return Original(place, sha256(data).hexdigest(), len(data), "public, max-age=31536000, immutable", ("post-7",))


@dataclass
class Fetched:
    content: bytes


@dataclass
class Elsewhere:
    """A site that pictures are fetched from, in memory: the way there is tested where it is built."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(self, url: str) -> Fetched:
        self.asked.append(url)
        if "slow" in url:
            await asyncio.Event().wait()
        if "barred" in url:
            raise SourceBlocked("this source is not fetched from")
        if url not in self.pictures:
            raise SourceUnreachable("the source gave no picture")
        return Fetched(self.pictures[url])


class House:
    """One configuration's pictures, and a client in front of them."""

    def __init__(self, folder: Path, settings: CdnImages, workers: int, keys: tuple[bytes, ...] = (b"k" * 32,)) -> None:
        self.settings = settings
        self.clock = Clock()
        self.files = Folder(folder / "files")
        self.elsewhere = Elsewhere()
        self.variants = Variants(folder / "variants", settings.cache, self.clock)
        self.pool = Pool(
            engine=settings.engine,
            size=workers,
            queue=settings.queue,
            memory=settings.memory,
            timeout=settings.timeout,
            bounds=Bounds(settings.max_source, settings.max_pixels, settings.max_side),
        )
        self.pictures = Pictures(settings, self.pool, self.variants, self.files, self.elsewhere, self.clock, self.clock)
        self.links = Links(settings, keys)
        self.client: TestClient[web.Request, web.Application]

    async def get(
        self, source: PictureSource, options: ImageOptions = SMALL, accept: str = "*/*", **fields: str
    ) -> ClientResponse:
        return await self.fetch(self.links.url(source, options), accept, **fields)

    async def fetch(self, url: str, accept: str = "*/*", **fields: str) -> ClientResponse:
        headers = {"Accept": accept, **{name.replace("_", "-"): value for name, value in fields.items()}}
        return await self.client.get(url, headers=headers)


@asynccontextmanager
async def house_of(folder: Path, workers: int = 1, **settings: object) -> AsyncIterator[House]:
    house = House(folder, CdnImages.model_validate(settings), workers)
    await house.pictures.open()
    handler = PictureHandler(house.settings.path, house.links, house.pictures, house.clock)
    house.client = TestClient(TestServer(make_edge(lambda path: handler.handle)))
    async with house.client:
        try:
            yield house
        finally:
            await house.pictures.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_of(tmp_path, presets={"small": ImagePreset(width=50, format="png")}) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        yield house


async def test_a_picture_comes_in_the_size_that_was_asked_for_with_all_that_caches_need(house: House) -> None:
    response = await house.get(CAT)
    assert response.status == 200
    assert gallery.upright(await response.read()).size == (100, 75)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Surrogate-Key"] == "file:image/cat.png post-7"
    assert response.headers["Vary"] == "Accept"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    again = await house.get(CAT, If_None_Match=response.headers["ETag"])
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize(("accept", "kind"), [(CHROME, "avif"), ("image/webp,*/*", "webp"), ("*/*", "jpeg")])
async def test_the_format_is_the_best_that_a_client_names(house: House, accept: str, kind: str) -> None:
    response = await house.get(CAT, accept=accept)
    assert response.headers["Content-Type"] == f"image/{kind}"
    assert gallery.upright(await response.read()).format == kind.upper()


async def test_browsers_that_name_the_same_formats_share_a_picture(house: House) -> None:
    for accept in (CHROME, "image/avif", "text/html,image/avif;q=0.2,image/webp", CHROME + ",x/y"):
        assert (await house.get(CAT, accept=accept)).headers["Content-Type"] == "image/avif"
    assert (house.pictures.tally.made, len(house.variants)) == (1, 1)


async def test_a_format_that_was_asked_for_varies_by_nothing(house: House) -> None:
    assert "Vary" not in (await house.get(CAT, ImageOptions(100, format="webp"))).headers


async def test_two_hundred_who_ask_at_once_cost_one_picture(house: House) -> None:
    responses = await asyncio.gather(*(house.get(CAT) for _ in range(200)))
    bodies = {await response.read() for response in responses}
    assert {response.status for response in responses} == {200}
    assert len(bodies) == 1
    assert (house.pool.tally.made, house.pictures.tally.made) == (1, 1)
    assert house.pictures.tally.joined + house.pictures.tally.kept == 199


async def test_a_head_tells_what_a_get_would(house: House) -> None:
    url = house.links.url(CAT, SMALL)
    head, whole = await house.client.head(url), await house.client.get(url)
    assert (head.status, await head.read()) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Vary"):
        assert head.headers[name] == whole.headers[name]


async def test_who_leaves_takes_nothing_from_those_who_wait_for_the_same(house: House) -> None:
    await house.get(CAT, ImageOptions(10))
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    leaves = asyncio.ensure_future(house.pictures.picture(CAT, SMALL))
    stays = asyncio.ensure_future(house.pictures.picture(CAT, SMALL))
    await until(lambda: house.pool.busy == 1 and house.pictures.tally.joined == 1)
    leaves.cancel()
    os.kill(pid, signal.SIGCONT)
    assert (await stays).width == 100
    assert house.pool.tally.made == 2


async def test_a_picture_that_nobody_waits_for_any_more_is_kept(house: House) -> None:
    await house.get(CAT, ImageOptions(10))
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    leaves = asyncio.ensure_future(house.pictures.picture(CAT, SMALL))
    await until(lambda: house.pool.busy == 1)
    leaves.cancel()
    os.kill(pid, signal.SIGCONT)
    await until(lambda: len(house.variants) == 2)


async def test_those_who_wait_when_the_balancer_stops_are_told(house: House) -> None:
    await house.get(CAT, ImageOptions(10))
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    waiting = [asyncio.ensure_future(house.pictures.picture(CAT, ImageOptions(width))) for width in (20, 30)]
    await until(lambda: house.pool.waiting == 1)
    await house.pictures.close()
    for one in waiting:
        with pytest.raises((Failed, Full)):
            await one


async def test_a_picture_is_made_once_over_restarts(house: House, tmp_path: Path) -> None:
    first = await house.get(CAT)
    async with house_of(tmp_path) as again:
        second = await again.get(CAT)
        assert (second.headers["ETag"], await second.read()) == (first.headers["ETag"], await first.read())
        assert (again.pool.workers, again.pictures.tally.kept) == (0, 1)


async def test_a_new_original_gives_new_pictures(house: House) -> None:
    await house.get(CAT)
    house.files.put("image/cat.png", gallery.as_bytes(gallery.gradient(80, 60), "PNG"))
    assert gallery.upright(await (await house.get(CAT)).read()).size == (80, 60)


async def test_pictures_of_a_purged_source_are_made_anew(house: House) -> None:
    house.files.put("image/dog.png", gallery.as_bytes(gallery.quarters(90, 60), "PNG"))
    for path in ("image/cat.png", "image/dog.png"):
        await house.get(PictureSource(path=path))
    assert await house.pictures.forget(lambda source, tags: source == "image/cat.png") == 1
    for path in ("image/cat.png", "image/dog.png"):
        await house.get(PictureSource(path=path))
    assert house.pictures.tally.made == 3


async def test_a_picture_that_was_begun_before_a_purge_is_not_kept_and_joined_by_nobody_after_it(house: House) -> None:
    await house.get(CAT)
    await house.pictures.forget()
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    early = asyncio.ensure_future(house.get(CAT))
    await until(lambda: house.pool.busy == 1)
    await house.pictures.forget(lambda source, tags: True)
    late = asyncio.ensure_future(house.get(CAT))
    await until(lambda: house.pool.waiting == 1)
    os.kill(pid, signal.SIGCONT)
    assert (await early).status == (await late).status == 200
    assert (house.pictures.tally.made, house.pictures.tally.joined, len(house.variants)) == (3, 0, 1)


async def test_a_purge_of_something_else_leaves_pictures_on_their_way_alone(house: House) -> None:
    await house.get(CAT)
    await house.pictures.forget()
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    early = asyncio.ensure_future(house.get(CAT))
    await until(lambda: house.pool.busy == 1)
    await house.pictures.forget(lambda source, tags: "post-8" in tags)
    late = asyncio.ensure_future(house.get(CAT))
    await until(lambda: house.pictures.tally.joined == 1)
    os.kill(pid, signal.SIGCONT)
    assert (await early).status == (await late).status == 200
    assert (house.pictures.tally.made, len(house.variants)) == (2, 1)
    assert await house.pictures.forget(lambda source, tags: "post-7" in tags) == 1


async def test_a_source_that_failed_is_tried_again_after_its_own_purge_alone(house: House) -> None:
    house.elsewhere.pictures[str(ELSEWHERE)] = b"no picture"
    assert (await house.get(ELSEWHERE)).status == 415
    await house.pictures.forget(lambda source, tags: source == "image/cat.png")
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(), "PNG")
    assert (await house.get(ELSEWHERE)).status == 415
    await house.pictures.forget(lambda source, tags: source == str(ELSEWHERE))
    assert (await house.get(ELSEWHERE)).status == 200


async def test_a_picture_of_a_file_that_was_overwritten_meanwhile_is_not_kept(house: House) -> None:
    await house.get(CAT, ImageOptions(50))
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    asked = asyncio.ensure_future(house.get(CAT))
    await until(lambda: house.pool.busy == 1)
    house.files.put("image/cat.png", gallery.as_bytes(gallery.gradient(80, 60), "PNG"))
    os.kill(pid, signal.SIGCONT)
    assert (await asked).status == 200
    assert len(house.variants) == 1


async def test_a_full_disk_keeps_nothing_and_refuses_nobody(house: House, tmp_path: Path) -> None:
    (tmp_path / "variants").rmdir()
    (tmp_path / "variants").write_bytes(b"no folder")
    response = await house.get(CAT)
    assert response.status == 200
    assert gallery.upright(await response.read()).size == (100, 75)
    assert len(house.variants) == 0


async def test_what_was_rendered_is_told_and_kept(house: House) -> None:
    first = await house.pictures.render(CAT, ImageOptions(100, format="webp"))
    again = await house.pictures.render(CAT, ImageOptions(100, format="webp"))
    assert (first.format, first.width, first.height, first.cached) == ("webp", 100, 75, False)
    assert first.source_bytes == again.source_bytes == len(gallery.as_bytes(gallery.quarters(), "PNG"))
    assert (again.size_bytes, again.cached) == (first.size_bytes, True)
    assert (await house.get(CAT, ImageOptions(100, format="webp"))).status == 200
    assert house.pool.tally.made == 1


# Large ones, and those that are had already.


def _noise(side: int) -> bytes:
    """A picture that cannot be made smaller: about 3 bytes for each of its points."""
    return gallery.as_bytes(Image.frombytes("RGB", (side, side), random.Random(7).randbytes(3 * side * side)), "PNG")


LARGE = ImageOptions(1800, format="png")


async def test_who_has_a_picture_or_asks_for_its_head_is_answered_without_its_file(house: House) -> None:
    first = await house.get(CAT)
    (kept,) = (path for path in house.variants.folder.rglob("*") if path.is_file())
    kept.unlink()
    again = await house.get(CAT, If_None_Match=first.headers["ETag"])
    assert (again.status, again.headers["ETag"]) == (304, first.headers["ETag"])
    assert (await house.get(CAT, If_None_Match="*")).status == 304
    head = await house.client.head(house.links.url(CAT, SMALL))
    assert (head.status, head.headers["Content-Length"]) == (200, first.headers["Content-Length"])
    assert house.pictures.tally.made == 1
    anew = await house.get(CAT, If_None_Match='"another"')
    assert (anew.status, await anew.read()) == (200, await first.read())
    assert house.pictures.tally.made == 2


async def test_twenty_who_read_nothing_hold_a_piece_each_of_a_large_picture(tmp_path: Path) -> None:
    async with house_of(tmp_path, per_client=None, max_source=2**24) as house:
        house.files.put("image/cat.png", _noise(1800))
        whole = await (await house.get(CAT, LARGE)).read()
        assert len(whole) > 20 * PIECE
        request = f"GET {house.links.url(CAT, LARGE)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        with ExitStack() as stack:
            for _ in range(20):
                reader = stack.enter_context(socket.socket())
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect((house.client.host, house.client.port))
                reader.sendall(request)
            await until(lambda: sum(size > 0 for size in _held(house)) == 20)
            assert max(_held(house)) <= 2 * PIECE
            assert (house.pictures.tally.made, house.pictures.tally.kept) == (1, 20)


def _held(house: House) -> list[int]:
    """Bytes that wait in the memory of this process, for each connection."""
    server = house.client.server.handler
    return [one.transport.get_write_buffer_size() for one in server.connections if one.transport is not None]


@pytest.mark.parametrize("kept", ["kept", "no room", "no disk"])
async def test_a_large_picture_comes_whole_to_all_who_wait_for_it(tmp_path: Path, kept: str) -> None:
    room = 2**20 if kept == "no room" else 2**30
    async with house_of(tmp_path, per_client=None, max_source=2**24, cache=room) as house:
        if kept == "no disk":
            (tmp_path / "variants").rmdir()
            (tmp_path / "variants").write_bytes(b"no folder")
        original = _noise(1000)
        house.files.put("image/cat.png", original)
        options = ImageOptions(1000, format="png")
        responses = await asyncio.gather(*(house.get(CAT, options) for _ in range(5)))
        (body,) = {await response.read() for response in responses}
        assert {response.headers["ETag"] for response in responses} == {f'"{sha256(body).hexdigest()[:32]}"'}
        assert {response.headers["Content-Length"] for response in responses} == {str(len(body))}
        assert gallery.upright(body).tobytes() == gallery.upright(original).tobytes()
        assert (house.pictures.tally.made, len(house.variants)) == (1, 1 if kept == "kept" else 0)


async def test_a_large_picture_that_is_cut_while_it_is_sent_is_not_taken_for_whole(tmp_path: Path) -> None:
    async with house_of(tmp_path, per_client=None, max_source=2**24) as house:
        house.files.put("image/cat.png", _noise(1800))
        await (await house.get(CAT, LARGE)).read()
        (kept,) = (path for path in house.variants.folder.rglob("*") if path.is_file())
        response = await house.get(CAT, LARGE)
        os.truncate(kept, 5 * PIECE)
        with pytest.raises(ClientPayloadError):
            await response.read()


# Why there is none.


async def told(response: ClientResponse) -> tuple[int, str]:
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return response.status, await response.text()


async def test_who_signed_nothing_gets_nothing(house: House) -> None:
    url = house.links.url(CAT, SMALL)
    assert (await told(await house.fetch(url.replace("w=100", "w=200"))))[0] == 403
    assert (await told(await house.fetch("/img/-/w=100/local/image/cat.png")))[0] == 403
    assert house.pool.workers == 0


async def test_a_preset_needs_no_signature(house: House) -> None:
    response = await house.fetch(f"/img/p/small/{spell_source(CAT)}")
    image = gallery.upright(await response.read())
    assert (response.status, image.format, image.size) == (200, "PNG", (50, 38))
    assert (await told(await house.fetch("/img/p/large/local/image/cat.png")))[0] == 404


async def test_a_url_that_expires_is_kept_no_longer_not_even_stale(house: House) -> None:
    url = house.links.url(CAT, SMALL, int(house.clock.now) + 60)
    assert (await house.fetch(url)).headers["Cache-Control"] == "public, max-age=60, must-revalidate"
    house.clock.now += 60
    status, text = await told(await house.fetch(url))
    assert (status, "expired" in text) == (403, True)


async def test_a_query_makes_no_other_picture(house: House) -> None:
    assert (await told(await house.fetch(house.links.url(CAT, SMALL) + "?v=2")))[0] == 400


async def test_a_source_that_is_not_there_is_told(house: House) -> None:
    status, text = await told(await house.get(PictureSource(path="image/dog.png")))
    assert (status, "image/dog.png" in text) == (404, True)


@pytest.mark.parametrize(
    ("data", "settings", "status"),
    [
        (gallery.bomb(), {}, 422),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 415),
        (gallery.as_bytes(gallery.photo(300, 200), "PNG"), {"max_source": 1024}, 413),
        (gallery.as_bytes(gallery.photo(300, 200), "PNG")[:5000], {}, 422),
    ],
)
async def test_a_source_that_is_not_taken_is_told_once_and_not_tried_again_for_a_while(
    tmp_path: Path, data: bytes, settings: dict[str, object], status: int
) -> None:
    async with house_of(tmp_path, **settings) as house:
        house.files.put("image/cat.png", data)
        for options in (SMALL, SMALL, ImageOptions(50)):
            found, text = await told(await house.get(CAT, options))
            assert (found, text.startswith("the source is not made into a picture: it ")) == (status, True)
        assert house.pool.tally.rejected == 1
        house.clock.now += FAILURE_KEPT
        await house.get(CAT)
        assert house.pool.tally.rejected == 2
        assert house.pictures.tally.refused == {"cdn_image_rejected": 4}


async def _stop(house: House) -> int:
    await house.get(CAT, ImageOptions(10))
    (pid,) = house.pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    return pid


async def test_who_comes_when_all_places_are_taken_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with house_of(tmp_path, queue=1) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        pid = await _stop(house)
        taken = [asyncio.ensure_future(house.get(CAT, ImageOptions(width))) for width in (20, 30)]
        await until(lambda: house.pool.inside == 2)
        response = await house.get(CAT, ImageOptions(40))
        assert ((await told(response))[0], response.headers["Retry-After"]) == (503, "1")
        assert (await house.get(CAT, ImageOptions(10))).status == 200, "what is kept needs no worker"
        os.kill(pid, signal.SIGCONT)
        assert [response.status for response in await asyncio.gather(*taken)] == [200, 200]


async def test_a_picture_whose_worker_dies_is_told_and_the_next_one_is_made(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        house.files.put("image/dog.png", gallery.as_bytes(gallery.quarters(), "JPEG"))
        pid = await _stop(house)
        doomed = asyncio.ensure_future(house.get(CAT, ImageOptions(20)))
        await until(lambda: house.pool.busy == 1)
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)
        assert (await told(await doomed))[0] == 500
        assert (await house.get(PictureSource(path="image/dog.png"))).status == 200


async def test_a_picture_that_takes_too_long_is_told(tmp_path: Path) -> None:
    async with house_of(tmp_path, timeout=0.5) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        house.pool.tally.made = 0
        async with asyncio.timeout(20):
            while (await house.get(CAT, ImageOptions(10))).status != 200:  # half a second is little for a first start
                house.clock.now += FAILURE_KEPT
        (pid,) = house.pool.pids
        os.kill(pid, signal.SIGSTOP)
        assert (await told(await house.get(CAT, ImageOptions(20))))[0] == 504
        assert house.pool.workers == 0


async def test_what_ends_one_picture_of_a_source_says_nothing_of_its_others(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        pid = await _stop(house)
        doomed = asyncio.ensure_future(house.get(CAT, ImageOptions(20)))
        await until(lambda: house.pool.busy == 1)
        os.kill(pid, signal.SIGKILL)
        assert (await told(await doomed))[0] == 500
        assert (await told(await house.get(CAT, ImageOptions(20))))[0] == 500, "it is told again, and not tried"
        assert house.pool.tally.died == 1
        assert (await house.get(CAT, ImageOptions(30))).status == 200
        house.clock.now += FAILURE_KEPT
        assert (await house.get(CAT, ImageOptions(20))).status == 200


async def test_a_picture_that_ends_its_worker_again_is_left_alone_for_longer(tmp_path: Path) -> None:
    async with house_of(tmp_path) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        for died, later in ((1, FAILURE_KEPT), (2, FAILURE_KEPT * WORSE)):
            pid = await _stop(house)
            doomed = asyncio.ensure_future(house.get(CAT, ImageOptions(20)))
            await until(lambda: house.pool.busy == 1)
            os.kill(pid, signal.SIGKILL)
            assert (await doomed).status == 500
            house.clock.now += later - 1
            assert ((await house.get(CAT, ImageOptions(20))).status, house.pool.tally.died) == (500, died)
            house.clock.now += 1
            await house.variants.forget()
        assert (await house.get(CAT, ImageOptions(20))).status == 200


async def test_those_who_wait_longer_than_may_be_are_no_failures_of_their_source(tmp_path: Path) -> None:
    async with house_of(tmp_path, timeout=0.5) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        house.files.put("image/dog.png", gallery.as_bytes(gallery.quarters(), "JPEG"))
        async with asyncio.timeout(20):
            while (await house.get(CAT, ImageOptions(10))).status != 200:  # half a second is little for a first start
                house.clock.now += FAILURE_KEPT
        (pid,) = house.pool.pids
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: stopped(pid))
        holds = asyncio.ensure_future(house.pool.make(_job(house, tmp_path), 20.0))
        await until(lambda: house.pool.busy == 1)
        response = await house.get(PictureSource(path="image/dog.png"))
        assert ((await told(response))[0], response.headers["Retry-After"]) == (503, "1")
        os.kill(pid, signal.SIGCONT)
        await holds
        assert (await house.get(PictureSource(path="image/dog.png"))).status == 200


def _job(house: House, folder: Path) -> Job:
    return Job(house.files.folder / "image/cat.png", Wish("webp", 80, width=10), folder / "held", {})


# One client.


async def test_a_client_has_as_many_pictures_made_as_it_may_and_gets_all_that_are_there(tmp_path: Path) -> None:
    async with house_of(tmp_path, per_client="2/m") as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))

        async def ask(width: int, client: str) -> int:
            return (await house.get(CAT, ImageOptions(width), X_Forwarded_For=client)).status

        assert [await ask(width, "192.0.2.7") for width in (10, 20, 10, 20)] == [200] * 4
        refused = await house.get(CAT, ImageOptions(30), X_Forwarded_For="192.0.2.7")
        assert ((await told(refused))[0], refused.headers["Retry-After"]) == (429, "30")
        assert await ask(10, "192.0.2.7") == 200, "what was made before is not counted"
        assert await ask(30, "192.0.2.8") == 200, "others may have more made"
        assert await ask(30, "192.0.2.7") == 200
        assert (await house.pictures.render(CAT, ImageOptions(40))).width == 40, "nor is what an operator asks for"
        house.clock.now += 30
        assert await ask(50, "192.0.2.7") == 200


async def test_clients_of_one_ipv6_network_are_one(tmp_path: Path) -> None:
    async with house_of(tmp_path, per_client="1/m") as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        statuses = [
            (await house.get(CAT, ImageOptions(width), X_Forwarded_For=f"2001:db8::{width}")).status
            for width in (10, 20)
        ]
        assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("told", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("203.0.113.9, 198.51.100.1, 10.0.0.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.2", "10.0.0.2"),
        (None, None),
    ],
)
def test_a_client_is_the_nearest_that_is_no_trusted_proxy(told: str | None, client: str | None) -> None:
    fields = [told] if told is not None else []
    assert client_of(fields, lambda address: address.startswith("10.")) == client


# From elsewhere.


async def test_what_is_fetched_takes_no_place_from_files_that_are_here(tmp_path: Path) -> None:
    async with house_of(tmp_path, queue=0) as house:
        house.files.put("image/cat.png", gallery.as_bytes(gallery.quarters(), "PNG"))
        slow = [asyncio.ensure_future(house.get(PictureSource(url=f"https://slow.example/{n}.png"))) for n in range(40)]
        await until(lambda: len(house.elsewhere.asked) == len(slow))
        assert (await house.get(CAT)).status == 200
        for one in slow:
            one.cancel()
        await asyncio.wait(slow)


async def test_a_picture_from_elsewhere_is_fetched_once_and_believed_for_a_while(house: House) -> None:
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(), "PNG")
    for options in (SMALL, SMALL):
        response = await house.get(ELSEWHERE, options)
        assert response.status == 200
        assert response.headers["Cache-Control"] == f"public, max-age={FOREIGN_FRESH}"
        assert response.headers["Surrogate-Key"].split() == list(foreign_tags(str(ELSEWHERE)))
    assert house.elsewhere.asked == [str(ELSEWHERE)]
    house.clock.now += FOREIGN_FRESH + 1
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(20, 20), "PNG")
    assert gallery.upright(await (await house.get(ELSEWHERE)).read()).size == (20, 20)
    leftovers = list(house.variants.folder.rglob("begun-*"))
    assert leftovers == []


async def test_a_purge_of_a_foreign_source_has_it_fetched_again(house: House) -> None:
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(), "PNG")
    await house.get(ELSEWHERE)
    await house.pictures.forget(lambda source, tags: source == str(ELSEWHERE))
    await house.get(ELSEWHERE)
    assert len(house.elsewhere.asked) == 2


@pytest.mark.parametrize(
    "written",
    [f"tag:{foreign_tag(str(ELSEWHERE))}", str(ELSEWHERE), "host:media.example.com", "https://media.example.com/*"],
)
async def test_a_purge_of_what_is_elsewhere_gives_its_new_bytes_to_whoever_asks(house: House, written: str) -> None:
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(), "PNG")
    await house.get(ELSEWHERE)
    house.elsewhere.pictures[str(ELSEWHERE)] = gallery.as_bytes(gallery.quarters(20, 20), "PNG")
    assert await house.pictures.forget(means_source([target(written)], Places("/cdn/", "/img/"))) == 1
    assert gallery.upright(await (await house.get(ELSEWHERE)).read()).size == (20, 20)


@pytest.mark.parametrize(("tag", "kept"), [("post-7", 0), ("file:image/cat.png", 0), ("post-8", 1)])
async def test_a_purge_by_a_tag_of_a_file_reaches_its_pictures_on_disk(house: House, tag: str, kept: int) -> None:
    await house.get(CAT)
    assert await house.pictures.forget(means_source([target(f"tag:{tag}")], Places("/cdn/", "/img/"))) == 1 - kept
    assert len(house.variants) == kept


async def test_a_foreign_source_that_gives_nothing_is_not_asked_again_for_a_while(house: House) -> None:
    for width in (10, 20):
        assert (await told(await house.get(ELSEWHERE, ImageOptions(width))))[0] == 502
    assert len(house.elsewhere.asked) == 1
    assert (await told(await house.get(PictureSource(url="https://barred.example/a.png"))))[0] == 403


async def test_without_anybody_who_fetches_no_url_is_a_source(tmp_path: Path) -> None:
    house = House(tmp_path, CdnImages(), 1)
    pictures = Pictures(house.settings, house.pool, house.variants, None, None)
    with pytest.raises(SourceBlocked, match=r"cdn\.images\.sources"):
        await pictures.picture(ELSEWHERE, SMALL)
