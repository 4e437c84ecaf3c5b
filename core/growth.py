"""Growth: what a larger dataset adds to a smaller one of the same seed and settings. A dataset is a pure function of its plan, so both can be
built, block by block, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from .build import build
from .cast import Cast
from .dataset import make_cast
from .digest import digest
from .errors import UserError
from .plan import Plan, make_plan
from .schema import LABEL
from .tables import Table, Tables


@dataclass(frozen=True)
class Growth:
    before: Plan
    cast: Cast

    def added(self, index: int, tables: Tables, place: str) -> Tables:
        """The rows of a block that the smaller dataset has not. Raises UserError if the larger one changes or drops any that it has."""
        if index >= self.before.blocks:
            return tables
        old = build(self.before, index, self.cast).tables
        return {name: self._added(name, table, old.get(name, table.clear()), place) for name, table in tables.items()}

    def _added(self, name: str, table: Table, old: Table, place: str) -> Table:
        key = self.before.domain.schema.tables[name].key if name != LABEL.name else ""
        on = [key] if key else table.columns
        kept = table.join(old, on=on, how="semi", nulls_equal=True)
        if digest(kept) != digest(old):
            raise UserError(
                f"--mode append: {place} cannot grow: rows of {name} that it holds would be others in the larger dataset. {self._reason()}"
            )
        return table.join(old, on=on, how="anti", nulls_equal=True)

    def _reason(self) -> str:
        circle = self.before.domain.circle * self.before.domain.per_unit
        if not self.before.uses and self.before.size % circle:
            return (
                f"The last circle of {self.before.size} is not full, and who joins it pays those in it: grow from a multiple of {circle}, "
                "or use --mode replace."
            )
        return "A scenario casts among all entities, so a larger size can cast others: grow without scenarios, or use --mode replace."


def growth(manifest: Mapping[str, Any], plan: Plan, place: str) -> Growth:
    """What a plan adds to the dataset of a manifest. Raises UserError, with the reason, if that is not a smaller one of the same kind."""
    body = manifest["populace"]
    there, asked = body["spec"], plan.describe()
    size = there.get("size")
    wrong = [
        f"{name} is {_short(there.get(name))} there, {_short(asked.get(name))} here"
        for name in ("domain", "seed", "start", "end", "set", "models", "inputs", "only")
        if there.get(name) != asked.get(name)
    ]
    if body.get("version") != version("populace"):
        wrong.append(f"populace was {body.get('version')} then and is {version('populace')} now")
    if not wrong and not (isinstance(size, int) and size < plan.size):
        raise UserError(
            f"--mode append: {place} holds {there['domain']} of size {size} already; --size {plan.size} adds nothing to it"
        )
    if not wrong:
        domain = None if plan.inputs else plan.whole
        before = make_plan(replace(plan.spec, size=size), domain)
        if before.fingerprint == body.get("fingerprint"):
            return Growth(before, make_cast(before))
        smaller = before.describe()
        wrong = [f"{name} differs" for name in smaller if there.get(name) != smaller[name]] or ["its plan differs"]
    raise UserError(
        f"--mode append: {place} holds another dataset: {'; '.join(wrong)}. Use --mode replace, or another target."
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
