"""A chart is text that depends on nothing but what it shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from populace.core.picture import ALARM, PALETTE, figure, to_svg


def chart(title: str = "Sales & returns") -> str:
    fig = figure(6, 3)
    left, right = fig.subplots(1, 2)
    left.bar(["a", "b"], [3, 1], label="<kept>")
    left.legend()
    right.plot(np.arange(9), np.arange(9) ** 2, marker="o", color=ALARM)
    right.set_title(title)
    return to_svg(fig)


def test_the_same_chart_is_the_same_text() -> None:
    assert chart() == chart()
    assert chart() != chart("Something else")


def test_it_is_one_svg_element_that_fetches_and_fixes_nothing() -> None:
    svg = chart()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", svg)
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "width" not in head
    assert "DejaVu" not in svg


def test_ink_follows_the_page_and_colours_are_the_palette() -> None:
    svg = chart()
    assert "currentColor" in svg
    colours = {c.upper() for c in re.findall(r"#[0-9a-fA-F]{6}\b", svg)}
    assert colours <= {c.upper() for c in (*PALETTE, ALARM)} | {"#FFFFFF"}
    assert ALARM in colours


def test_ids_of_two_charts_never_meet() -> None:
    def ids(svg: str) -> set[str]:
        return set(re.findall(r' id="([^"]+)"', svg))

    one, two = chart("one"), chart("two")
    assert ids(one)
    assert not ids(one) & ids(two)
    for svg in (one, two):
        assert set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg)) == ids(svg)


def test_it_leaves_global_style_alone() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    chart()
    assert dict(mpl.rcParams) == before
