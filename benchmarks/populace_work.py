"""What populace does, at the sizes at which it is asked to do it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from populace.core.cache import cached
from populace.core.dataset import generate
from populace.core.domain import Window, domain_names, find_domain
from populace.core.plan import make_plan
from populace.core.rows import rows
from populace.core.run import run
from populace.core.samplers.compose import chain
from populace.core.samplers.rules import Calendar, Choice, Draw
from populace.core.samplers.text import Address, Email, Name
from populace.core.scenario import parse_request
from populace.core.sinks import for_targets, open_target, open_targets
from populace.core.sinks.folder import write_lines
from populace.core.sinks.parquet import write_parquet
from populace.core.spec import Spec
from populace.core.stream import Stream
from populace.core.tables import ROW

from . import iot

PEOPLE = 500_000
DAY = 86_400_000_000
YEAR_2025 = Window(20_089 * DAY, 20_454 * DAY)


COLUMNS = ("name", "email", "street", "city", "postal_code", "region", "birth_date", "amount", "at", "category")


def people(folder: Path) -> float:
    """The same columns as the peer's, by samplers."""
    sampler = chain(
        Name("en_US"),
        Email(),
        Address("en_US"),
        Draw("birth_days", "integer", low=-14_000, high=13_000),
        Draw("amount", "uniform", low=1.0, high=1_000.0),
        Calendar("at", YEAR_2025),
        Choice("category", ("a", "b", "c", "d"), dtype=pl.Enum(["a", "b", "c", "d"])),
    )
    given = pl.DataFrame({ROW: np.arange(PEOPLE, dtype=np.uint64)})
    table = sampler.sample(given, Stream.root(1).child("people"))
    table = table.with_columns(
        pl.col("birth_days").cast(pl.Int32).cast(pl.Date).alias("birth_date"), pl.col("amount").round(2)
    )
    write_parquet(table.select(COLUMNS), folder / "x.parquet")
    return PEOPLE


def domain_run(
    name: str, size: int, table: str, folder: Path, only: tuple[str, ...] = (), scenarios: tuple[str, ...] = ()
) -> float:
    """A whole run: cast, build, check, digest, write, publish. Rows of the one table, though all are made, or those that are asked for."""
    domain, requests = find_domain(name), tuple(parse_request(s) for s in scenarios)
    plan = make_plan(Spec(name, size=size, only=only, scenarios=requests))
    outcome = run(plan, [open_target(str(folder / "out"), domain)], quiet=True)
    return outcome.manifest["populace"]["tables"][table]["rows"]


@lru_cache(maxsize=1)
def _observations() -> pl.DataFrame:
    return generate(make_plan(Spec("healthcare", size=1_000))).frames["observation"]


def observation_ndjson(folder: Path) -> float:
    """FHIR Observation from its table, in megabytes."""
    rendered = find_domain("healthcare").views["fhir+ndjson"].render({"observation": _observations()}, {})
    write_lines([rendered["Observation"]["text"]], folder / "Observation.ndjson")
    return (folder / "Observation.ndjson").stat().st_size / 1e6


@lru_cache(maxsize=1)
def _bank() -> dict[str, pl.DataFrame]:
    return dict(generate(make_plan(Spec("finance", size=1_000))).frames)


def pacs_messages(folder: Path) -> float:
    """A pacs.008 document of each credit transfer, from the tables, one a line."""
    from populace.domains.finance.views import iso20022

    schema, frames = find_domain("finance").schema, _bank()
    lines = iso20022.messages(schema, iso20022.credit_transfers(schema, frames))
    write_lines([lines], folder / "pacs.008")
    return len(lines)


def transfer_rows(folder: Path) -> float:
    """Transfers in synthfin-aml's six columns, from the tables, as Parquet."""
    made = find_domain("finance").views["transfers"].render(_bank(), {})["transfers"]
    write_parquet(made, folder / "transfers.parquet")
    return made.height


TRANSFERS_ALONE = {
    "purchase.per_month": 0.0,
    "transfer.per_month": 20.0,
    "transfer.log_mean": 2.5,
    "bill.count": {"utilities": 0.0, "telecom": 0.0, "insurance": 0.0},
    "cheque.per_month": 0.0,
    "cash.withdrawals_per_month": 0.0,
    "cash.deposits_per_month": 0.0,
}
"""A bank whose customers pay by transfer alone: docs/domains/finance.md says where the numbers are from."""


LAUNDERING = (
    "fan-in",
    "fan-out",
    "mule-ring",
    "bipartite",
    "stack",
    "scatter-gather",
    "gather-scatter",
    "random-transfers",
)
"""AMLSim's typologies."""


