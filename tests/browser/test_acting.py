"""What is done on the dashboard is done, only once somebody says so, and can be taken back."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from PIL import Image
from playwright.async_api import Browser
from playwright.async_api import TimeoutError as PlaywrightTimeout

from tests.browser.sight import Sight, looking
from tests.fault_proxy import fault_proxy
from tests.system.process import KEY, AppServer, Balancer, running, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

STATUS = "/api/infrastructure/load-balancer/status"


@asynccontextmanager
async def site(folder: Path, **settings: object) -> AsyncIterator[tuple[Balancer, list[AppServer]]]:
    servers = [AppServer("a"), AppServer("b")]
    pool = {"servers": {one.name: f"http://127.0.0.1:{one.port}" for one in servers}}
    balancer = Balancer(folder, {"pools": {"web": pool}, "routes": {"all": {"pool": "web"}}, "cache": True, **settings})
    try:
        for server in servers:
            await server.start()
        await balancer.start()
        yield balancer, servers
    finally:
        await balancer.end()
        for server in servers:
            await server.end()


def admin(balancer: Balancer) -> str:
    return f"http://127.0.0.1:{balancer.admin}"


@asynccontextmanager
async def at(browser: Browser, balancer: Balancer, view: str, key: str = KEY) -> AsyncIterator[Sight]:
    """Logged in, before a view."""
    async with looking(browser, admin(balancer)) as sight:
        await sight.log_in(key, view)
        yield sight


async def state(balancer: Balancer, server: str) -> str:
    return str((await balancer.server(server, "web"))["state"])


async def said(sight: Sight, text: str) -> None:
    try:
        await sight.page.wait_for_selector(f".message >> text={text}")
    except PlaywrightTimeout:
        shown = await sight.page.eval_on_selector_all("dialog, .message", "all => all.map((one) => one.outerHTML)")
        raise AssertionError(f"{text!r} was not said; there is: {shown}") from None


async def test_a_wrong_key_is_told_and_a_right_one_leads_where_one_was_going(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), looking(browser, admin(balancer)) as sight:
        await sight.page.goto(f"{sight.url}/#/config?tab=history")
        await sight.page.fill("input[name=key]", "not-the-key-at-all-but-as-long")
        await sight.page.click("button[type=submit]")
        await sight.page.wait_for_selector("form [role=alert]")
        assert [word for word in sight.complaints if "401" not in word] == []
        sight.complaints.clear()
        await sight.page.fill("input[name=key]", KEY)
        await sight.page.click("button[type=submit]")
        await sight.page.wait_for_selector("text=The last configurations")
        assert KEY not in await sight.page.content()
        assert KEY not in json.dumps(await sight.context.storage_state())


async def test_who_logs_out_is_out_in_every_tab(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "overview") as sight:
        other = await sight.context.new_page()
        await other.goto(f"{sight.url}/#/pools")
        await other.wait_for_selector("nav.side")
        await sight.page.click("text=Log out")
        await sight.page.wait_for_selector("input[name=key]")
        assert await sight.context.cookies() == []
        await other.reload()
        await other.wait_for_selector("input[name=key]")


async def test_a_link_with_a_key_logs_in_and_keeps_it_nowhere(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), looking(browser, admin(balancer)) as sight:
        await sight.page.goto(f"{sight.url}/#login={KEY}")
        await sight.page.wait_for_selector("nav.side")
        assert KEY not in sight.page.url
        await sight.page.go_back()
        assert KEY not in sight.page.url


async def test_a_link_with_another_key_does_not_take_the_place_of_the_one_in_use(
    browser: Browser, tmp_path: Path
) -> None:
    """Or else what one does would be done in another's name, without one's knowledge."""
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "overview") as sight:
        _, made = await balancer.call("POST", "/api/keys", {"id": "stranger", "role": "operator"})
        await sight.page.goto(f"{sight.url}/#login={made['key']}")
        await said(sight, "log out before you use the link's key")
        assert await sight.page.inner_text(".who") == "admin"
        await sight.page.reload()
        assert await sight.page.inner_text(".who") == "admin"


async def test_a_server_is_drained_once_it_is_confirmed_and_undone_with_a_click(
    browser: Browser, tmp_path: Path
) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "pools?pool=web") as sight:
        await sight.page.click("button[aria-label='Drain a']")
        await sight.page.wait_for_selector("dialog[open]")
        question = await sight.text("dialog")
        assert "Nothing is in flight there now." in question
        assert "the one server of web that stays" in question
        await sight.page.click("dialog >> text=Cancel")
        assert await state(balancer, "a") == "up"
        await sight.page.click("button[aria-label='Drain a']")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "a is drained.")
        assert await state(balancer, "a") == "drained"
        await sight.page.click(".message >> text=Undo")
        await until(lambda: _is(balancer, "a", "up"), balancer)
        await sight.page.wait_for_selector("button[aria-label='Drain a']")


async def _is(balancer: Balancer, server: str, expected: str) -> bool:
    return await state(balancer, server) == expected


async def test_the_last_server_goes_only_when_its_pool_is_typed(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "pools?pool=web") as sight:
        await balancer.call("POST", "/api/infrastructure/load-balancer/pools/web/servers/b/drain")
        await sight.page.wait_for_selector("button[aria-label='Ready: b']")
        await sight.page.click("button[aria-label='Drain a']")
        await sight.page.wait_for_selector("dialog[open]")
        assert "answered with 503" in await sight.text("dialog")
        assert await sight.page.is_disabled("dialog button[type=submit]")
        await sight.page.fill("dialog input", "web")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "a is drained.")


async def test_what_is_being_typed_stays_while_figures_come(browser: Browser, tmp_path: Path) -> None:
    """The page is drawn again each second; who types takes longer than that."""
    left = []
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "pools?pool=web") as sight:

        async def typed(view: str, field: str, text: str) -> None:
            await sight.page.fill(field, text)
            await sight.page.wait_for_timeout(2500)  # of figures, which come by the clock of the balancer
            left.append((view, text, await sight.page.input_value(field)))

        await sight.page.click("text=Add a server")
        await typed("pools", "dialog input[name=url]", "http://127.0.0.1:9")
        await sight.page.click("dialog >> text=Cancel")
        for view, field, text in (
            ("routes", "main input[name=url]", "/a"),
            ("cache", "main textarea", "/posts/7"),
            ("config?tab=why", "main input[name=path]", "pools.web"),
            ("reference?op=explain_route", "main .try input >> nth=0", "/b"),
        ):
            await sight.go(view)
            await typed(view, field, text)
    assert [one for one in left if one[1] != one[2]] == []


async def test_a_server_is_added_weighed_checked_and_removed(browser: Browser, tmp_path: Path) -> None:
    third = AppServer("c")
    async with running(third), site(tmp_path) as (balancer, _), at(browser, balancer, "pools?pool=web") as sight:
        await sight.page.click("text=Add a server")
        await sight.page.fill("dialog input[name=url]", f"http://127.0.0.1:{third.port}")
        await sight.page.fill("dialog input[name=name]", "c")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "c is added.")
        await sight.page.click("button[aria-label='More for c']")
        await sight.page.click("text=Weight… >> visible=true")
        await sight.page.fill("dialog input[name=weight]", "7")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "c has the weight 7.")
        assert (await balancer.server("c", "web"))["weight"]["set"] == 7
        await sight.page.click("button[aria-label='More for c']")
        await sight.page.click("text=Check its health now >> visible=true")
        await said(sight, "c: answered")
        await sight.page.click("button[aria-label='More for c']")
        await sight.page.click("text=Remove… >> visible=true")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "c is removed.")
        _, status = await balancer.call("GET", STATUS)
        assert set(status["pools"]["web"]["servers"]) == {"a", "b"}


async def test_a_purge_tells_first_what_it_would_meet(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "cache") as sight:
        async with aiohttp.ClientSession() as session:
            for path in ("/cached/1", "/cached/2", "/cached/1"):
                async with session.get(balancer.url + path) as response:
                    assert response.status == 200
        await sight.page.fill("form.purge textarea", "/cached/1")
        await sight.page.click("text=What would it meet?")
        await sight.page.wait_for_selector("text=1 stored answer")
        assert (await balancer.call("GET", "/api/infrastructure/cache/stats"))[1]["entries"] == 2
        await sight.page.click("text=Purge 1 answer")
        await said(sight, "Purged: 1 answer.")
        assert (await balancer.call("GET", "/api/infrastructure/cache/stats"))[1]["entries"] == 1


async def _edited(sight: Sight, old: str, new: str) -> None:
    area = sight.page.locator("textarea[aria-label='Configuration as YAML']")
    text = await area.input_value()
    assert old in text
    await area.fill(text.replace(old, new))


async def test_a_configuration_that_somebody_else_has_changed_is_not_overwritten(
    browser: Browser, tmp_path: Path
) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "config?tab=edit") as sight:
        await _edited(sight, "strategy: round-robin", "strategy: random")
        status, _ = await _patched(balancer, {"shutdown": {"grace": "17s"}})
        assert status == 200
        await sight.page.click("text=Apply…")
        await sight.page.wait_for_selector("text=Somebody else has changed the configuration")
        assert [word for word in sight.complaints if "412" not in word] == []
        sight.complaints.clear()
        _, config = await balancer.call("GET", "/api/config")
        assert config["config"]["pools"]["web"]["strategy"] == "round-robin"
        await sight.page.click("text=begin with what is in force now")
        area = sight.page.locator("textarea[aria-label='Configuration as YAML']")
        await sight.page.wait_for_function("area => area.value.includes('17')", arg=await area.element_handle())
        await _edited(sight, "strategy: round-robin", "strategy: random")
        await sight.page.click("text=Apply…")
        await sight.page.click("dialog button[type=submit]")
        await sight.page.wait_for_selector("text=On trial")
        _, config = await balancer.call("GET", "/api/config")
        assert config["config"]["pools"]["web"]["strategy"] == "random"
        await sight.page.click("text=Keep it")
        await said(sight, "Confirmed: it stays.")
        await sight.go("config?tab=history")
        await sight.page.click("text=Go back… >> nth=0")
        await sight.page.select_option("dialog select", "0")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "is in force again.")
        _, config = await balancer.call("GET", "/api/config")
        assert config["config"]["pools"]["web"]["strategy"] == "round-robin"


async def _patched(balancer: Balancer, change: object) -> tuple[int, str]:
    assert balancer.session is not None
    headers = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
    url = f"{admin(balancer)}/api/config"
    async with balancer.session.patch(url, data=json.dumps(change), headers=headers) as response:
        return response.status, await response.text()


async def test_what_is_wrong_in_a_configuration_is_marked_at_its_line(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "config?tab=edit") as sight:
        area = sight.page.locator("textarea[aria-label='Configuration as YAML']")
        await area.fill("listen: 127.0.0.1:0\npools:\n  web: {servers: [http://127.0.0.1:1], strategy: rund-robin}\n")
        await sight.page.click("text=Check")
        await sight.page.wait_for_selector(".problems >> text=line 3")
        assert "round-robin" in await sight.text(".problems")  # what was meant, perhaps
        assert await sight.page.inner_text(".gutter .marked") == "▶ 3\n"


async def test_a_page_that_nobody_looks_at_follows_nothing_and_catches_up_when_it_is_looked_at(
    browser: Browser, tmp_path: Path
) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "overview") as sight:
        await sight.page.wait_for_selector(".pulse.on")
        look = """hidden => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await sight.page.evaluate(look, True)
        await until(lambda: _streams(balancer, 0), balancer)
        await balancer.call("POST", "/api/infrastructure/load-balancer/pools/web/servers/b/drain")
        await until(lambda: _is(balancer, "b", "drained"), balancer)
        assert "b of web is drained" not in await sight.text()
        await sight.page.evaluate(look, False)
        await sight.page.wait_for_selector(".pulse.on")
        await sight.page.wait_for_selector(".events >> text=b of web is drained")


