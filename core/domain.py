"""A `Domain` is a value that binds schema, priors, steps, scripts, checks and views. There is no class to inherit from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import unknown
from .inputs import Input
from .mix import Mix
from .priors import Priors
from .scenario import Edit, Scenario, Scene, Use
from .schema import Schema
from .stream import U64, Stream
from .tables import Table, Tables, merge

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .imports import Imported
    from .samplers import Sampler
    from .streams.events import Event


@dataclass(frozen=True)
class Window:
    """A half-open span of time, [start, end), in microseconds since 1970 UTC."""

    start: int
    end: int

    @property
    def days(self) -> float:
        return (self.end - self.start) / 86_400_000_000


@dataclass(frozen=True)
class Block:
    """What a step may look at, besides the tables made so far: which units to make, and every fixed input."""

    first: int
    """The block's units are first, first + 1, …, last - 1 (a unit is a customer, a patient, a site)."""
    last: int
    size: int
    """Root entities in the whole dataset. Only for dropping those beyond it; nothing else may depend on it."""
    stream: Stream
    priors: Priors
    window: Window
    reference: Tables
    models: Mapping[str, Sampler] = field(default_factory=dict)
    library: Any = None
    """What the domain brings along for its steps besides tables: `Domain.library`."""

    @property
    def units(self) -> U64:
        return np.arange(self.first, self.last, dtype=np.uint64)


@dataclass(frozen=True)
class Step:
    """One stage: makes tables, or makes them anew, from those that stand. `needs` names the tables it reads. `table.column` among either names a column
    alone: one that it adds to the rows of a table that stands, or reads of them."""

    name: str
    makes: tuple[str, ...]
    run: Callable[[Block, Tables], Tables]
    needs: tuple[str, ...] = ()


def taken(steps: Sequence[Step], block: Block, tables: Tables) -> Tables:
    """The tables after some steps. A step sees what it says that it needs, what it makes anew, and nothing else."""
    for step in steps:
        named = {name.partition(".")[0]: None for name in (*step.needs, *step.makes)}
        seen = {name: tables[name] for name in named if name in tables}
        tables = merge(tables, step.run(block, seen))
    return tables


@dataclass(frozen=True)
class Check:
    """A validator that a row predicate cannot say. It must hold within each unit, so that a block can be checked alone.

    `run` takes the tables and the reference tables as lazy frames and returns the violating rows: columns `table`, `row_key` and `detail`.
    """

    name: str
    tables: tuple[str, ...]
    doc: str
    run: Callable[[Mapping[str, pl.LazyFrame]], Table]


