"""The charts of the demo page."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from populace.core.dataset import Dataset
from populace.domains.iot import DOMAIN


def test_charts_are_svg_and_the_same_each_time(make: Callable[..., Dataset]):
    assert DOMAIN.pictures
    frames = make("sensor-drift", "stuck-at", "gateway-outage").frames
    made = DOMAIN.pictures(frames)
    assert [p.title for p in made] == ["Sensor faults", "Availability of the fleet", "Arrivals around an outage"]
    assert made == DOMAIN.pictures(frames)
    for picture in made:
        assert ElementTree.fromstring(picture.svg).tag.endswith("svg")
        assert len(picture.svg) < 120_000


def test_without_faults_and_outages_there_is_only_the_fleet_to_show(make: Callable[..., Dataset]):
    assert DOMAIN.pictures
    frames = make(settings={"gateway.days_between_outages": 1e5, "power.days_between_cuts": 1e5}).frames
    assert [p.title for p in DOMAIN.pictures(frames)] == ["Availability of the fleet"]