async def _streams(balancer: Balancer, count: int) -> bool:
    _, text = await balancer.call("GET", "/metrics")
    return f"\nbalancer_admin_streams {count}\n" in text


async def test_a_file_is_dropped_shown_and_deleted(browser: Browser, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(picture, "PNG")
    cdn = {"url": "http://127.0.0.1:1", "local": {"directory": str(tmp_path / "cdn")}}
    async with site(tmp_path, cdn=cdn) as (balancer, _), at(browser, balancer, "cdn") as sight:
        drop = """async ([bytes, zone]) => {
          const held = new DataTransfer();
          held.items.add(new File([new Uint8Array(bytes)], "sea.png", { type: "image/png" }));
          const how = { bubbles: true, cancelable: true, dataTransfer: held };
          const there = document.querySelector(zone);
          for (const kind of ["dragover", "drop"]) there.dispatchEvent(new DragEvent(kind, how));
        }"""
        await sight.page.evaluate(drop, [list(picture.getvalue()), ".drop"])
        await sight.page.wait_for_selector("tbody >> text=sea.png")
        _, files = await balancer.call("GET", "/api/infrastructure/cdn/files")
        assert [(one["content_type"], one["size"]) for one in files["items"]] == [
            ("image/png", len(picture.getvalue()))
        ]
        await sight.page.click("button:has-text('Delete…')")
        await sight.page.click("dialog button[type=submit]")
        await said(sight, "Deleted")
        assert (await balancer.call("GET", "/api/infrastructure/cdn/files"))[1]["items"] == []
        # The picture's address is another site's, and nobody is there.
        sight.complaints = [word for word in sight.complaints if "ERR_" not in word]


async def test_an_operation_is_tried_on_the_page_that_explains_it(browser: Browser, tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "reference?op=get_server") as sight:
        await sight.page.fill("form.try input >> nth=0", "web")
        await sight.page.fill("form.try input >> nth=1", "a")
        await sight.page.click("text=Send GET")
        await sight.page.wait_for_selector("form.try [role=status] >> text=200")
        assert json.loads(await sight.page.inner_text("form.try pre"))["name"] == "a"


async def test_after_a_restart_a_page_asks_for_the_key_and_goes_on_where_it_was(
    browser: Browser, tmp_path: Path
) -> None:
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "pools?pool=web") as sight:
        await sight.page.wait_for_selector(".pulse.on")
        assert balancer.process is not None
        os.kill(balancer.process.pid, signal.SIGTERM)
        await balancer.wait()
        await sight.page.wait_for_selector(".pulse.off")
        await sight.page.wait_for_selector("text=The balancer does not answer.")
        assert balancer.session is not None
        await balancer.session.close()
        await balancer.start()
        await sight.page.wait_for_selector("input[name=key]")
        refused = [word for word in sight.complaints if "ERR_" in word or "401" in word]  # a browser's own words
        assert sight.complaints == refused
        sight.complaints.clear()
        await sight.page.fill("input[name=key]", KEY)
        await sight.page.click("button[type=submit]")
        await sight.page.wait_for_selector("button[aria-label='Drain a']")
        await sight.page.wait_for_selector(".pulse.on")
        assert sight.page.url.endswith("#/pools?pool=web")


