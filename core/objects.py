"""Rows as instances of somebody's own models: Django's or SQLAlchemy's, with their foreign keys, saved or not.

    made = data.objects({"customer": Customer, "account": Account}, save=True)
    make = data.factory("customer", Customer)        # a factory: the next customer at each call
    make(status="closed")

A model's field takes the column of its name; a foreign key the object that the row refers to; a decimal field takes money in the currency's major unit.
Keys that the database numbers itself are left to it, others are ours. `fields` says the rest: the name of a column, or a function of the row.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from .currency import major
from .errors import UserError, unknown
from .schema import Column, TableSchema

if TYPE_CHECKING:
    from .dataset import Dataset

Row = Mapping[str, Any]
Fields = Mapping[str, "str | Callable[[Row], Any]"]


@dataclass(frozen=True)
class Field:
    """A field of a model, whatever library the model is of."""

    name: str
    key: bool = False
    """The primary key, where the database does not number it itself."""
    needed: bool = False
    """It may not stay empty, and the model itself has no value for it."""
    related: type | None = None
    stored: str = ""
    """For a reference: the field that holds the key itself, where that has a name of its own."""
    numeric: bool = True
    decimal: bool = False
    zoned: bool = True


class Library(Protocol):
    def fields(self, model: type) -> list[Field]: ...

    def save(self, made: Mapping[str, Sequence[Any]]) -> None:
        """Store objects, those that others refer to first, all or none."""
        ...


def objects(
    data: Dataset,
    models: Mapping[str, type],
    fields: Mapping[str, Fields] | None = None,
    save: Any = False,
) -> dict[str, list[Any]]:
    """An instance for each row of each table that has a model. `save`: True for Django; a Session for SQLAlchemy (flushed, not committed).

    Raises UserError for an unknown table, column or field, for a class that is no model, and, before any row, for fields that must have a value and
    get none.
    """
    for table in models:
        if table not in data.plan.domain.schema.tables:
            raise unknown("table", table, data.plan.domain.schema.tables, data.plan.domain.name)
    for table in fields or {}:
        if table not in models:
            raise unknown("table", table, models, "fields")
    library = _library(models.values(), save)
    order = [t for t in data.plan.domain.schema.tables if t in models]
    makers = {t: _plan(library, t, models, (fields or {}).get(t, {}), data) for t in order}
    made: dict[str, dict[Any, Any]] = {}
    for table in order:
        key, maker = data.plan.domain.schema[table].key, makers[table]
        rows = data.frames[table].to_dicts() if table in data.frames else []
        made[table] = {}
        for row in rows:
            made[table][row[key]] = maker(row, made)
    out = {t: list(kept.values()) for t, kept in made.items()}
    if save is not False and save is not None:
        library.save(out)
    return out


def factory(
    data: Dataset, table: str, model: type, fields: Fields | None = None, save: Any = False
) -> Callable[..., Any]:
    """A function that makes one instance at a call, from the next row of the table; values given by name win. Its key is left to the database.

    Raises UserError as `objects` does, and when the rows are used up.
    """
    if table not in data.plan.domain.schema.tables:
        raise unknown("table", table, data.plan.domain.schema.tables, data.plan.domain.name)
    library = _library([model], save)
    known = {f.name: f for f in library.fields(model)}
    rows: Iterator[Row] = iter(data.frames[table].to_dicts())
    counter = itertools.count()

    def make(**given: Any) -> Any:
        for name in given:
            if name not in known and name not in {f.stored for f in known.values()}:
                raise unknown("field", name, known, model.__name__)
        row = next(rows, None)
        if row is None:
            raise UserError(f"the {next(counter):,} rows of {table} are used up: make the dataset with a larger size")
        next(counter)
        chosen = {**(fields or {}), **{n: (lambda _, v=v: v) for n, v in given.items()}}
        one = _plan(library, table, {table: model}, chosen, data, keyed=False)(row, {})
        if save is not False and save is not None:
            library.save({table: [one]})
        return one

    return make


def _plan(
    library: Library, table: str, models: Mapping[str, type], fields: Fields, data: Dataset, keyed: bool = True
) -> Callable[[Row, Mapping[str, Mapping[Any, Any]]], Any]:
    """What makes an instance of a row, given the instances that it may refer to."""
    spec, model = data.plan.domain.schema[table], models[table]
    known = library.fields(model)
    named = {n for f in known for n in (f.name, f.stored) if n}
    for name, source in fields.items():
        if name not in named:
            raise unknown("field", name, named, model.__name__)
        if isinstance(source, str) and source not in spec.columns:
            raise unknown("column", source, spec.columns, f"{model.__name__}.{name}")
    values: dict[str, Callable[[Row, Mapping[str, Mapping[Any, Any]]], Any]] = {}
    lacking = []
    for field in known:
        said = field.stored if field.stored in fields else field.name
        source = fields.get(said)
        link = _link(field, spec, models, model, source) if field.related is not None and said == field.name else None
        if link is not None:
            column, target = link
            values[said] = lambda row, made, c=column, t=target: None if row[c] is None else made[t].get(row[c])
            continue
        if source is None:
            source = _same(field, spec, keyed)
        if source is None:
            lacking += [field.name] if field.needed else []
        elif isinstance(source, str):
            values[said] = _value(field, spec.columns[source], spec)
        else:
            values[said] = lambda row, _, make=source: make(row)
    if lacking:
        raise UserError(
            f"{model.__name__}: {', '.join(lacking)} must have a value, and {data.plan.domain.name}.{table} has no column of that name. "
            f"Say which in fields, for example {{'{table}': {{'{lacking[0]}': '{list(spec.columns)[1]}'}}}}. Columns: {', '.join(spec.columns)}"
        )
    return lambda row, made: model(**{name: value(row, made) for name, value in values.items()})


def _link(
    field: Field, spec: TableSchema, models: Mapping[str, type], model: type, asked: Any
) -> tuple[str, str] | None:
    """The column that refers to the rows whose objects a foreign key is to hold, and their table."""
    able = [(c, t) for c, t in spec.references.items() if models.get(t) is field.related]
    if asked is not None:
        return next((x for x in able if x[0] == asked), None)
    named = [x for x in able if x[0] in (field.name, field.stored, f"{field.name}_id")]
    if len(able) > 1 and not named:
        if not field.needed:
            return None
        columns = ", ".join(c for c, _ in able)
        raise UserError(f"{model.__name__}.{field.name} could be any of {columns}: say which in fields")
    return (named or able or [None])[0]


def _same(field: Field, spec: TableSchema, keyed: bool) -> str | None:
    if field.key:
        return spec.key if field.numeric and field.related is None and keyed else None
    for name in (field.name, field.stored, f"{field.name}_minor"):
        if name in spec.columns and (name != spec.key):
            return name
    return None


def _value(field: Field, column: Column, spec: TableSchema) -> Callable[[Row, Any], Any]:
    name = column.name
    if field.decimal and column.type == "money":
        currency = "currency" if "currency" in spec.columns else None
        return lambda row, _: None if row[name] is None else major(row[name], row[currency] if currency else None)
    if field.decimal:
        return lambda row, _: None if row[name] is None else Decimal(str(row[name]))
    if column.type == "instant" and not field.zoned:
        return lambda row, _: None if row[name] is None else row[name].replace(tzinfo=None)
    return lambda row, _: row[name]


def _library(models: Any, save: Any) -> Library:
    models = list(models)
    if models and all(hasattr(m, "_meta") and hasattr(m._meta, "concrete_fields") for m in models):
        if save not in (True, False, None):
            raise UserError("Django's models are saved by their own database: save=True")
        return _Django()
    if models and all(hasattr(m, "__mapper__") for m in models):
        if save is True:
            raise UserError("SQLAlchemy's models are saved in a session: save=Session(engine)")
        return _SQLAlchemy(save)
    names = ", ".join(getattr(m, "__name__", repr(m)) for m in models)
    raise UserError(f"{names or 'no models'}: expected models of Django or of SQLAlchemy, all of one of them")


class _Django:
    def fields(self, model: Any) -> list[Field]:
        from django.conf import settings

        found = []
        for f in model._meta.concrete_fields:
            inner = f.target_field if f.is_relation else f
            kind = inner.get_internal_type()
            made = (
                kind.endswith("AutoField")
                or f.has_default()
                or getattr(f, "auto_now", False)
                or getattr(f, "auto_now_add", False)
            )
            found.append(
                Field(
                    f.name,
                    key=f.primary_key and not kind.endswith("AutoField"),
                    needed=not (f.null or f.blank or made or getattr(f, "generated", False)),
                    related=f.remote_field.model if f.is_relation else None,
                    stored=f.attname if f.attname != f.name else "",
                    numeric="Integer" in kind,
                    decimal=kind == "DecimalField",
                    zoned=bool(settings.USE_TZ),
                )
            )
        return found

    def save(self, made: Mapping[str, Sequence[Any]]) -> None:
        from django.db import connections, router, transaction

        some = next((rows[0] for rows in made.values() if rows), None)
        if some is None:
            return
        database = router.db_for_write(type(some))
        with transaction.atomic(using=database):  # type: ignore[attr-defined]
            for rows in made.values():
                if rows:
                    for one in rows:  # what was made before its parent had a key
                        for f in (f for f in one._meta.concrete_fields if f.is_relation and f.is_cached(one)):
                            setattr(one, f.attname, getattr(getattr(one, f.name), f.target_field.attname, None))
                    if connections[database].features.can_return_rows_from_bulk_insert:
                        type(rows[0])._default_manager.bulk_create(rows, batch_size=1_000)
                    else:  # the keys that the database gives are needed by those that refer to them
                        for one in rows:
                            one.save(force_insert=True, using=database)


class _SQLAlchemy:
    def __init__(self, session: Any) -> None:
        self._session = session

    def fields(self, model: Any) -> list[Field]:
        mapper = model.__mapper__
        found, linked = [], set()
        for link in mapper.relationships:
            if link.direction.name == "MANYTOONE":
                columns = list(link.local_columns)
                linked |= set(columns)
                stored = mapper.get_property_by_column(columns[0]).key
                needed = any(not c.nullable for c in columns)
                found.append(Field(link.key, needed=needed, related=link.mapper.class_, stored=stored))
        for attribute in mapper.column_attrs:
            column = attribute.columns[0]
            if column in linked or column.computed is not None:
                continue
            kind = _python_type(column.type)
            numbered = column.autoincrement is not False
            alone = column.primary_key and kind is int and len(mapper.primary_key) == 1 and numbered
            made = column.nullable or column.default is not None or column.server_default is not None or alone
            found.append(
                Field(
                    attribute.key,
                    key=column.primary_key and not column.foreign_keys and not alone,
                    needed=not made,
                    numeric=kind is int,
                    decimal=kind is Decimal,
                    zoned=kind is not dt.datetime or bool(getattr(column.type, "timezone", False)),
                )
            )
        return found

    def save(self, made: Mapping[str, Sequence[Any]]) -> None:
        with self._session.begin_nested():
            for rows in made.values():
                self._session.add_all(rows)
            self._session.flush()


def _python_type(kind: Any) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None
