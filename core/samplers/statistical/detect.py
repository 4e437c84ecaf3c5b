"""Which columns of a table must not be learnt, by their names, types and values; and the rule that makes each anew."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...tables import Table
from .marginal import dtype_text
from .regenerate import SHARED, Rule, as_shape, quantiles

_KEY = re.compile(
    r"(^|[_\W])(id|ids|uid|uuid|guid|key|pk|number|num|nr|no|code|ref|reference|mrn|ssn|nhs|iban|account|card|phone|mobile)$"
)
_LINK = re.compile(r"(^|[_\W])(id|uid|uuid|guid|key|fk|mrn|ssn|iban)$")
_NAMES = (
    ("given_name", re.compile(r"(^|[_\W])(first|given|fore|christian|middle)[_\W]?name$")),
    ("family_name", re.compile(r"(^|[_\W])(last|family|sur|maiden|second)[_\W]?name$|(^|[_\W])surname$")),
    ("name", re.compile(r"^(full[_\W]?)?name$|(^|[_\W])(patient|customer|client|person|holder|contact|user|employee|doctor|physician|owner|member|full)[_\W]?name$")),
)  # fmt: skip
_UUID = r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"
_MAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PHONE = r"^\+?[\d\s().x/-]{7,}$"
_MOSTLY = 0.9
_FEW = 20
"""Texts of fewer distinct values are categories, unless they are names or addresses of people."""
_ROWS_A_KEY = 200
"""A key that more rows share than this is a category."""
_SHAPES = 200
_PARTS = 50
_PLACES = 64
"""A text longer than this has no pattern."""


def rules_of(table: Table, keep: Sequence[str] = ()) -> tuple[tuple[Rule, str], ...]:
    """A rule for each column that must not be learnt, and what the column is. Columns of `keep` are learnt whatever they hold."""
    found = []
    for at, column in enumerate(table.get_columns()):
        if column.name in keep or not table.height:
            continue
        made = None
        if column.dtype.is_integer():
            made = _number(column, first=at == 0)
        elif column.dtype == pl.String:
            made = _text(column)
        if made is not None:
            found.append(made)
    return tuple(found)


def _number(column: pl.Series, first: bool) -> tuple[Rule, str] | None:
    there = column.drop_nulls()
    name, dtype = _spelt(column.name), dtype_text(column.dtype)
    if len(there) < 2 or there.min() < 0:  # type: ignore[operator]
        return None
    distinct, steps = there.n_unique(), there.diff().drop_nulls()
    unique = distinct == column.len()
    if unique and (_KEY.search(name) or (first and steps.n_unique() == 1)):
        counted = int(there.max()) - int(there.min()) < 2 * len(there)  # type: ignore[arg-type]
        rule = Rule(column.name, "number", dtype, unique=True, counted=counted, digits=_width(there))
        return rule, "a unique key"
    if _LINK.search(name) and distinct > max(_FEW, len(there) / _ROWS_A_KEY):
        shared = _sharing(there)
        counted = int(there.max()) < 2 * distinct  # type: ignore[operator]
        rule = Rule(
            column.name, "number", dtype, _missing(column), digits=_width(there), counted=counted, distinct=distinct, repeats=shared
        )  # fmt: skip
        return rule, f"a key shared by {len(there) / distinct:.1f} rows each"
    return None


def _text(column: pl.Series) -> tuple[Rule, str] | None:
    there = column.drop_nulls()
    name, dtype, missing = _spelt(column.name), dtype_text(column.dtype), _missing(column)
    distinct = there.n_unique()
    unique = distinct == len(there) and len(there) > 1
    if distinct < 2:
        return None
    many = distinct >= _FEW and _alone(there) > 0.5
    if _share(there, _UUID) >= _MOSTLY:
        link = () if unique else _sharing(there)
        rule = Rule(column.name, "uuid", dtype, missing, unique, distinct=distinct if link else 0, repeats=link)
        return rule, "a unique key (UUID)" if unique else "a shared key (UUID)"
    if _share(there, _MAIL) >= _MOSTLY:
        whose = re.sub(r"[_\W]?e?[_\W]?mail.*$", "", name)
        return Rule(column.name, "person", dtype, missing, unique, part="email", whose=whose), "e-mail addresses"
    worded = _share(there, r"^[\p{L}\p{M}'’.,\- ]+$") >= _MOSTLY
    for part, hint in _NAMES:
        found = hint.search(name)
        # places and products have names too, mostly of one word
        people = part != "name" or name != "name" or _share(there, r"\S\s+\S") > 0.5
        if found and worded and people and (part != "name" or distinct > _FEW or many):
            whose = re.sub(r"[_\W]*(first|given|fore|christian|middle|last|family|sur|maiden|second|full)?[_\W]?name$|[_\W]*surname$", "", name)  # fmt: skip
            return Rule(column.name, "person", dtype, missing, part=part, whose=whose), "names of people"
    linked = bool(_LINK.search(name)) and distinct > max(_FEW, len(there) / _ROWS_A_KEY)
    if not many and not linked and not _phone(name, there, distinct):
        return None
    words = there.str.count_matches(r"\S+")
    phone = _phone(name, there, distinct)
    if (phone or float(words.mean()) < 4) and (shapes := _shapes(there, unique)):  # type: ignore[arg-type]
        link = _sharing(there) if linked and not unique else ()
        rule = Rule(
            column.name, "pattern", dtype, missing, unique, shapes=tuple(shapes), shares=tuple(shapes.values()),
            distinct=distinct if link else 0, repeats=link,
        )  # fmt: skip
        what = "telephone numbers" if phone else "codes of its own pattern"
        return rule, f"a unique key ({what})" if unique else what
    lengths = quantiles(words.to_numpy())
    sentence = _share(there, r"[.!?]\s*$") > 0.5
    return Rule(column.name, "text", dtype, missing, words=lengths, sentence=sentence), "free text"


def _shapes(there: pl.Series, unique: bool) -> dict[str, float]:
    """Each shape that at least `SHARED` rows have, with its share; empty where the rows have mostly shapes of their own."""
    if int(there.str.len_chars().max() or 0) > _PLACES:  # type: ignore[arg-type]
        return {}
    plain = (
        there.str.replace_all(r"\d", "9")
        .str.replace_all(r"[^\x00-\x7F]", "x")
        .str.replace_all("[A-Z]", "A")
        .str.replace_all("[a-z]", "a")
    )
    frame = pl.DataFrame({"shape": plain, "text": there.str.replace_all(r"[^\x00-\x7F]", "x")})
    counts = frame.group_by("shape").len().sort(["len", "shape"], descending=[True, False])
    kept = counts.filter(pl.col("len") >= SHARED).head(_SHAPES)
    if not kept.height or int(kept["len"].sum()) < 0.5 * len(there):
        return {}
    made: dict[str, float] = {}
    for shape, count in kept.rows():
        texts = frame.filter(pl.col("shape") == shape)["text"]
        columns = [texts.str.slice(k, 1) for k in range(len(shape))]
        places = [as_shape(c[0], c.n_unique() == 1) for c in columns]
        made["".join(places)] = made.get("".join(places), 0.0) + count / int(kept["len"].sum())
    if unique:
        room = {s: sum(p in "9Aa" and (k == 0 or s[k - 1] != "\\") for k, p in enumerate(s)) for s in made}
        made = {s: w for s, w in made.items() if room[s] == max(room.values())}
        made = {s: w / sum(made.values()) for s, w in made.items()}
    return {s: round(w, 4) for s, w in made.items()}


def _phone(name: str, there: pl.Series, distinct: int) -> bool:
    hinted = re.search(r"phone|mobile|(^|_)(tel|fax|cell)(_|$)", name) is not None
    return hinted and _share(there, _PHONE) >= _MOSTLY and distinct > 2


def _spelt(name: str) -> str:
    """customerID and CustomerId as customer_id."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _missing(column: pl.Series) -> float:
    return round(column.null_count() / column.len(), 6)


def _width(there: pl.Series) -> int:
    return min(len(str(int(there.max()))), 18)  # type: ignore[arg-type]


def _share(there: pl.Series, pattern: str) -> float:
    return float(there.str.contains(pattern).mean())  # type: ignore[arg-type]


def _alone(there: pl.Series) -> float:
    """The share of rows whose value no other row has."""
    return float((_counts(there) == 1).sum()) / len(there)


def _counts(there: pl.Series) -> NDArray[np.uint32]:
    """How many rows have each of the values."""
    return there.alias("value").value_counts(name="n")["n"].to_numpy()


def _sharing(there: pl.Series) -> tuple[float, ...]:
    """The share of rows that each part of the keys has, keys in order of how many rows they have."""
    counts = np.sort(_counts(there))
    parts = np.array_split(counts, min(_PARTS, len(counts)))
    return tuple(round(float(p.sum()) / len(there), 6) for p in parts)
