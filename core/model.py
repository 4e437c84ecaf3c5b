"""A fitted model: a sampler with its card, and how rows are asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .conditions import check_columns, conditioned, read_as, settled
from .errors import UserError, unknown
from .model_kinds import MODELS
from .relational.database import LearntDatabase
from .samplers import Sampler
from .samplers.statistical.marginal import Marginal, dtype_of
from .samplers.statistical.network import Network
from .samplers.statistical.regenerate import Regenerated, Rule, check_room
from .stream import Stream
from .tables import ROW, Table
from .user_table import read_table

if TYPE_CHECKING:
    import pandas as pd

    from .parity import FairSample
    from .relational.draw import Drawn

MAX_ROWS = 1_000_000_000


@dataclass(frozen=True)
class Model:
    """A fitted sampler with its card: what it is, and what it was learnt from."""

    name: str
    sampler: Sampler | LearntDatabase
    card: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.sampler.columns

    @property
    def several(self) -> bool:
        """Whether it holds several tables."""
        return isinstance(self.sampler, LearntDatabase)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The columns that were not learnt, and how they are made anew."""
        return self.sampler.rules if isinstance(self.sampler, Regenerated) else ()

    def sample(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
        given: pd.DataFrame | Table | None = None,
    ) -> pd.DataFrame:
        """Rows as a pandas DataFrame, each column of the kind that the fitted table had. See `sample_frame`."""
        marginals = getattr(self.sampler, "marginals", ())
        frame = self.sample_frame(n, seed, where, balance, given)
        return _to_pandas(frame, {m.name for m in marginals if m.missing} | {r.column for r in self.rules if r.missing})

    def sample_frame(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
        given: pd.DataFrame | Table | None = None,
    ) -> Table:
        """`n` rows as a polars frame, or one for each row of `given`, a table of some of the columns; of a model of events, all those of `n` entities.

        With `where`, every row has this value of a column, one of a set (a list, `"A|B"`), or one in a range (`Range(18, 65)`, `"18..65"`),
        and the other columns are drawn conditional on that. With `balance={"sex": {"F": 0.5}}`, exactly so many rows have the value.

        Raises UserError for a column that the model does not have, a category it has not seen, a value of the wrong kind, a column that is
        told twice, or ranges and sets that rows do not meet in `conditions.TRIES` draws.
        """
        if isinstance(self.sampler, LearntDatabase):
            raise UserError("the model holds several tables: draw them with sample_tables, or in a shell with --to")
        if MODELS[self.name].series and (where or balance or given is not None):
            raise UserError(
                f"'{self.name}' makes a series in order of time: it takes neither where, balance nor given rows"
            )
        told_rows = None if given is None else read_table(given)
        n = told_rows.height if n is None and told_rows is not None else n
        n = _check_rows(n)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise UserError(f"the seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
        marginals: dict[str, Marginal] = {m.name: m for m in getattr(self.sampler, "marginals", ())}
        stream = Stream.root(seed).child("model", self.name)
        told, wanted = settled(marginals, where or {}, balance or {}, n, stream, self._not_learnt)
        told = [pl.Series(ROW, np.arange(n, dtype=np.uint64)), *told]
        if told_rows is not None:
            if told_rows.height != n:
                raise UserError(f"the given table has {told_rows.height:,} rows, and {n:,} are asked for")
            dtypes = {m.name: m.dtype for m in marginals.values()} | {r.column: dtype_of(r.dtype) for r in self.rules}
            check_columns(told_rows.columns, dtypes, "given column")
            told += [read_as(told_rows[c], dtypes[c]) for c in told_rows.columns]
        check_room(tuple(r for r in self.rules if r.column not in {s.name for s in told}), n)
        names = [s.name for s in told] + list(wanted)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"column '{twice}' is asked for twice, by where, balance or the given table")
        sampler = conditioned(self.sampler, marginals, {s.name for s in told[1:]}, wanted)
        made = sampler.sample(pl.DataFrame(told), stream).select(self.columns)
        # a row for each event
        return made.explode(self.columns[1:]) if MODELS[self.name].events else made

    def sample_tables(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
    ) -> dict[str, pd.DataFrame]:
        """Of a model of several tables: all of them as pandas DataFrames, by name. See `sample_frames`."""
        made = self.sample_frames(n, seed, where, balance).tables
        return {
            name: _to_pandas(frame, {c for c in frame.columns if frame[c].null_count()}) for name, frame in made.items()
        }

    def sample_frames(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
    ) -> Drawn:
        """Of a model of several tables: all of them as polars frames, with what could not be had. The table `card["unit"]` names gets `n` rows, the
        others as many as go with them; without `n`, the database is about as large as the one that was learnt. `where` and `balance` as in `sample_frame`,
        with columns as "table.column", of tables that are nobody's rows; the rows below them follow.

        Raises UserError for a model of one table, and for what `sample_frame` refuses.
        """
        from .relational.draw import draw_database

        if not isinstance(self.sampler, LearntDatabase):
            raise UserError("the model holds one table: draw rows with sample")
        if n is not None:
            _check_rows(n)
        return draw_database(self.sampler, n, Stream.root(seed).child("model", self.name), where or {}, balance or {})

    def sample_fair(self, n: int, outcome: str, value: Any, group: str, gap: float = 0.0, seed: int = 0) -> FairSample:
        """`n` rows whose outcome is as frequent in every group, to within `gap`, and what that costs. See `parity.sample_fair`."""
        from .parity import sample_fair

        return sample_fair(self, n, outcome, value, group, gap, seed)

    def describe(self) -> str:
        """What it is and was learnt from, a line each; and its graph, where it has one."""
        card = self.card
        if self.several:
            tables = [f"{n}: {t['rows']:,} rows, {card['models'][n]}" for n, t in card["tables"].items()]
            unit = f"-n counts rows of '{card['unit']['table']}', which had {card['unit']['rows']:,}"
            found = (
                f"{self.name} of {card['rows']:,} rows in {len(tables)} tables, from {card.get('source') or 'frames'}"
            )
            return "\n".join([found, *tables, *card["relations"], unit])
        lines = [
            f"{self.name} of {size_of(card)} and {len(self.columns)} columns, from {card.get('source') or 'a frame'}"
        ]
        if "privacy" in card:
            paid = card["privacy"]
            lines.append(
                f"differentially private: epsilon {paid['epsilon']:g}, delta {paid['delta']:g}, for {paid['neighbours']}"
            )
        lines += [f"made by rule: {r.column}, {card['regenerated'][r.column]}" for r in self.rules]
        learnt = self.sampler.learnt if isinstance(self.sampler, Regenerated) else self.sampler
        return "\n".join([*lines, learnt.graph()] if isinstance(learnt, Network) else lines)

    def _not_learnt(self, column: str, place: str) -> UserError:
        if any(column == r.column for r in self.rules):
            return UserError(
                f"{place}: '{column}' is made by rule and was not learnt; fit with --keep {column} to learn it"
            )
        return unknown("column", column, self.columns, place)


def size_of(card: Mapping[str, Any]) -> str:
    """How much a model learnt from, by its card: a private one of series knows entities alone, and about how many."""
    return f"{card['rows']:,} rows" if "rows" in card else f"about {card['entities']:,} entities"


def _check_rows(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MAX_ROWS:
        raise UserError(f"the number of rows is {n!r}, expected a whole number from 0 to {MAX_ROWS:,}")
    return n


def _to_pandas(frame: Table, missing: set[str]) -> pd.DataFrame:
    """pandas' own types; whole numbers and truth values keep their kind where some are missing."""
    import pandas as pd

    out = frame.to_pandas()
    for name, dtype in frame.schema.items():
        if name in missing and dtype.is_integer():
            out[name] = pd.array(frame[name].to_list(), dtype=str(dtype))  # type: ignore[call-overload]
        elif name in missing and dtype == pl.Boolean:
            out[name] = out[name].astype("boolean")
    return out
