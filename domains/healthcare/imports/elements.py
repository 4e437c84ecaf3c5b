"""Elements of FHIR resources as expressions over a frame of them: times, references, names, addresses, identifiers."""

from __future__ import annotations

import polars as pl

from ....core.tables import Table


def instant(text: pl.Expr, last: bool = False) -> pl.Expr:
    """FHIR date or dateTime as an instant in UTC; of a partial one the first moment."""
    whole = pl.when(text.str.len_chars() == 4).then(text + "-01-01").when(text.str.len_chars() == 7).then(text + "-01")
    whole = whole.otherwise(text)
    whole = pl.when(whole.str.len_chars() == 10).then(whole + "T00:00:00+00:00").otherwise(whole)
    return whole.str.replace("Z$", "+00:00").str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )


def date(text: pl.Expr) -> pl.Expr:
    return instant(text).dt.date()


def target(reference: pl.Expr) -> pl.Expr:
    """The id that a reference names: of `Patient/7`, `urn:uuid:7`, `https://host/base/Patient/7/_history/2`; of `Patient?identifier=s|v` the `v`."""
    text = reference.struct.field("reference").str.replace(r"/_history/[^/]*$", "")
    return pl.coalesce(text.str.extract(r"\?.*\|(.+)$"), text.str.extract(r"([^/:#|]+)$"))


def first(column: str) -> pl.Expr:
    """The first of an array, null where it is empty."""
    return pl.col(column).list.get(0, null_on_oob=True)


def field(column: str, *path: str) -> pl.Expr:
    at = pl.col(column)
    for name in path:
        at = at.struct.field(name)
    return at


def identifier(kind: str) -> pl.Expr:
    """The value of the identifier of a type (HL7 v2 table 0203), else of the first."""
    of_kind = (
        pl.element().struct.field("type").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code")
    )
    values = pl.col("identifier").list.eval(pl.element().filter(of_kind == kind).struct.field("value"))
    return pl.coalesce(values.list.get(0, null_on_oob=True), first("identifier").struct.field("value"))


def of_system(system: str) -> pl.Expr:
    here = pl.element().struct.field("system") == system
    return pl.col("identifier").list.eval(pl.element().filter(here).struct.field("value")).list.get(0, null_on_oob=True)


def phone() -> pl.Expr:
    phone = pl.element().filter(pl.element().struct.field("system") == "phone").struct.field("value")
    return pl.col("telecom").list.eval(phone).list.get(0, null_on_oob=True)


def address() -> dict[str, pl.Expr]:
    at = first("address")
    return {
        "line": at.struct.field("line").list.join(", "),
        "city": at.struct.field("city"),
        "state": at.struct.field("state"),
        "postal_code": at.struct.field("postalCode"),
    }


def name() -> dict[str, pl.Expr]:
    given = first("name").struct.field("given")
    return {
        "given_name": given.list.get(0, null_on_oob=True),
        "middle_name": pl.when(given.list.len() > 1).then(given.list.slice(1).list.join(" ")),
        "family_name": first("name").struct.field("family"),
    }


def known(said: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    """What is said, where it is one of these words."""
    return pl.when(said.is_in(words)).then(said)


def numbered(parts: Table, owner: str) -> Table:
    return parts.with_columns(id=pl.format("{}/{}", owner, pl.int_range(pl.len()).over(owner)))
