"""Cards hold what was made, learnt and measured, stand beside what they speak of, and render as the markdown that they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from markdown import markdown
from people import mixed

from populace.app.cli import run_command
from populace.core.evaluate import evaluate
from populace.core.evaluate.cards import datasheet, model_card
from populace.core.models import fit, save_model


def cells(html: str) -> list[str]:
    return [c.partition("</td>")[0] for c in html.split("<td>")[1:]]


def test_both_cards_say_what_the_evaluation_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mixed(500, 1).write_parquet(tmp_path / "real.parquet")
    model = fit(tmp_path / "real.parquet", "gaussian-copula", seed=4)
    save_model(model, tmp_path / "twin.model")
    assert run_command(["sample", str(tmp_path / "twin.model"), "-n", "500", "--to", str(tmp_path / "out")]) == 0
    sample = tmp_path / "out"
    command = ["evaluate", str(tmp_path / "real.parquet"), str(sample), "--only", "fidelity", "--cards"]
    assert run_command([*command, "--model", str(tmp_path / "twin.model")]) == 0
    shown = capsys.readouterr().out
    sheet, card = sample / "datasheet.md", tmp_path / "twin.model.card.md"
    assert f"written: {sheet}" in shown
    assert f"written: {card}" in shown
    quality = f"{evaluate(tmp_path / 'real.parquet', sample, only=['fidelity'])['fidelity.quality']:.3f}"
    for text in (sheet.read_text(), card.read_text()):
        shown_cells = cells(markdown(text, extensions=["tables"]))
        assert shown_cells[shown_cells.index("<code>fidelity.quality</code>") + 1] == quality
    assert "Drawn from a fitted model, gaussian-copula, of 500 rows" in sheet.read_text()
    assert "gaussian-copula" in card.read_text()
    assert str(model.card["digest"]) in card.read_text()
    assert "Not differentially private" in card.read_text()


def test_a_dataset_keeps_its_datasheet_and_stays_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert run_command(["generate", "finance", "--size", "30", "--scenario", "card-testing", "--to", str(out)]) == 0
    assert run_command(["evaluate", str(out), "--cards"]) == 0
    text = (out / "datasheet.md").read_text()
    for words in ("card-testing", "seed 0", "Published figures met", "| transaction |"):
        assert words in text
    assert run_command(["validate", "finance", str(out)]) == 0
    # the card is no table
    assert run_command(["evaluate", str(out)]) == 0
    capsys.readouterr()


def test_a_private_model_states_its_budget_and_nasty_names_stay_in_their_cells():
    table = pl.DataFrame({"a|b\n<i>": ["x", "y"] * 200, "c": [0, 1, 2, 3] * 100})
    model = fit(table, "mst", 1, epsilon=1.0)
    found = evaluate(table, model.sample_frame(400), only=["diagnostics"])
    html = markdown(model_card(model.card, "m", found), extensions=["tables"])
    assert "epsilon 1," in html
    assert "<i>" not in html
    assert "a|b &lt;i&gt;" in cells(markdown(datasheet(found, "d"), extensions=["tables"]))
