"""The page in a real browser: someone who writes no code looks at a dataset, makes it, and takes it away; with the keyboard, on a phone, in the dark."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("serve") / "jobs")
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as played:
        found = played.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    context = browser.new_context(accept_downloads=True)
    found = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on(
        "console",
        lambda message: (
            problems.append(message.text) if message.type == "error" and "400" not in message.text else None
        ),
    )
    found.on("request", lambda request: asked.append(request.url))
    found.goto(str(server.client.base_url))
    found.wait_for_selector("#scenarios li")
    yield found
    context.close()
    assert problems == []
    assert all(u.startswith((str(server.client.base_url), "data:")) for u in asked), "nothing is fetched from elsewhere"


def fill(page: Any, **values: str) -> None:
    for name, value in values.items():
        page.fill(f"[name={name}]", value)


def test_look_make_and_take_away(page: Any, tmp_path: Path):
    page.check("input[value=finance]")
    fill(page, size="30", start="2025-01-01", end="2025-01-20")
    page.fill("#find", "card testing")
    page.click("button[aria-label='Add Card testing']")
    assert page.locator("#cast li").count() == 1
    page.get_by_role("button", name="Look at it").click()
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    assert page.locator("#pictures img").count() >= 2
    for n in range(page.locator("#pictures img").count()):
        assert page.locator("#pictures img").nth(n).evaluate("i => i.complete && i.naturalWidth > 0")
    assert page.inner_text("#command").startswith("populace generate finance --size 30")
    black = page.locator("#pictures img").first.get_attribute("src").count("currentColor")
    assert not black, "axes and letters have the page's own ink"
    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "wide tables scroll by themselves"
    page.get_by_role("tab", name="label").click()
    assert page.locator("#table tbody tr").count() > 0
    assert "card-testing" in page.inner_text("#table")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_selector("#joblist a[download]", timeout=90_000)
    assert "0 violations" in page.inner_text("#joblist")
    with page.expect_download() as download:
        page.click("#joblist a[download]")
    download.value.save_as(tmp_path / "x.zip")
    assert "manifest.json" in zipfile.ZipFile(tmp_path / "x.zip").namelist()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_selector("#jobs", state="hidden")


def test_a_row_is_explained_and_a_dataset_is_evaluated(page: Any, server: Server, browser: Any):
    page.check("input[value=finance]")
    fill(page, size="30", start="2025-01-01", end="2025-01-20")
    page.get_by_role("button", name="Look at it").click()
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    page.get_by_role("tab", name=re.compile(r"^account \(")).click()
    page.locator("#table .why").first.click()
    page.locator("#explained", has_text="reads account.savings").wait_for(timeout=60_000)
    told = page.inner_text("#explained")
    key = page.locator("#table tbody tr").first.locator("td").nth(1).inner_text()
    assert told.startswith(f"account {key}")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="Evaluate finance").click(timeout=90_000)
    page.get_by_role("link", name="Read the report").wait_for(timeout=90_000)
    assert "No rule is broken" in page.inner_text("#joblist")
    report = browser.new_page()
    asked: list[str] = []
    faults: list[str] = []
    report.on("request", lambda r: asked.append(r.url))
    report.on("console", lambda m: faults.append(m.text))
    report.goto(f"{server.client.base_url}".rstrip("/") + "/" + page.get_attribute("#joblist a[target]", "href"))
    assert report.locator("#realism svg.bar").count() == 1
    assert report.locator("h1").evaluate("h => getComputedStyle(h).fontFamily") != ""
    assert len(asked) == 1
    assert faults == []
    report.close()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_selector("#jobs", state="hidden")


def test_a_mistake_is_told_where_a_screen_reader_hears_it(page: Any):
    fill(page, size="30", start="2025-02-01", end="2025-01-01")
    page.get_by_role("button", name="Look at it").click()
    page.locator("#problem", has_text="not after").wait_for()
    assert page.get_attribute("#problem", "role") == "alert"


def test_it_works_with_the_keyboard_alone(page: Any):
    page.check("input[value=iot]")
    fill(page, size="10", start="2025-03-01", end="2025-03-02")
    page.focus("[name=end]")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Look at it":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    assert page.evaluate("document.activeElement.id") == "preview-title"
    page.locator("[role=tab][aria-selected=true]").focus()
    before = page.inner_text("[role=tab][aria-selected=true]")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("[role=tab][aria-selected=true]") != before


def test_every_control_has_a_name_and_the_page_fits_a_phone_in_light_and_dark(browser: Any, server: Server):
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
        page = context.new_page()
        page.goto(str(server.client.base_url))
        page.wait_for_selector("#scenarios li")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('input, select, button')].filter(e =>
                !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"""
        )
        assert nameless == 0
        colours = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        ink, paper = (sum(map(int, c[4:-1].split(",")[:3])) for c in colours)
        assert abs(ink - paper) > 450
        assert (ink < paper) == (scheme == "light")
        context.close()


def test_a_stream_is_watched_and_changed_on_the_page(page: Any, tmp_path: Path):
    """It plays slowly, is paused, gets a scenario that starts now and another speed, and every message is there in the end."""
    page.check("input[value=finance]")
    fill(page, size="30", start="2025-01-01", end="2025-02-01", speed="3600x")
    page.get_by_role("button", name="Stream it").click()
    item = page.locator("#streamlist li")
    item.get_by_text(re.compile("plays, .* confirmed")).wait_for(timeout=60_000)
    item.get_by_role("button", name="Pause").click()
    item.get_by_text(re.compile("paused, ")).wait_for()
    item.get_by_role("textbox", name="Prior", exact=True).fill("purchase.viod=0.1")
    item.get_by_role("button", name="Shift").click()
    item.get_by_role("alert").filter(has_text="Did you mean 'purchase.void'").wait_for()
    item.get_by_label("Scenario").select_option("card-testing")
    item.get_by_role("button", name="Start now").click()
    item.get_by_role("button", name="Resume").click()
    item.get_by_text("1 changed on the way").wait_for(timeout=60_000)
    item.get_by_role("textbox", name="Speed", exact=True).fill("max")
    item.get_by_role("button", name="Set speed").click()
    item.get_by_text(re.compile("^done, ")).wait_for(timeout=60_000)
    with page.expect_download() as download:
        item.get_by_role("link", name="Download the events").click()
    download.value.save_as(tmp_path / "events.ndjson")
    told = item.inner_text()
    count = re.search(r"([\d,]+) of ([\d,]+) confirmed", told)
    assert count
    assert count[1] == count[2]
    assert len((tmp_path / "events.ndjson").read_text("utf-8").splitlines()) == int(count[1].replace(",", ""))
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#streams input, #streams select, #streams button')].filter(e =>
            !(e.labels?.length || e.getAttribute('aria-label'))).length"""
    )
    assert nameless == 0
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    item.get_by_role("button", name="Delete").click()
    page.wait_for_selector("#streams", state="hidden")
