"""Both kinds of page in a real browser: nothing is cut off, nothing fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_search import write_search, write_seeds
from record import unpack

from espnet_topdown.report.write import write_report

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]
# What a reader could not get at: wider than the page and in no region that scrolls.
CUT_OFF = """() => [...document.body.querySelectorAll('*')].filter(e =>
    e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.wide')
).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages by the state of the search."""
    pytest.importorskip("matplotlib")
    pages = {}
    for name in ("finished", "interrupted", "joint_best"):
        folder = tmp_path_factory.mktemp(name)
        with contextlib.chdir(folder):
            unpack(name)
            write_report([Path("exp/search")], Path("exp/search"))
        pages[name] = folder / "exp/search/report.html"
    one = tmp_path_factory.mktemp("one") / "s"
    write_report([write_search(one, models=("m5", "m1.4"), finished=False)], one)
    seeds = tmp_path_factory.mktemp("seeds")
    write_report(write_seeds(seeds), seeds)
    more = {"one_candidate": one, "seeds": seeds}
    return {**pages, **{name: p / "report.html" for name, p in more.items()}}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's Chromium; playwright brings none of its own."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "name", ["finished", "interrupted", "joint_best", "one_candidate", "seeds"]
)
def test_a_page(pages, browser, name: str, width: int, colours: str) -> None:
    size = {"width": width, "height": 900}
    page = browser.new_page(viewport=size, color_scheme=colours)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(pages[name].as_uri())
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background[4:].split(",")[0]) < 128) == (colours == "dark")
    shown = page.evaluate("document.querySelectorAll('figure svg[role=img]').length")
    assert shown >= 1
    page.close()
