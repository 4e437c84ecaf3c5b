"""The domain with a library of modules: wider lists and further tables, a step that sends patients through, one that joins the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from ....core.domain import Block, Domain, Step
from ....core.errors import UserError, unknown
from ....core.schema import Schema
from ....core.tables import Tables
from .. import conditions, deaths, derived
from ..bind import bind
from ..own import OWN
from .bedside import Bedside
from .births import with_mothers
from .join import Join
from .library import Library, read_library
from .live import FACTS, VITALS, Lives
from .values import Code
from .widen import Wider, covered, widen, wider_of

RECORD = (
    "encounter", "condition", "allergy", "reaction", "medication", "administration", "careplan", "care_activity", "goal", "device", "procedure",
    "observation", "sampled_data", "attachment", "report", "imaging", "supply", "vaccine",
)  # fmt: skip
"""What the modules' record is made of."""
BLOCK, OWN_BLOCK = 2_000, 8_000
"""Patients in a block, and with our own modules, which record less: so many meet in rare states that the machine's turns pay. A turn costs the same
for one patient as for fifty."""
COMPUTED = ("BMI", "Total Cholesterol", "EGFR")


@dataclass(frozen=True)
class Uncovered:
    """The population's own conditions, without those that modules begin, for nobody falls ill of one thing twice; births where modules let mothers give
    birth."""

    codes: frozenset[str]

    def __call__(self, block: Block, tables: Tables) -> Tables:
        made = conditions.conditions(block, tables)["condition"]
        made = made.filter(~pl.col("code").is_in(list(self.codes)))
        return {"condition": with_mothers(block.stream.child("module", "birth"), tables, made)}


def extend(domain: Domain, given: Mapping[str, Any]) -> Domain:
    """The domain with the modules of a folder, or those named in it. Raises UserError for what is wrong in them."""
    if "modules" not in given:
        raise UserError("--module names modules of a folder: give --modules DIR too")
    library = read_library(given["modules"], given.get("module", ()))
    _known_vitals(domain, library)
    ours = given["modules"] == OWN
    wider = wider_of(domain.schema, library)
    schema = widen(domain.schema, wider)
    made = tuple(
        t for t in schema.tables if schema[t].within and t not in ("claim", "coverage", "consent", "circumstance")
    )
    record = tuple(f"module {name}" for name in RECORD)
    steps = {s.name: s for s in domain.steps}
    theirs = covered(domain.schema, library)
    told_of = ("patient", "module encounter", "module procedure")
    steps["conditions"] = replace(steps["conditions"], run=Uncovered(theirs), needs=told_of)
    steps["causes of death"] = replace(
        steps["causes of death"],
        run=deaths.Causes(schema, True, theirs),
        needs=("patient", "module condition", "module death"),
    )
    if ours:
        seen = steps["observations"]
        steps["observations"] = replace(seen, needs=(*seen.needs, "module condition"))
    people, *courses = steps.values()
    told: tuple[str, ...] = ()
    if ours:
        told = tuple(c for c in conditions.chronic_codes(domain.priors) if c not in theirs)
        library = library.knowing(told_codes(domain, told))
    lives = Step("modules", ("patient", *record), Lives(library, schema, told), ("patient",))
    join = Step(
        "module record", made, Join(schema), ("patient", *record, *(t for t in made if t in domain.schema.tables))
    )
    bedside = (
        [Step("bedside", ("observation",), Bedside(schema), ("patient", "condition", "encounter"))] if ours else []
    )
    timed = tuple(derived.numbering(schema))
    keys = Step("keys", timed, derived.keys(schema), timed)
    return replace(
        bind(domain, schema, domain.priors),
        steps=(people, lives, *courses, join, *bedside),
        derive=tuple(keys if s.name == "keys" else s for s in domain.derive),
        extend=None,
        remembers={**domain.remembers, **asdict(wider)},
        block=OWN_BLOCK if ours else BLOCK,
    )


def told_codes(domain: Domain, chronic: Sequence[str] = ()) -> tuple[Code, ...]:
    """Of what our own modules are told: chronic conditions (all of the population's where none are given) and the facts of life."""
    chronic = chronic or conditions.chronic_codes(domain.priors)
    return (*(_snomed(domain.schema, c) for c in chronic), *FACTS)


def _snomed(schema: Schema, code: str) -> Code:
    names = schema.code_lists["condition_snomed"]
    return Code("SNOMED-CT", names.codes[code], schema.code_lists["condition"].codes[code])


def recall(domain: Domain, said: Mapping[str, Any]) -> Domain:
    """The domain with the schema of a dataset that was made with modules or imported, by what its manifest says. It judges and renders, and
    makes nothing. Raises UserError for a manifest that says something else."""
    try:
        codes = {name: {c: (str(s), str(d)) for c, (s, d) in codes.items()} for name, codes in said["codes"].items()}
        measured = {c: (u if u is None else str(u), str(k)) for c, (u, k) in said["measured"].items()}
        fans = {str(t): int(n) for t, n in said["fans"].items()}
        uncoded = tuple(map(str, said.get("uncoded", ())))
        wider = Wider(codes, measured, fans, uncoded, bool(said["foreign"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the manifest does not say what codes its tables hold: {type(error).__name__} {error}"
        ) from None
    return with_schema(domain, wider)


def with_schema(domain: Domain, wider: Wider) -> Domain:
    made = bind(domain, widen(domain.schema, wider), domain.priors)
    return replace(made, extend=None, remembers={**domain.remembers, **asdict(wider)})


def _known_vitals(domain: Domain, library: Library) -> None:
    """Raises UserError where a module reads a vital sign that no body has and no module sets."""
    known = {*VITALS, *COMPUTED, *domain.priors("module.vital")}
    states = [(m.path, s) for m in library.every() for s in m.states.values()]
    known |= {s.has["vital_sign"] for _, s in states if s.kind == "VitalSign"}
    for path, state in states:
        read = [p.get("vital_sign") for p in (state, *state.get("observations", ())) if state.kind != "VitalSign"]
        read += [
            part.has.get("vital_sign") for logic in state.logic() for part in logic.walk() if part.kind == "Vital Sign"
        ]
        for name in filter(None, read):
            if name not in known:
                raise unknown("vital sign", name, known, f"module {path}, state '{state.name}'")
