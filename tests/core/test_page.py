"""The page stands alone: nothing is fetched, everything is escaped, every domain is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from populace.app.page import Section, render_page
from populace.core.domain import Picture
from populace.core.picture import figure, to_svg

NASTY = "<script>alert('x')</script> & \"quotes\" $title ${lead}"
VOID = {"meta", "link", "br", "img", "hr", "input", "circle", "path", "use", "rect"}


def manifest(**scenario: Any) -> dict[str, Any]:
    return {
        "description": NASTY,
        "populace": {
            "version": "0.1.0",
            "spec": {"seed": 7},
            "tables": {"sale": {"rows": 1234567, "digest": "ab" * 16, "columns": {"at": "instant"}}},
            "scenarios": [{"name": "ring", "instances": 2, "labelled_rows": 31, "breaks": {}, **scenario}],
            "checks": {"made": ["sale.key", "sale.amount.min"], "undeclared_violations": 0},
        },
    }


def chart(title: str) -> Picture:
    fig = figure(6, 3)
    fig.subplots().plot([1, 2], [2, len(title)], marker="o")
    return Picture(title, f"What {title} shows.", to_svg(fig))


def page() -> str:
    return render_page(
        [
            Section("toy", "A toy.", manifest(), [chart("Hours"), chart("Days")], ["populace generate toy"], ["out/toy"]),
            Section(
                "nasty", NASTY, manifest(name=NASTY, breaks={NASTY: 3}), [Picture(NASTY, NASTY, chart("z").svg)],
                [NASTY], [NASTY], [NASTY],
            ),
        ],
        title=NASTY,
    )  # fmt: skip


class Reader(HTMLParser):
    """Tags with their attributes, text by element, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def test_it_fetches_nothing_and_runs_nothing() -> None:
    text = page()
    reader = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {t for t, _ in reader.tags}
    for _, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "srcset", "action", "xlink:href"):
                assert (value or "").startswith("#")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    assert "@import" not in style[1]
    assert "url(" not in style[1]


def test_what_comes_from_outside_is_escaped_and_shown_as_it_is() -> None:
    text = page()
    assert "<script" not in text
    shown = [t for _, t in Reader(text).texts]
    assert sum(NASTY in t for t in shown) >= 8
    assert "alert('x')" in "".join(shown)


def test_every_section_shows_its_counts_scenarios_checks_commands_and_manifest() -> None:
    text = page()
    reader = Reader(text)
    assert [a["id"] for t, a in reader.tags if t == "section"] == ["toy", "nasty"]
    assert [a["href"] for t, a in reader.tags if t == "a"] == ["#toy", "#nasty"]
    for said in ("1,234,567", "ab" * 16, "ring", "31", "sale.amount.min", "$ populace generate toy", "out/toy"):
        assert said in text
    assert any('"seed": 7' in t for _, t in reader.texts)


def test_headings_are_in_order_and_every_chart_has_words() -> None:
    reader = Reader(page())
    levels = [int(t[1]) for t, _ in reader.tags if re.fullmatch(r"h[1-6]", t)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    charts = [a for t, a in reader.tags if a.get("role") == "img"]
    assert len(charts) == 3
    assert charts[0]["aria-label"] == "Hours. What Hours shows."
    ids = [a["id"] for _, a in reader.tags if a.get("id")]
    assert len(ids) == len(set(ids))


def test_a_picture_that_is_not_svg_is_refused() -> None:
    with pytest.raises(ValueError, match="'Photo' is not an SVG"):
        render_page([Section("toy", "", manifest(), [Picture("Photo", "", "<img src=x>")])])


def test_it_is_the_same_text_each_time() -> None:
    assert page() == page()


def test_a_browser_draws_it(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium on this machine")
    (tmp_path / "index.html").write_text(page(), "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"]
    done = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "index.html").as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<figure") == 3
    assert "<script" not in done.stdout
