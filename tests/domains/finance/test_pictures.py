"""The charts of the demo page."""

from __future__ import annotations

from xml.etree import ElementTree

from populace.core.dataset import Dataset
from populace.domains.finance import DOMAIN


def test_charts_are_svg_and_the_same_each_time(bank: Dataset):
    assert DOMAIN.pictures
    made = DOMAIN.pictures(bank.frames)
    assert [p.title for p in made] == ["Amounts", "Hours of the week", "Labelled fraud", "Running balance"]
    assert made == DOMAIN.pictures(bank.frames)
    for picture in made:
        assert ElementTree.fromstring(picture.svg).tag.endswith("svg")


def test_without_scenarios_there_is_no_fraud_to_show(base: Dataset):
    assert DOMAIN.pictures
    assert "Labelled fraud" not in [p.title for p in DOMAIN.pictures(base.frames)]
