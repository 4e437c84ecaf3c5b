"""Documents of a fleet, all by column expressions."""

from __future__ import annotations

from functools import partial

from ....core.domain import View
from .documents import Profiles, cloudevents, influx, senml, sensorthings, things


def views(profiles: Profiles) -> dict[str, View]:
    """The views, of devices of these profiles."""
    made = (
        View("influx", "InfluxDB line protocol: one field a line, in nanoseconds.", partial(influx, profiles), "lp"),
        View("senml", "SenML packs (RFC 8428), one message a line.", partial(senml, profiles), "ndjson"),
        View(
            "cloudevents",
            "CloudEvents 1.0 in JSON, one message a line, in order of arrival.",
            partial(cloudevents, profiles),
            "ndjson",
        ),
        View("wot", "W3C WoT Thing Descriptions 1.1, one file a device.", partial(things, profiles), "json"),
        View("sensorthings", "OGC SensorThings 1.1 entities, one a line.", partial(sensorthings, profiles), "ndjson"),
    )
    return {view.name: view for view in made}
