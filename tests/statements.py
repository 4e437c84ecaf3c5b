"""SQL in a database of a test's own, past all that populace does."""

from __future__ import annotations

from populace.core.address import parse_database
from populace.core.sinks.database import open_database


def execute(url: str, statement: str) -> None:
    """One statement, by a driver of the test's own."""
    at = open_database(url)
    if url.startswith("duckdb"):
        import duckdb

        with duckdb.connect(str(at.work)) as connection:
            connection.execute(statement)
    elif url.startswith("sqlite"):
        import sqlite3

        connection = sqlite3.connect(at.work)
        connection.execute("PRAGMA foreign_keys = ON")
        with connection:
            connection.execute(statement)
        connection.close()
    elif url.startswith("postgresql"):
        import psycopg

        server, _, space = url.rpartition("schema=")
        with psycopg.connect(server[:-1], autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{space}"')
            connection.execute(f'SET search_path TO "{space}"')
            connection.execute(statement)
    else:
        import pymysql

        a = parse_database(url)
        with pymysql.connect(
            host=a.host,
            port=a.port or 3306,
            user=a.user,
            password=a.password or "",
            database=a.database,
            autocommit=True,
        ) as connection:
            connection.cursor().execute(statement)
