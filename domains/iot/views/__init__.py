"""Documents of a fleet, all by column expressions."""

from __future__ import annotations

from functools import partial

from ....core.domain import View
from .documents import Profiles, cloudevents, influx, senml, sensorthings, things
from .read_back import (
    INFLUX_RULES,
    SENML_RULES,
    check_influx,
    check_senml,
    recognises_influx,
    recognises_senml,
)
from .research import cmapss, gutentag, nab, tsbs
from .sparkplug import sparkplug, told


def views(profiles: Profiles) -> dict[str, View]:
    """The views, of devices of these profiles."""
    made = (
        View(
            "influx",
            "InfluxDB line protocol: one field a line, in nanoseconds.",
            partial(influx, profiles),
            "lp",
            recognises_influx,
            partial(check_influx, profiles),
            INFLUX_RULES,
        ),
        View(
            "senml",
            "SenML packs (RFC 8428), one message a line.",
            partial(senml, profiles),
            "ndjson",
            recognises_senml,
            partial(check_senml, profiles),
            SENML_RULES,
        ),
        View(
            "cloudevents",
            "CloudEvents 1.0 in JSON, one message a line, in order of arrival.",
            partial(cloudevents, profiles),
            "ndjson",
        ),
        View("wot", "W3C WoT Thing Descriptions 1.1, one file a device.", partial(things, profiles), "json"),
        View("sensorthings", "OGC SensorThings 1.1 entities, one a line.", partial(sensorthings, profiles), "ndjson"),
        View(
            "sparkplug",
            "Sparkplug B 3.0 messages in order, one a line: topic, and payload in base64.",
            sparkplug,
            "ndjson",
            told=told,
        ),
        View(
            "tsbs",
            "TSBS's iot case as line protocol: one message a line, all channels as fields.",
            partial(tsbs, profiles),
            "lp",
        ),
        View(
            "timeeval",
            "CSV as of GutenTAG and TimeEval, one file a device, with is_anomaly.",
            partial(gutentag, profiles),
            "csv",
        ),
        View("nab", "CSV as of NAB, one file a channel, and its windows.", partial(nab, profiles), "csv"),
        View(
            "cmapss",
            "Runs to failure as of C-MAPSS: unit, cycle, settings, sensors; and what is left of those that did not fail.",
            partial(cmapss, profiles),
            "txt",
        ),
    )
    return {view.name: view for view in made}
