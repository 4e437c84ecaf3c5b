"""Rows as objects, for tests and fixtures: dicts, dataclasses, pydantic models, FHIR resources, or anything that takes a row's columns by name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import UserError, unknown
from .schema import LABEL, TableSchema

if TYPE_CHECKING:
    from .dataset import Dataset

FORMS = ("dict", "dataclass", "pydantic", "fhir.resources")
_TYPES: dict[str, Any] = {
    "id": int,
    "int": int,
    "int32": int,
    "money": int,
    "float": float,
    "float32": float,
    "text": str,
    "code": str,
    "bool": bool,
    "date": dt.date,
    "instant": dt.datetime,
}


def records(data: Dataset, table: str, as_: str | type | Callable[..., Any] = "dict") -> list[Any]:
    """The rows of a table, in their order. `as_` is one of FORMS, or a class or function that is called with a row's columns by name (a
    dataclass, a pydantic model, an ORM's model, a factory); money stays in minor units, instants are in UTC.

    Raises UserError for an unknown table or form, and where the domain has no FHIR resource for the table.
    """
    if table not in data.frames:
        raise unknown("table", table, data.frames, data.plan.domain.name)
    if as_ == "fhir.resources":
        return _resources(data, table)
    spec = LABEL if table == LABEL.name else data.plan.domain.schema[table]
    rows = data.frames[table].to_dicts()
    make = maker(spec, as_)
    return rows if make is dict else [make(**row) for row in rows]


def maker(spec: TableSchema, as_: str | type | Callable[..., Any] = "dict") -> Callable[..., Any]:
    """What makes an object of a row's columns by name: `dict` for `"dict"`, a class of the table's own for `"dataclass"` and `"pydantic"`.

    Raises UserError for an unknown form.
    """
    if as_ in ("dict", dict):
        return dict
    if not isinstance(as_, str):
        return as_
    makers = {"dataclass": _dataclass, "pydantic": _pydantic}
    if as_ not in makers:
        raise unknown("form", as_, FORMS, "as_")
    return makers[as_](spec)


def _class_name(spec: TableSchema) -> str:
    return "".join(word.capitalize() for word in spec.name.split("_"))


def _dataclass(spec: TableSchema) -> type:
    from dataclasses import make_dataclass

    fields = [(c.name, _TYPES[c.type] | None if c.null else _TYPES[c.type]) for c in spec.columns.values()]
    return make_dataclass(_class_name(spec), fields, frozen=True)


def _pydantic(spec: TableSchema) -> type:
    from pydantic import create_model

    fields: dict[str, Any] = {
        c.name: (_TYPES[c.type] | None, None) if c.null else (_TYPES[c.type], ...) for c in spec.columns.values()
    }
    return create_model(_class_name(spec), **fields)


def _resources(data: Dataset, table: str) -> list[Any]:
    """The FHIR resources that the domain's own view makes of the table (rows that are one panel are one resource), read by fhir.resources."""
    from fhir.resources.R4B import get_fhir_model_class

    domain = data.plan.domain
    reference = {n: f for n, f in data.frames.items() if n != LABEL.name and domain.schema[n].reference}
    wanted = table.replace("_", "")
    for view in (v for v in domain.views.values() if v.suffix == "ndjson"):
        needed = {n: f for n, f in data.frames.items() if n != LABEL.name}
        for kind, frame in view.render(needed, reference).items():
            if kind.lower() == wanted and {"text"} == set(frame.columns):
                model: Any = get_fhir_model_class(kind)
                return [model.model_validate_json(text) for text in frame["text"]]
    raise UserError(f"{domain.name} has no FHIR resource for table '{table}'")
