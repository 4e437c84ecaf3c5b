"""The command and its page: what it prints, when it fails, and a page that stands alone in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from people import mixed

from populace.app.cli import run_command
from populace.app.report import render_report
from populace.core.domain import domain_names, find_domain
from populace.core.evaluate import evaluate
from populace.core.evaluate.realism import load_published

NASTY = "<script>alert('x')</script> $title"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name, seed in (("real", 1), ("held", 2), ("twin", 3)):
        frame = mixed(600, seed, shift=0.2 * (name == "twin")).rename({"debt": NASTY})
        frame.with_columns(pl.col("job").str.replace("farm", NASTY)).write_parquet(folder / f"{name}.parquet")
    return folder


@cache
def page(tables: Path) -> str:
    real, held, twin = (pl.read_parquet(tables / f"{n}.parquet") for n in ("real", "held", "twin"))
    found = evaluate(real, twin, held, target="member", sensitive=["job"])
    return render_report(found, NASTY, "twin", before={"fidelity.shapes": 0.5})


def test_the_command_prints_writes_and_judges(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    real, twin = str(tables / "real.parquet"), str(tables / "twin.parquet")
    out, html = tmp_path / "out.json", tmp_path / "out.html"
    command = ["evaluate", real, twin, "--only", "diagnostics", "--json", str(out), "--report", str(html)]
    assert run_command([*command, "--require", "diagnostics.columns>=1"]) == 0
    shown = capsys.readouterr().out
    assert "diagnostics.columns" in shown
    assert f"written: {out}" in shown
    figures = json.loads(out.read_text())["figures"]
    assert figures["diagnostics.columns"]["value"] == 1
    assert html.read_text().startswith("<!doctype html>")
    again = ["evaluate", real, twin, "--only", "diagnostics", "--baseline", str(out)]
    assert run_command([*again, "--require", "diagnostics.columns>1, fidelity.quality>=0.1"]) == 1
    shown = capsys.readouterr()
    assert "+0.0000 same" in shown.out
    assert "not met: diagnostics.columns>1: diagnostics.columns is 1.0000" in shown.err
    assert "not met: fidelity.quality>=0.1: fidelity.quality was not measured" in shown.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--require", "fidelity.qualty>=1"], "Did you mean 'fidelity.quality'?"),
        (["--require", "fidelity.quality~1"], "is not FIGURE>=NUMBER"),
        (["--only", "fidelty"], "Did you mean 'fidelity'?"),
        (["--target", "jbo"], "Did you mean 'job'?"),
        (["--baseline", "none.json"], "is not the JSON of an evaluation"),
        (["--holdout", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_bad_input_is_one_message(tables: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert run_command(["evaluate", str(tables / "real.parquet"), str(tables / "twin.parquet"), *flags]) == 2
    assert said in capsys.readouterr().err


def test_the_page_fetches_nothing_and_escapes_everything(tables: Path):
    html = page(tables)
    assert "<script" not in html
    fetched = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert all(place.startswith(("#", "data:")) for place in fetched)
    assert not re.search(r"url\((?!#)", html)
    for name in ("diagnostics", "fidelity", "utility", "privacy", "fairness"):
        assert f'<section id="{name}"' in html
    assert "May I use this data for" in html
    assert "better</small>" in html


DRAWN = """() => [...document.querySelectorAll("figure svg, svg.bar")].filter(s => s.checkVisibility()).map(s => {
    const box = s.getBoundingClientRect();
    return box.width > 20 && box.height > 8 && s.querySelectorAll("path, circle, rect").length > 0;
})"""


@pytest.mark.parametrize(("width", "several"), [(390, False), (1200, False), (390, True)])
def test_every_chart_is_drawn_in_a_browser_and_nothing_is_fetched(
    tables: Path, tmp_path: Path, width: int, several: bool
):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    html = tmp_path / "report.html"
    html.write_text(of_several() if several else page(tables), encoding="utf-8")
    with sync_playwright() as played:
        chromium = played.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        opened = chromium.new_page(viewport={"width": width, "height": 900})
        asked: list[str] = []
        faults: list[str] = []
        opened.on("request", lambda r: asked.append(r.url))
        opened.on("console", lambda m: faults.append(m.text))
        opened.on("pageerror", lambda e: faults.append(str(e)))
        opened.goto(html.as_uri())
        drawn = opened.evaluate(DRAWN)
        assert len(drawn) > 20
        assert all(drawn)
        # nothing sticks out: a phone scrolls down and not across
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        # what is folded away on the screen stands open on paper
        opened.emulate_media(media="print")
        assert opened.evaluate(
            "[...document.querySelectorAll('details > :not(summary)')].every(d => d.checkVisibility())"
        )
        opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert all(opened.evaluate(DRAWN))
        chromium.close()
    assert asked == [html.as_uri()]
    assert faults == []


def of_several() -> str:
    """Two tables and a domain's figures on one page."""
    shops = pl.DataFrame({"shop_id": range(120), "town": ["a", "b", "c"] * 40})
    sales = mixed(600, 4).with_columns(shop_id=pl.int_range(pl.len()) % 120)
    return render_report(
        evaluate({"shops": shops, "sales": sales}, {"shops": shops, "sales": sales[::-1]}), "real", "twin"
    )


@pytest.mark.parametrize("domain", domain_names())
def test_a_domains_dataset_is_held_against_rules_and_published_figures(
    domain: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, html, told = tmp_path / "out", tmp_path / "out.html", tmp_path / "out.json"
    size = {"iot": "10"}.get(domain, "60")
    assert run_command(["generate", domain, "--size", size, "--to", f"{out}"]) == 0
    assert run_command(["evaluate", str(out), "--report", str(html), "--json", str(told)]) == 0
    figures = json.loads(told.read_text())["figures"]
    assert figures["diagnostics.rules"]["value"] == 1
    shown = figures["realism.met"]["detail"]
    assert all({"figure", "published", "here", "source"} <= row.keys() for row in shown)
    assert 0 < len(shown) <= len(load_published(find_domain(domain)))
    assert "Beside published figures" in html.read_text()
    capsys.readouterr()
    assert run_command(["evaluate", str(out), "--require", "realism.met>1"]) == 1
    assert run_command(["evaluate", str(out), "--target", "customer.segment"]) == 2
    assert "need real data to compare with" in capsys.readouterr().err
    (out / "manifest.json").unlink()
    assert run_command(["evaluate", str(out)]) == 2
    assert "name its --domain" in capsys.readouterr().err
    assert run_command(["evaluate", str(out), "--domain", domain, "--only", "diagnostics"]) == 0