def transfers_end_to_end(
    folder: Path, size: int, settings: Mapping[str, Any], scenarios: tuple[str, ...] = ()
) -> Callable[[], float]:
    """A whole run for this view: cast, build, check, digest, write as CSV with its labels, publish. Rows of the view, not of what was made."""
    requests = tuple(parse_request(name) for name in scenarios)
    plan = make_plan(Spec("finance", size=size, settings=settings, scenarios=requests))
    target = f"transfers:{folder / 'out'}"
    plan = for_targets(plan, [target])
    run(plan, open_targets([target], plan.domain), quiet=True)
    return lambda: _lines(folder / "out" / "transfers.csv") - 1


def aml_rows(folder: Path) -> float:
    """AMLworld's table of every booked payment, from the tables, as CSV."""
    rendered = find_domain("finance").views["amlworld"].render(_bank(), {})["Trans"]
    write_lines([rendered["text"]], folder / "Trans.csv")
    return rendered.height - 1


def patients_with_modules(folder: Path) -> float:
    """Patients of all ages through the disease modules of a folder, ten years of record as FHIR NDJSON."""
    plan = make_plan(Spec("healthcare", size=1_000, inputs={"modules": os.environ["POPULACE_MODULES"]}))
    run(plan, [open_target(f"fhir+ndjson:{folder / 'out'}", plan.domain)], quiet=True)
    return plan.size


def resources_of_whole_lives(folder: Path) -> Callable[[], float]:
    """FHIR resources of a whole block of patients of all ages through the disease modules of a folder, everything since 1915 on record, as NDJSON."""
    given = {"modules": os.environ["POPULACE_MODULES"]}
    plan = make_plan(Spec("healthcare", size=2_000, start="1915-01-01", end="2025-01-01", inputs=given))
    run(plan, [open_target(f"fhir+ndjson:{folder / 'out'}", plan.domain)], quiet=True)
    return lambda: sum(_lines(file) for file in (folder / "out").glob("*.ndjson"))


def _lines(file: Path) -> int:
    with open(file, "rb") as text:
        return sum(part.count(b"\n") for part in iter(lambda: text.read(1 << 22), b""))


def warm_rows(folder: Path) -> float:
    """Twenty rows of the root entities of each domain, as dicts: calls."""
    for seed in range(100):
        for name in domain_names():
            rows(name, seed=seed)
    return 300


def warm_dataset(name: str, folder: Path) -> float:
    """A dataset of twenty entities from the cache that the fixtures keep on disk, the root entities as dicts: calls."""
    kept = Path(tempfile.gettempdir()) / f"populace-bench-kept-{os.getpid()}"
    for seed in range(20):
        data = cached(make_plan(Spec(name, size=20, seed=seed % 2)), kept)
        assert len(data.records(data.plan.domain.root)) == 20
    return 20


LINES = [
    ("people to Parquet", "rows/s", people, "Faker row by row", "500 ×"),
    ("finance transactions to Parquet", "rows/s", lambda f: domain_run("finance", 6_000, "transaction", f), "12 random columns to Parquet", "500,000 rows/s"),
    ("finance transactions alone (--only transaction) to Parquet", "rows/s", lambda f: domain_run("finance", 6_000, "transaction", f, ("transaction",)), "12 random columns to Parquet", "500,000 rows/s"),
    ("finance transactions alone, with fraud at published rates, to Parquet", "rows/s", lambda f: domain_run("finance", 24_000, "transaction", f, ("transaction",), ("fraud",)), None, "500,000 rows/s"),
    *iot.LINES,
    *((f"20 entities of {n} from the fixtures' cache", "datasets/s", lambda f, n=n: warm_dataset(n, f), None, "20 datasets/s") for n in domain_names()),
    ("20 rows of a domain, warm", "calls/s", warm_rows, None, "20 calls/s"),
    ("pacs.008 documents of finance's transfers", "messages/s", pacs_messages, None, "50,000 messages/s"),
    ("finance's transfers in six columns, from tables, to Parquet", "rows/s", transfer_rows, None, "1,144,000 rows/s"),
    ("finance's transfers end to end, whole bank", "rows/s", lambda f: transfers_end_to_end(f, 6_000, {}), None, "—"),
    ("finance's transfers end to end, by transfer alone", "rows/s", lambda f: transfers_end_to_end(f, 16_000, TRANSFERS_ALONE), None, "1,144,000 rows/s"),
    ("finance's transfers end to end, by transfer alone, with laundering", "rows/s", lambda f: transfers_end_to_end(f, 16_000, TRANSFERS_ALONE, LAUNDERING), None, "—"),
    ("finance in AMLworld's columns", "rows/s", aml_rows, None, "—"),
    ("FHIR Observation NDJSON", "MB/s", observation_ndjson, "JSON text by expressions", "300 MB/s"),
]  # fmt: skip
if "POPULACE_MODULES" in os.environ:
    LINES.append(("patients to FHIR NDJSON, with modules", "patients/s", patients_with_modules, None, "30 patients/s"))
    LINES.append(
        (
            "whole lives to FHIR NDJSON, with modules",
            "resources/s",
            resources_of_whole_lives,
            None,
            "60,000 resources/s",
        )
    )
