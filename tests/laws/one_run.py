"""Run one small plan into targets, as a process of its own that a test can kill: one_run.py DOMAIN WORKERS TARGET..."""

import sys

from laws.over import DOMAINS, companies, small

from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.sinks import open_target
from populace.core.spec import ScenarioRequest, Spec


def main(name: str, workers: str, *targets: str) -> None:
    domain = small(DOMAINS[name])
    plan = make_plan(Spec(name, scenarios=tuple(ScenarioRequest(s) for s in companies(domain)[0])), domain)
    sinks = [open_target(t, domain, "parquet", plan.breaks) for t in targets]
    print("ready", flush=True)
    run(plan, sinks, workers=int(workers), resume=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
