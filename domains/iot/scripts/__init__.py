"""What scenarios do. There is one script: a scenario file says where it acts, and what is done there, in the words of three vocabularies.

    script = "disturb"

    [arguments]
    family = "sensor"           # sensor, series, device, network, process, attack, fleet, fixture
    effect = "bias"             # what changed, in labels and in the table of anomalies
    cause = "miscalibration"    # why
    severity = "seconds"        # what says how severe it is, where no parameter has that name; else the hours that it lasts
    hours = "hours"             # and `episodes`, `reach`, `signals`, `kinds`, `onset`, `stagger`: see `spans.places`
    wears_out = false           # true: the effect grows, and the span ends with the end of the part's life
    fails = false               # true: what is at fault is taken out of service at the end of the span
    values = [{ kind = "offset", amount = "severity", edge = 0.2 }]     # see `values`; each acts on what those before it gave
    clock = [{ kind = "step", seconds = 30.0 }]                         # see `delivery`
    arrivals = [{ kind = "late", seconds = 600.0 }]
    lose = { share = 0.5 }                                              # samples that never arrive
    repeat = { share = 0.1, seconds = 30.0 }                            # samples that are delivered twice
    cut = { cause = "uplink", holds = 2.0 }                             # an outage of the gateway; its store holds so many hours, or all
    down = { kind = "restart", cause = "watchdog", count = 5 }          # see `lifecycle`; `supply`: only devices that are powered so

Any entry of `values` may say `signals` (only these), `share` or `samples` (only so many of the span), `raw` (neither rounded to the
resolution nor held within the range), `null` (what is not a number is no value at all).
"""

from .disturb import disturb

SCRIPTS = {"disturb": disturb}
