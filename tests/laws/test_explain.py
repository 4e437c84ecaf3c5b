"""Every row of every domain can be explained: the explanation makes the very row, and leaves no column unaccounted for."""

from __future__ import annotations

import polars as pl
import pytest
from laws.over import COMPANY, companies, plain

from populace.core.dataset import make_cast
from populace.core.domain import Domain
from populace.core.errors import UserError
from populace.core.explain import explain, explain_stored
from populace.core.priors import Prior


def test_a_row_is_made_again_with_everything_that_made_it(domain: Domain):
    """Of each table a row that a scenario touched, or else one of the middle; and every prior that a step read is told with its source."""
    data = plain(domain.name, *companies(domain)[0][:COMPANY])
    plan, cast = data.plan, make_cast(data.plan)
    label = data.frames["label"]
    priors: dict[str, Prior] = {}
    for name, spec in domain.schema.tables.items():
        frame = data.frames[name]
        labelled = label.filter(pl.col("table") == name)["row_key"].drop_nulls().unique().sort()
        for key in labelled.head(1) if labelled.len() else frame[spec.key].slice(frame.height // 2, 1):
            found = explain(plan, name, key, cast)
            row = frame.filter(pl.col(spec.key) == key).row(0, named=True)
            assert found.row == row
            told = {c for stage in found.stages for c in (*stage.made, *stage.changed)}
            assert set(row) <= told
            edits = label.filter(pl.col("table") == name, pl.col("row_key") == key).height
            assert len(found.labels) == edits
            assert f"{name} {key}" in found.text()
            owner = found.owners[-1] if found.owners else (name, key)
            if not spec.reference:
                assert owner[1] == domain.schema.unit_of(name, pl.Series([key]).to_numpy())[0]
            priors |= {prior.name: prior for stage in found.stages for prior in stage.priors}
    assert priors
    assert all(plan.priors[name] is prior for name, prior in priors.items())
    assert all(prior.source for prior in priors.values())


def test_a_stored_row_that_was_altered_is_told_from_the_plan(domain: Domain, tmp_path):
    data = plain(domain.name)
    data.write(str(tmp_path / "out"))
    name, spec = next((n, s) for n, s in domain.schema.tables.items() if not s.reference)
    key = int(data.frames[name][spec.key][0])
    small_domain = data.plan.domain
    assert explain_stored(small_domain, str(tmp_path / "out"), name, key).stored == {}
    part = next((tmp_path / "out" / name).glob("*.parquet"))
    column = next(c.name for c in spec.columns.values() if c.type in ("text", "date", "float"))
    frame = pl.read_parquet(part)
    frame.with_columns(pl.lit(None, frame.schema[column]).alias(column)).write_parquet(part)
    assert explain_stored(small_domain, str(tmp_path / "out"), name, key).stored == {column: None}


def test_what_cannot_be_explained_is_refused(domain: Domain, tmp_path):
    data = plain(domain.name)
    plan, root = data.plan, domain.schema[domain.root]
    with pytest.raises(UserError, match="and there are"):
        explain(plan, domain.root, 10**9)
    data.write(str(tmp_path / "out"))
    with pytest.raises(UserError, match="unknown table"):
        explain_stored(plan.domain, str(tmp_path / "out"), "tabel", 0)
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(UserError, match="has no manifest"):
        explain_stored(plan.domain, str(tmp_path / "out"), root.name, 0)