async def test_a_page_whose_connection_breaks_comes_back_by_itself_with_what_it_missed(
    browser: Browser, tmp_path: Path
) -> None:
    async with site(tmp_path) as (balancer, _), fault_proxy(balancer.admin) as way:
        async with looking(browser, f"http://127.0.0.1:{way.port}") as sight:
            await sight.log_in(KEY, "overview")
            await sight.page.wait_for_selector(".pulse.on")
            way.refuse = True
            way.cut()
            await sight.page.wait_for_selector(".pulse.off")
            await balancer.call("POST", "/api/infrastructure/load-balancer/pools/web/servers/a/drain")
            await until(lambda: _is(balancer, "a", "drained"), balancer)
            way.refuse = False
            await sight.page.wait_for_selector(".pulse.on")
            await sight.page.wait_for_selector(".events >> text=a of web is drained")
            assert await sight.page.query_selector("input[name=key]") is None
            assert [word for word in sight.complaints if "ERR_" not in word] == []
            sight.complaints.clear()


async def test_a_name_that_is_code_is_shown_as_it_is(browser: Browser, tmp_path: Path) -> None:
    """Whatever is in requests, in logs and names: it is text."""
    evil = "<img src=x onerror=alert(1)>"
    async with site(tmp_path) as (balancer, _), at(browser, balancer, "routes") as sight:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{balancer.url}/{evil}", headers={"User-Agent": evil, "Referer": evil}) as response:
                await response.read()
        for view in await sight.views():
            await sight.go(view)
        assert await sight.page.query_selector("img[src=x]") is None
