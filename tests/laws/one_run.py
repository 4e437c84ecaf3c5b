"""One small run, as the whole life of a process that a test can kill. A server that has imported this forks the lives."""

import os
import sys

from laws.over import COMPANY, DOMAINS, companies, small

from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.sinks import open_target
from populace.core.spec import ScenarioRequest, Spec


def live(pipe: str, name: str, workers: int, *targets: str) -> None:
    """Run into the targets in a process group of its own, and say "ready" down the pipe, which every worker holds, before the start."""
    os.setsid()
    sys.stdout.flush()
    os.dup2(os.open(pipe, os.O_WRONLY), 1)
    domain = small(DOMAINS[name])
    plan = make_plan(
        Spec(name, scenarios=tuple(ScenarioRequest(s, {"count": 1}) for s in companies(domain)[0][:COMPANY])), domain
    )
    sinks = [open_target(t, domain, "parquet", plan.breaks) for t in targets]
    os.write(1, b"ready\n")
    run(plan, sinks, workers=workers, resume=True)
