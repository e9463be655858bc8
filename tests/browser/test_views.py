"""Every view of the dashboard with the life of the sample site in it, for everybody who may look."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.sample import KEY, Sample, sample
from tests.browser.sight import PHONE, Sight, Theme, looking

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

REPORTS = {
    "user-growth": "New users",
    "post-activity": "Posts",
    "community-growth": "Joined",
    "engagement": "Active",
    "moderation": "Actions",
    "reports": "Opened",
    "communities": "Communities",
    "users": "Users",
}
"""What is drawn of each."""

SHOWN: dict[str, tuple[str, ...]] = {
    "overview": ("all 3 up", "hits in five minutes", "local", "What happened"),
    "traffic": ("Requests per second", "Latency"),
    "traffic?of=pool%3Adefault&span=5m": ("Attempts per second", "Latency"),
    "pools": ("default", "round-robin", "3 of 3"),
    "pools?pool=default": ("127.0.0.1:", "Drain…", "200 in"),
    "routes": ("default",),
    "cache": ("Hits, last five minutes", "By route", "posts"),
    "cdn": ("local", "No file"),
    "cdn?tab=pictures": ("picture",),
    "cdn?tab=traffic": ("Requests",),
    "cdn?tab=purges": ("None in the last days",),
    "community": ("figures",),
    **{f"community?report={name}": (word,) for name, word in REPORTS.items()},
    "errors": ("500", "default"),
    "config": ("strategy: round-robin", "revision 1"),
    "config?tab=differences": ("What is in force is what the file says.",),
    "config?tab=edit": ("Apply…",),
    "config?tab=history": ("in force",),
    "config?tab=why": ("Where a setting comes from",),
    "system": ("uvloop", "pool default"),
    "system?tab=databases": ("redis", "not configured"),
    "system?tab=certificates": ("No listener",),
    "system?tab=limits": ("No policy is configured",),
    "system?tab=alerts": ("webhook",),
    "system?tab=keys": ("ADMIN_API_KEY", "admin"),
    "system?tab=audit": ("begin session",),
    "reference": ("/api/events",),
    "reference?op=change_server": ("weight", "Try it"),
}
"""By view and what of it is opened: what the sample site must have made it show."""


A_DIGIT = 0.001
"""Of the screen, moved by as much of it: what a figure with a digit more pushes aside. A hundredth of a good page's."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(browser: Browser) -> AsyncIterator[Sample]:
    async with sample() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sight(browser: Browser, site: Sample) -> AsyncIterator[Sight]:
    """One tab, logged in as an admin, that goes from view to view."""
    async with looking(browser, site.admin) as seen:
        await seen.log_in(KEY)
        yield seen


async def test_no_view_is_left_out_of_these_tests(sight: Sight) -> None:
    assert set(await sight.views()) == {view.partition("?")[0] for view in SHOWN}


@pytest.mark.parametrize("view", SHOWN)
async def test_a_view_shows_what_the_sample_site_does_and_complains_of_nothing(sight: Sight, view: str) -> None:
    await sight.go(view)
    text = await sight.text()
    for expected in SHOWN[view]:
        assert expected in text
    assert sight.complaints == []


async def test_the_figures_are_those_of_the_api(sight: Sight, site: Sample) -> None:
    await sight.go("pools?pool=default")
    status = await site.call("GET", "/api/infrastructure/load-balancer/status")
    servers = status["pools"]["default"]["servers"]
    rows = await sight.page.eval_on_selector_all("main tbody tr", "all => all.map((row) => row.innerText)")
    assert {name for name in servers if any(name in row for row in rows)} == set(servers)
    await sight.go("community?report=post-activity")
    shown = int(re.sub(r"\D", "", await sight.page.inner_text(".figure:first-child .figure-value")))
    posts = (await site.call("GET", "/api/monitoring/analytics/post-activity"))["summary"]["posts"]["value"]
    assert 0 < shown <= posts


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_view_can_be_used_by_everybody(browser: Browser, site: Sample, theme: Theme) -> None:
    """As far as axe can tell: names, roles, contrast, order."""
    found = {}
    async with looking(browser, site.admin, theme=theme, still=True) as sight:
        await sight.page.goto(sight.url)
        await sight.page.wait_for_selector("form")
        found["login"] = await sight.axe()
        await sight.log_in(KEY)
        for view in SHOWN:
            await sight.go(view)
            found[view] = await sight.axe()
        await sight.go("pools?pool=default")
        await sight.page.click("text=Drain…")
        await sight.page.wait_for_selector("dialog[open]")
        found["a question"] = await sight.axe()
    assert {view: problems for view, problems in found.items() if problems} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_view_is_wider_than_a_phone(browser: Browser, site: Sample, theme: Theme) -> None:
    found = {}
    async with looking(browser, site.admin, size=PHONE, theme=theme) as sight:
        await sight.page.goto(sight.url)
        await sight.page.wait_for_selector("form")
        found["login"] = await sight.wider_than_the_screen()
        await sight.log_in(KEY)
        for view in SHOWN:
            await sight.go(view)
            found[view] = await sight.wider_than_the_screen()
    assert {view: problems for view, problems in found.items() if problems} == {}


