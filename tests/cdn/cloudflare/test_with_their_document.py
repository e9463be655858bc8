"""Cloudflare's OpenAPI document, a little tightened, judges what we send: prism refuses what it does not have."""

from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from balancer.cdn.answer import Answer
from balancer.cdn.cloudflare.answers import judge, judge_graph
from balancer.cdn.cloudflare.datasets import DAILY, HOURLY, SAMPLED, query
from balancer.cdn.cloudflare.provider import Cloudflare
from balancer.cdn.errors import AuthError, CdnError, Invalid, MissingRight, NotFound, RateLimited
from balancer.cdn.http import Call, Caller, Judge, open_session
from balancer.cdn.types import PurgeBatch, UploadRequest
from tests.cdn.cloudflare.accounts import GIF, purge, settings
from tests.cdn.cloudflare.mock import document, prism
from tests.cdn.fakes.cloudflare import EMAIL, KEY, TOKEN, ZONE

pytestmark = pytest.mark.slow
PURGE = f"/zones/{ZONE}/purge_cache"


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prism(document("cloudflare.contract.json"), tmp_path_factory.mktemp("prism") / "log") as url:
        yield url


@pytest.fixture
async def provider(mock: str) -> AsyncIterator[Cloudflare]:
    provider = Cloudflare(settings(mock))
    await provider.start()
    yield provider
    await provider.close()


async def asked(mock: str, call: Call, prefer: str, judged: Judge = judge) -> Answer:
    """By a caller that steers the mock: to a status, or an example."""
    headers: Mapping[str, str] = {"Authorization": f"Bearer {TOKEN}", "Prefer": prefer}
    async with open_session() as session:
        return await Caller(session, "cloudflare", mock, headers, 20.0, [TOKEN], judge=judged).make(call)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "written",
    ["/a/b.png", "/ä b.png?v=1&w=(2)", "/posts/*", "https://www.example.com/x?y", "tag:post-42", "host:h.example", "*"],
)
async def test_every_purge_is_as_documented(provider: Cloudflare, written: str, soft: bool) -> None:
    await purge(provider, written, soft=soft)


async def test_a_full_batch_is_as_documented(provider: Cloudflare) -> None:
    await purge(provider, *(f"/{number}?v" for number in range(200)))


async def test_the_token_and_the_zone_are_asked_as_documented(provider: Cloudflare) -> None:
    status = await provider.status()
    # The document's example of a zone is another one, and in development mode; prism has no limits of data sets.
    assert {problem.code for problem in status.problems} <= {"development_mode", "foreign_host"}
    assert status.details["token"] == "active"
    assert status.account == "example.com"


async def test_pictures_are_sent_as_documented(mock: str) -> None:
    provider = Cloudflare(settings(mock, storage="images"))
    await provider.start()
    await provider.upload(UploadRequest(GIF, "cat.gif", "image"))
    await provider.upload(UploadRequest(GIF, "cat.gif", "image", overwrite=True))
    assert await provider.delete("image/cat.gif")
    assert {"images", "images_allowed"} <= (await provider.status()).details.keys()
    await provider.close()


async def test_a_key_with_its_email_is_documented(mock: str) -> None:
    provider = Cloudflare(settings(mock, cdn_api_key=KEY, email=EMAIL))
    await provider.start()
    await purge(provider, "tag:a")
    await provider.close()


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("prefixes", ("https://www.example.com/posts",)),
        ("files", ("https://www.example.com/*",)),
        ("files", tuple(f"https://www.example.com/{number}" for number in range(101))),
        ("tags", ("a b",)),
        ("tags", ()),
    ],
)
async def test_what_is_not_documented_is_refused(provider: Cloudflare, kind: str, items: tuple[str, ...]) -> None:
    """Else all of the above would prove nothing."""
    with pytest.raises(Invalid):
        await provider.purge(PurgeBatch(kind, items, ()), "key")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(400, Invalid, "1092"), (401, AuthError, "10000"), (403, MissingRight, "10000"), (429, RateLimited, "1134")],
)
async def test_documented_refusals_of_a_purge(mock: str, status: int, kind: type[CdnError], code: str) -> None:
    with pytest.raises(CdnError) as caught:
        await asked(mock, Call("purge", "POST", PURGE, json={"tags": ["a"]}), f"code={status}")
    assert (type(caught.value), caught.value.provider_code) == (kind, code)
    assert caught.value.retry_after_s == {401: 2.0, 429: 12.0}.get(status)


@pytest.mark.parametrize(("status", "kind"), [(400, AuthError), (401, AuthError), (404, NotFound), (429, RateLimited)])
async def test_documented_refusals_of_a_zone(mock: str, status: int, kind: type[CdnError]) -> None:
    with pytest.raises(CdnError) as caught:
        await asked(mock, Call("zone", "GET", f"/zones/{ZONE}"), f"code={status}")
    assert type(caught.value) is kind


@pytest.mark.parametrize("chosen", [HOURLY, DAILY, SAMPLED])
async def test_queries_are_sent_as_documented(mock: str, chosen: str) -> None:
    variables = {"zone": ZONE, "from": "2026-03-01T10:00:00Z", "to": "2026-03-01T11:00:00Z"}
    json = {"query": query(chosen, 100), "variables": variables}
    await asked(mock, Call("stats", "POST", "/graphql", json=json), "example=ok", judge_graph)


async def test_documented_errors_inside_a_good_status_are_errors(mock: str) -> None:
    with pytest.raises(CdnError):
        await asked(mock, Call("stats", "POST", "/graphql", json={"query": "{}"}), "example=errors", judge_graph)
