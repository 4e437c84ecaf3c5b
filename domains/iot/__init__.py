"""IoT: fleets of sensors behind gateways: when they run and are cut off, and what they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...core.derive import number
from ...core.domain import Block, Domain, Step
from ...core.inputs import Input
from ...core.priors import load_priors
from ...core.scenario import load_scenarios
from ...core.streams.events import load_events
from ...core.tables import Tables
from . import population, readings, simulation, truth
from .checks import checks
from .pictures import pictures
from .population import DEVICES, PROFILES, SCHEMA
from .profiles import load_profiles
from .realism import MEASURES
from .scripts import SCRIPTS
from .views import views

_EVENTS = ("device_event", "gateway_event", "anomaly")


def _numbered(block: Block, tables: Tables) -> Tables:
    made = {name: number(tables[name], SCHEMA[name], "started_at") for name in ("device_event", "gateway_event")}
    made["device_event"] = simulation.completed(block, made["device_event"])
    return {**made, "anomaly": number(truth.overlaps(tables["anomaly"]), SCHEMA["anomaly"], "started_at")}


def _extend(domain: Domain, given: Mapping[str, Any]) -> Domain:
    """The domain with the profiles of a folder: those of its own, and others in place of those of the same name."""
    profiles = load_profiles(given["profiles"])
    return replace(domain, library=profiles, checks=checks(profiles), views=views(profiles), extend=None)


DOMAIN = Domain(
    name="iot",
    doc="Fleets of sensors behind gateways: when they run and are cut off, and what they read.",
    root="device",
    schema=SCHEMA,
    events=load_events(SCHEMA),
    priors=load_priors("iot"),
    scenarios=load_scenarios("iot"),
    size=50,
    window=("2025-03-03", "2025-03-17"),
    steps=(
        Step("sites", ("site",), population.sites),
        Step("zones", ("zone",), population.zones),
        Step("crews", ("crew",), population.crews),
        Step("operators", ("operator",), population.operators),
        Step("devices", ("device",), population.devices),
        Step("gateways", ("gateway",), population.gateways, ("device",)),
        Step("channels", ("channel",), population.channels, ("device",)),
        Step("events", ("device_event", "gateway_event"), simulation.events, ("site", "gateway")),
        Step("readings", ("reading",), readings.readings, ("site", "device", "channel", "device_event")),
        Step("anomalies", ("anomaly",), truth.none),
    ),
    derive=(
        Step("keys", _EVENTS, _numbered, _EVENTS),
        Step("silence", ("reading",), readings.silence, ("channel", "device_event", "reading")),
        Step("left", ("anomaly",), truth.left, ("anomaly", "reading")),
        Step(
            "arrivals",
            ("reading",),
            readings.arrivals,
            ("gateway", "device", "channel", "gateway_event", "reading"),
        ),
    ),
    scripts=SCRIPTS,
    checks=checks(PROFILES),
    per_unit=DEVICES,
    block=200,
    weight=population.samples,
    showcase=("gateway-outage", "sensor-drift", "stuck-at"),
    pictures=pictures,
    realism=MEASURES,
    views=views(PROFILES),
    library=PROFILES,
    inputs={"profiles": Input("A folder of device profiles (TOML).")},
    extend=_extend,
)
