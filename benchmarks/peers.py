"""Peers, run as their documentation shows, in the same process and on the same core."""

from __future__ import annotations

from pathlib import Path

import polars as pl

ROWS = 4_000


def faker_row_by_row(folder: Path) -> float:
    """Name, e-mail, address, birth date, amount, time and category of people, one call each."""
    from faker import Faker

    fake = Faker("en_US")
    fake.seed_instance(1)
    rows = [
        {
            "name": fake.name(),
            "email": fake.email(),
            "address": fake.address(),
            "birth_date": fake.date_of_birth(),
            "amount": fake.pyfloat(min_value=1, max_value=1_000, right_digits=2),
            "at": fake.date_time_this_year(),
            "category": fake.random_element(("a", "b", "c", "d")),
        }
        for _ in range(ROWS)
    ]
    pl.DataFrame(rows).write_parquet(folder / "x.parquet")
    return ROWS


PEERS = {"Faker row by row": faker_row_by_row}
