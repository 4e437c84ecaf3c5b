"""The main job from end to end: every domain with some of its scenarios, into files, documents and a staging database; a model fitted to a real
table; everything validated; one page to look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.domain import Domain
from ..core.errors import UserError

SEED = 7


def run_demo(folder: Path, real: Path | None, workers: int, say: Callable[[str], Any]) -> None:
    """Write the demo into a new folder (the next free name if `folder` exists) and say what is where."""
    from ..core.domain import domain_names, find_domain
    from ..core.files import write_atomic
    from .page import render_page

    folder = _free(folder)
    began = time.monotonic()
    models = _fit(real, folder, [find_domain(n) for n in domain_names()], say) if real else {}
    if not real:
        say(
            "no real table given: customers' credit columns come from rules (populace demo --real TABLE fits a model to one)"
        )
    sections, invalid = [], []
    for name in domain_names():
        section, valid = _show(find_domain(name), folder, models.get(name, {}), workers, say)
        sections.append(section)
        if not valid:
            invalid.append(name)
    write_atomic(folder / "index.html", render_page(sections).encode())
    say(f"\nall of it in {time.monotonic() - began:.0f} s. Look at {folder / 'index.html'}")
    if invalid:
        from ..core.errors import InvalidData

        raise InvalidData(f"the validators found violations in {', '.join(invalid)}")


def _free(folder: Path) -> Path:
    n, chosen = 1, folder
    while chosen.exists():
        n += 1
        chosen = folder.with_name(f"{folder.name}-{n}")
    return chosen


def _fit(real: Path, folder: Path, domains: list[Domain], say: Callable[[str], Any]) -> dict[str, dict[str, str]]:
    """Fit a Gaussian copula to the real table and seat it in the slot whose columns the table has."""
    from ..core.models import fit, save_model

    model = fit(real, model="gaussian-copula", seed=SEED)
    fitted: dict[str, dict[str, str]] = {}
    for domain in domains:
        for slot in domain.slots.values():
            if {*slot.given, *slot.makes} <= set(model.sampler.columns):
                path = folder / "models" / f"{slot.name}.model"
                path.parent.mkdir(parents=True, exist_ok=True)
                save_model(model, path)
                say(
                    f"{domain.name}: hybrid: {', '.join(slot.makes.values())} are drawn by a Gaussian copula fitted to {real} ({path})"
                )
                fitted.setdefault(domain.name, {})[slot.name] = str(path)
    if not fitted:
        wanted = "; ".join(f"{s.name}: {', '.join([*s.given, *s.makes])}" for d in domains for s in d.slots.values())
        raise UserError(f"--real {real}: its columns fit no slot of any domain ({wanted})")
    return fitted


def _show(
    domain: Domain, folder: Path, models: dict[str, str], workers: int, say: Callable[[str], Any]
) -> tuple[Any, bool]:
    from ..core.plan import make_plan
    from ..core.run import run
    from ..core.scenario import ScenarioRequest
    from ..core.sinks import open_targets
    from ..core.source import read_source
    from ..core.spec import Spec
    from ..core.validate import validate
    from .page import Section

    played = [name for name in domain.showcase if name in domain.scenarios]
    requests = tuple(ScenarioRequest(s) for s in played)
    plan = make_plan(Spec(domain.name, seed=SEED, scenarios=requests, models=models), domain)
    views = [
        f"{v.name}:{folder / domain.name}-{v.name.replace('+', '-')}"
        for n, v in domain.views.items()
        if n in domain.showcase
    ]
    targets = [str(folder / domain.name), f"duckdb:///{folder / domain.name}.duckdb", *views]
    outcome = run(plan, open_targets(targets, domain, omit=plan.breaks), workers=workers)
    rows = sum(t["rows"] for t in outcome.manifest["populace"]["tables"].values())
    say(f"\n{domain.name}: {plan.size:,} {domain.root}s, {rows:,} rows, scenarios {', '.join(played)}")
    for place in outcome.written:
        say(f"  written: {place}")
    places, notes, valid = [*targets[:2], *(v.partition(":")[2] for v in views)], [], True
    for place in places:
        verdict = validate(domain, place)
        valid = valid and verdict.valid
        found = f"{verdict.found.height} violations" + (
            f", {verdict.declared.height} declared" if verdict.declared.height else ""
        )
        say(f"  validated: {place}: {verdict.checks} checks, {found}")
        for entry in verdict.listed():
            say(f"    {entry['check']}: {entry['rows']} row(s) of {entry['table']}: {entry['detail']}")
        notes.append(f"Validation of {Path(place).name}: {verdict.checks} checks, {found}.")
    notes += [f"{slot}: drawn by a model fitted to a real table." for slot in models]
    source = read_source(domain, targets[0])
    pictures = domain.pictures({**source.tables, "label": source.label}) if domain.pictures else []
    flags = "".join(f" --scenario {s}" for s in played) + "".join(f" --model {s}={p}" for s, p in models.items())
    command = f"populace generate {domain.name} --seed {SEED}{flags}"
    return Section(domain.name, domain.doc, outcome.manifest, pictures, [command], outcome.written, notes), valid