@dataclass(frozen=True)
class View:
    """Documents rendered from tables. `render(tables, reference)` gives, per file name, a frame with a `text` column:
    lines of one file, or of a file for each `name` where there is such a column too (rows of one name stand together; a name may bring its own suffix); a frame without `text` is a table and becomes CSV. Reference tables are among `tables` once, with the first
    block. `check(folder)` judges a folder of such documents: columns `check`, `table`, `row_key`, `detail`."""

    name: str
    doc: str
    render: Callable[[Tables, Tables], Mapping[str, Table]]
    suffix: str
    recognises: Callable[[Path], bool] | None = None
    check: Callable[[Path], Table] | None = None
    rules: tuple[str, ...] = ()
    """The names of the checks that `check` makes."""
    told: Callable[[Tables, str], Table] | None = None
    """What is told over a broker where the view is a conversation with topics of its own: a frame of messages (`core/streams/message.py`), given
    the tables and what begins every identifier."""
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The tables that it is rendered from, with the columns of each (none are all); empty where it may look at everything. A run for such views alone
    makes no more."""


class Pieces(Mapping[str, Table]):
    """What a view renders where that is too much to be held at once: the frames of a name come piece by piece too, which end to end are the whole."""

    @abstractmethod
    def pieces(self, name: str) -> Iterator[Table]: ...


@dataclass(frozen=True)
class Slot:
    """A place where a fitted model may stand in for a rule: `given` and `makes` map the model's columns to the domain's."""

    name: str
    doc: str
    given: Mapping[str, str]
    makes: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """One chart for the demo page: an SVG element as text, with its heading and a sentence that says what it shows."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Domain:
    name: str
    doc: str
    root: str
    """The table that `--size` counts."""
    schema: Schema
    priors: Priors
    scenarios: Mapping[str, Scenario]
    size: int
    window: tuple[str, str]
    """Default start and end date."""
    steps: tuple[Step, ...]
    derive: tuple[Step, ...]
    scripts: Mapping[str, Callable[[Scene], list[Edit]]]
    reference: tuple[Step, ...] = ()
    mixes: Mapping[str, Mix] = field(default_factory=dict)
    """Sets of scenarios that `--scenario` takes by one name, with the rates at which they occur."""
    checks: tuple[Check, ...] = ()
    patterns: Callable[[Tables, Table, Sequence[Use]], Table] | None = None
    """Judges the labels of a whole dataset: tables, labels and the scenarios as they were played; gives violations, where a labelled group does not show
    what its scenario says."""
    views: Mapping[str, View] = field(default_factory=dict)
    slots: Mapping[str, Slot] = field(default_factory=dict)
    per_unit: int = 1
    """Root entities in a full unit."""
    block: int = 1_000
    """Units in a block, at most: what one worker holds in memory at a time."""
    weight: Callable[[Priors, Window, Any], float] | None = None
    """Rows that a unit makes on average, of these priors, window and library, where that varies much: a block then holds as many units as
    make some `rows`."""
    rows: int = 2_000_000
    """Rows of a block, where `weight` is known: few enough for the memory of one worker, many enough that what is done once a block does not count."""
    pace: Callable[[Block], NDArray[np.float64]] | None = None
    """Numbers of each unit of a block, (units, numbers), known at little cost, that the rows it makes go with: by them and by some units' rows one reckons how
    many all make."""
    circle: int = 1
    """Consecutive units that may concern one another without a scenario. A block holds whole circles; only the last circle of a dataset can be
    incomplete, and gains rows when the size grows."""
    pictures: Callable[[Tables], list[Picture]] | None = None
    realism: Mapping[str, Callable[..., tuple[float, float] | None]] = field(default_factory=dict)
    """What the published figures of `schemas/<name>/realism.toml` speak of, measured on the tables: a value and its standard error, or None where there are
    too few rows."""
    showcase: tuple[str, ...] = ()
    """Names of the scenarios and views that a demonstration shows."""
    events: Mapping[str, Event] = field(default_factory=dict)
    """What happens, and when: what a stream is made of."""
    library: Any = None
    """What the steps work by that is neither a prior nor a table, such as device profiles read from files."""
    part_of: Domain | None = None
    """The domain with all its tables, where this one has some of them (`narrow`)."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    extend: Callable[[Domain, Mapping[str, Any]], Domain] | None = None
    """The domain as it is with the user's inputs (paths of folders, lists of names, by input). Raises UserError for what is wrong in them."""
    remembers: Mapping[str, Any] = field(default_factory=dict)
    """What a manifest must say of the extended domain's schema, as plain data."""
    settled: Callable[[Domain, Priors], Domain] | None = None
    """The domain with the checks, views and scenarios of a run whose user has set priors, where these go by priors."""
    recall: Callable[[Domain, Mapping[str, Any]], Domain] | None = None
    """The domain with the schema of a dataset whose manifest says this."""
    imports: Callable[[Domain, str], Imported] | None = None
    """Reads records of others, from a folder or a URL, into the domain's tables."""


@cache
def _installed() -> Mapping[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group="populace.domains")}


def domain_names() -> list[str]:
    """The installed domains, from the entry points `populace.domains`."""
    return sorted(_installed())


def find_domain(name: str) -> Domain:
    """Load a domain by name. Raises UserError with the nearest name if there is none."""
    if name not in _installed():
        raise unknown("domain", name, _installed())
    return _installed()[name].load()
