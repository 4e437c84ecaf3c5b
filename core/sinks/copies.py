"""Throw-away copies of one seeded database: a file is copied, PostgreSQL copies a template."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..dataset import Dataset
from ..errors import UserError, unknown
from .address import Address
from .database import FILES, open_database
from .load import first_line
from .postgresql import PostgreSQL

KINDS = (*FILES, "postgresql")


def template_file(data: Dataset, kind: str, folder: Path) -> Path:
    """A database file that holds a dataset, made in the folder unless it is there."""
    if kind not in FILES:
        raise unknown("kind of database", kind, KINDS, "db")
    path = folder / f"template.{kind}"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{uuid.uuid4().hex}.{kind}"
        data.write(f"{kind}:///{draft}")
        os.replace(draft, path)
    return path


def copy_file(template: Path, kind: str, path: Path) -> str:
    shutil.copyfile(template, path)
    return f"{kind}:///{path}"


class Templates:
    """The template databases that a session has made on one PostgreSQL server; `drop()` removes them."""

    def __init__(self, server: str) -> None:
        found = open_database(server)
        if not isinstance(found, PostgreSQL):
            raise unknown("server", found.scheme, ("postgresql",))
        self._server = found.address
        self._made: dict[str, str] = {}

    @contextmanager
    def copy(self, data: Dataset) -> Iterator[str]:
        """The URL, with a password if the server's has one, of a copy that is dropped afterwards."""
        template = self._made.get(data.plan.fingerprint) or self._make(data)
        name = f"populace_copy_{uuid.uuid4().hex[:16]}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self._at(name).uri()
        finally:
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _make(self, data: Dataset) -> str:
        name = f"populace_template_{uuid.uuid4().hex[:16]}"
        self._run(f'CREATE DATABASE "{name}"')
        self._made[data.plan.fingerprint] = name
        data.write(self._at(name).uri())
        return name

    def drop(self) -> None:
        for name in self._made.values():
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made.clear()

    def _at(self, database: str) -> Address:
        return replace(self._server, database=database)

    def _run(self, statement: str) -> None:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        try:
            with dbapi.connect(self._server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute(statement)
        except Error as error:
            raise UserError(f"{self._server.shown}: {self._server.scrub(first_line(error))}") from None