async def test_nothing_moves_by_itself_once_a_view_is_there(browser: Browser, site: Sample) -> None:
    found = {}
    async with looking(browser, site.admin) as sight:
        await sight.log_in(KEY)
        for view in [*await sight.views(), "pools?pool=default"]:
            await sight.go(view)
            await sight.page.wait_for_timeout(300)  # what comes in the next frames
            await sight.page.evaluate("() => { window.shifts.length = 0; }")
            await sight.page.wait_for_timeout(1200)  # a second's figures come meanwhile
            shifts = await sight.page.evaluate("() => window.shifts")
            if sum(shift[0] for shift in shifts) > A_DIGIT:
                found[view] = shifts
    assert found == {}


async def test_a_viewer_finds_nothing_that_changes_anything(browser: Browser, site: Sample) -> None:
    """Whatever is clicked: what asks for a change is not there, and not only refused."""
    async with looking(browser, site.admin) as sight:
        await sight.log_in(await site.key("viewer"))
        assert sight.changes == ["POST /api/session"]
        for view in SHOWN:
            await sight.go(view)
            clicked = await sight.page.evaluate(
                """async () => {
                  let count = 0;
                  for (const button of document.querySelectorAll("main button")) {
                    if (!button.isConnected || button.disabled) continue;
                    button.click();
                    count++;
                    await new Promise((done) => setTimeout(done, 30));
                    document.querySelector("dialog[open] button[type=submit]")?.click();
                  }
                  return count;
                }"""
            )
            assert clicked or view == "overview", f"no button in {view}"
        assert sight.changes == ["POST /api/session"]


async def test_what_was_is_there_again_after_a_reload(sight: Sight) -> None:
    await sight.go("overview")
    count = "() => document.querySelector('.figure .spark path')?.getAttribute('d').split(/[ML]/).length ?? 0"
    await sight.page.wait_for_function(f"() => ({count})() > 10")
    before = await sight.page.evaluate(count)
    await sight.page.reload()
    await sight.page.wait_for_selector(".pulse.on")
    await sight.page.wait_for_function(f"() => ({count})() >= {before}")


async def test_keys_open_views_and_a_question_is_left_with_escape(sight: Sight) -> None:
    await sight.go("overview")
    for key, view in zip("1234567890", await sight.views(), strict=False):
        await sight.page.keyboard.press(key)
        await sight.page.wait_for_function("view => location.hash === `#/${view}`", arg=view)
        await sight.settled()
    await sight.go("pools?pool=default")
    button = sight.page.locator("text=Drain…").first
    await button.focus()
    await sight.page.keyboard.press("Enter")
    await sight.page.wait_for_selector("dialog[open]")
    await sight.page.keyboard.press("Escape")
    await sight.page.wait_for_selector("dialog", state="detached")
    assert await button.evaluate("button => button === document.activeElement")
    assert [change for change in sight.changes if "session" not in change] == []


async def test_colours_are_as_one_wants_them_and_stay_so(sight: Sight) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = await sight.page.evaluate(background)
    await sight.page.click("button[aria-label^=Colours]")
    await sight.page.click("button[aria-label^=Colours]")
    dark = await sight.page.evaluate(background)
    assert dark != light
    await sight.page.reload()
    await sight.settled()
    assert await sight.page.evaluate(background) == dark
    await sight.page.click("button[aria-label^=Colours]")
    assert await sight.page.evaluate(background) == light
