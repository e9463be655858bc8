"""A description of Bunny by OpenAPI, made from its documentation, judges what we send: prism refuses all else.

It is no word of Bunny's own, and written apart from the client: both have to be wrong in the same way.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from balancer.cdn.bunny.answers import judge
from balancer.cdn.bunny.provider import Bunny
from balancer.cdn.errors import AuthError, CdnError, NotFound, RateLimited, Unavailable
from balancer.cdn.http import Call, Caller, open_session
from balancer.cdn.purging.patterns import parse
from balancer.cdn.purging.ticket import PurgeOrder
from tests.cdn.bunny.test_provider import settings
from tests.cdn.cloudflare.mock import prism
from tests.cdn.fakes.bunny import KEY

pytestmark = pytest.mark.slow
DOCUMENT = Path(__file__).with_name("document.yaml")


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prism(DOCUMENT, tmp_path_factory.mktemp("prism") / "log") as url:
        yield url


@pytest.fixture
async def provider(mock: str, tmp_path: Path) -> AsyncIterator[Bunny]:
    provider = Bunny(settings(mock, tmp_path))
    await provider.start()
    yield provider
    await provider.close()


@pytest.mark.parametrize(
    "written", ["/a/b.png", "/ä b.png?v=1&w=(2)", "/posts/*", "/posts/", "tag:post-42", "host:h.example", "*"]
)
async def test_every_purge_is_as_documented(provider: Bunny, written: str) -> None:
    targets = parse(PurgeOrder(patterns=(written,), everything=written == "*"))
    for batch in provider.plan_purge(targets, soft=False, widen=False).batches:
        await provider.purge(batch, "key")


async def test_the_zone_is_asked_for_and_read_as_documented(mock: str, tmp_path: Path) -> None:
    provider = Bunny(settings(mock, tmp_path, {"pull_zone_id": 12345}))
    await provider.start()
    status = await provider.status()
    await provider.close()
    # The example is of another zone.
    assert ([problem.code for problem in status.problems], status.account) == (["unknown_host"], "demo")


async def test_figures_are_asked_for_and_read_as_documented(provider: Bunny) -> None:
    found = await provider.stats(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), 86_400)
    assert (found.requests, found.hits, found.hit_ratio) == (100, 80, 0.8)
    assert (found.bytes_out, found.bytes_origin) == (1_000_000, 200_000)
    assert (found.status_4xx, found.status_5xx) == (2, 0)
    assert found.missing == {}


async def test_a_file_is_removed_as_documented(provider: Bunny) -> None:
    """Of uploads there is a golden file: the document's path of a file has no folders."""
    assert await provider.delete("a.png")


@pytest.mark.parametrize(("status", "error"), [(401, AuthError), (404, NotFound), (429, RateLimited)])
async def test_each_documented_error_is_one_of_ours(mock: str, status: int, error: type[CdnError]) -> None:
    headers = {"AccessKey": KEY, "Prefer": f"code={status}"}
    async with open_session() as session:
        caller = Caller(session, "bunny", mock, headers, 20.0, [KEY], judge=judge)
        with pytest.raises(error) as failed:
            await caller.make(Call("purge", "POST", "/pullzone/12345/purgeCache", json={}))
    assert failed.value.retry_after_s == (7.0 if status == 429 else None)


async def test_a_503_is_one_to_try_again(mock: str) -> None:
    async with open_session() as session:
        caller = Caller(session, "bunny", mock, {"AccessKey": KEY, "Prefer": "code=503"}, 20.0, [KEY], judge=judge)
        with pytest.raises(Unavailable):
            await caller.make(Call("purge", "POST", "/purge", params={"url": "https://a.example/"}))
