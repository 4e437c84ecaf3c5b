"""What belongs to someone is not learnt: found by name, type and values, made anew with its shape, and nowhere in the file."""

from __future__ import annotations

import re
import uuid
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.app.commands.models import fit as command
from populace.core.errors import UserError
from populace.core.models import Model, fit, load_model, save_model
from populace.core.samplers.statistical.detect import rules_of
from populace.core.samplers.statistical.regenerate import Rule
from populace.core.stream import Stream

N = 400
RNG = np.random.default_rng(2)


def letters(low: int, high: int) -> list[str]:
    """Words that are in no dictionary."""
    sizes = RNG.integers(low, high, N)
    return ["".join(RNG.choice(list("bcdfghjklmnpqrstvwxz"), k)).capitalize() for k in sizes]


FIRST, LAST = letters(6, 9), letters(7, 12)
TABLE = pl.DataFrame(
    {
        "customerId": RNG.choice(9_000_000, N, replace=False) + 1_000_000,
        "token": [str(uuid.UUID(bytes=RNG.bytes(16), version=4)) for _ in range(N)],
        "first_name": FIRST,
        "last_name": LAST,
        "email": [f"{a}.{b}@bank.test".lower() for a, b in zip(FIRST, LAST, strict=True)],
        "phone": [f"+44 20 7{a:03d} {b:04d}" for a, b in RNG.integers(0, 1_000, (N, 2))],
        "policy": [f"INV-{a:05d}-{b}" for a, b in zip(RNG.choice(90_000, N, replace=False), RNG.choice(list("XYZ"), N), strict=True)],
        "note": pl.Series([" ".join(RNG.choice(FIRST, k)) + "." for k in RNG.integers(5, 30, N)]).set(pl.Series(RNG.random(N) < 0.25), None),
        "branch_id": RNG.integers(50_000, 50_060, N),
        "age": RNG.integers(18, 90, N),
        "city": RNG.choice(["Rome", "Oslo", "Lyon"], N),
    }
)  # fmt: skip
RULED = ("customerId", "token", "first_name", "last_name", "email", "phone", "policy", "note", "branch_id")


@cache
def learnt() -> Model:
    return fit(TABLE, "gaussian-copula", seed=1)


@cache
def drawn() -> pl.DataFrame:
    return learnt().sample_frame(1_000, 3)


def test_what_belongs_to_someone_is_found_and_the_card_says_what_it_is():
    assert tuple(learnt().card["regenerated"]) == RULED
    assert learnt().card["regenerated"]["email"] == "e-mail addresses"
    assert learnt().card["regenerated"]["note"] == "free text"
    assert learnt().card["regenerated"]["phone"].endswith("(telephone numbers)")
    assert drawn().columns == TABLE.columns
    assert drawn().schema == TABLE.schema


def test_no_value_of_it_is_in_the_file_or_in_what_is_drawn(tmp_path: Path):
    save_model(learnt(), tmp_path / "m.model")
    content = (tmp_path / "m.model").read_bytes()
    for column in RULED[:-1]:
        values = TABLE[column].drop_nulls().cast(pl.String)
        assert not [v for v in values if v.encode() in content], column
        if column != "customerId":
            assert not set(values) & set(drawn()[column].drop_nulls().cast(pl.String))
    assert load_model(tmp_path / "m.model").sample_frame(1_000, 3).equals(drawn())


def test_keys_are_unique_and_shapes_are_kept():
    for column in ("customerId", "token", "policy"):
        assert drawn()[column].n_unique() == drawn().height
    assert drawn()["customerId"].is_between(1_000_000, 9_999_999).all()
    assert drawn()["policy"].str.contains(r"^INV-\d{5}-[A-Z]$").all()
    assert drawn()["phone"].str.contains(r"^\+44 20 7\d{3} \d{4}$").all()
    assert all(uuid.UUID(v).version == 4 for v in drawn()["token"])
    assert drawn()["branch_id"].n_unique() == TABLE["branch_id"].n_unique()


def test_text_keeps_its_length_and_gaps():
    words = [t["note"].drop_nulls().str.count_matches(r"\S+") for t in (TABLE, drawn())]
    assert words[1].mean() == pytest.approx(words[0].mean(), rel=0.05)
    assert words[1].std() == pytest.approx(words[0].std(), rel=0.15)
    assert drawn()["note"].null_count() / 1_000 == pytest.approx(TABLE["note"].null_count() / N, abs=0.05)
    assert drawn()["note"].drop_nulls().str.ends_with(".").all()


def test_an_address_fits_the_name_beside_it():
    for row in drawn().head(50).iter_rows(named=True):
        assert row["email"].startswith(re.sub(r"\W", "", row["first_name"]).lower())
    assert drawn()["email"].str.contains(r"@([a-z]+\.)?example(\.com|\.org|\.net)?$").all()


def test_what_is_like_it_but_is_not_is_learnt():
    table = pl.DataFrame(
        {
            "amount": RNG.permutation(N) * 3,
            "name": RNG.choice(["Savings", "Current"], N),
            "product_code": RNG.choice(["A1", "B2", "C3"], N),
            "weight": RNG.normal(size=N),
        }
    )
    assert rules_of(table) == ()


def test_a_column_called_name_is_of_people_where_it_has_two_words():
    people, places = ({"name": [f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)]}, {"name": FIRST})
    found = [rules_of(pl.DataFrame(t))[0][0].kind for t in (people, places)]
    assert found[0] == "person"
    assert found[1] != "person"


def test_keep_learns_it_and_drop_leaves_it_out():
    model = fit(TABLE, "empirical", keep=["policy"], drop=["email", "age"])
    assert "policy" not in model.card["regenerated"]
    assert set(model.sample_frame(50)["policy"]) <= set(TABLE["policy"])
    assert "email" not in model.columns
    with pytest.raises(UserError, match=r"unknown column 'plicy'. Did you mean 'policy'"):
        fit(TABLE, "empirical", keep=["plicy"])


def test_what_cannot_be_asked_of_it_is_refused():
    with pytest.raises(UserError, match=r"fit with --keep policy to learn it"):
        learnt().sample_frame(5, where={"policy": "INV-00001-X"})
    given_ids = pl.DataFrame({"customerId": [7, 8], "city": ["Oslo", "Rome"]})
    assert learnt().sample_frame(given=given_ids).select(given_ids.columns).equals(given_ids)
    with pytest.raises(UserError, match="nothing is left to learn"):
        fit(TABLE.select("token", "email"))
    tight = pl.DataFrame({"ref": [f"R{n:02d}" for n in range(60)], "x": RNG.integers(0, 3, 60)})
    with pytest.raises(UserError, match="has room for 100 rows, not 101"):
        fit(tight, "empirical").sample_frame(101)


@settings(max_examples=40, deadline=None)
@given(st.text("9Aa", min_size=2, max_size=6), st.integers(0, 2**32))
def test_a_unique_pattern_never_repeats_while_it_has_room(shape: str, seed: int):
    rule = Rule("c", "pattern", "String", unique=True, shapes=(shape,), shares=(1.0,))
    n = min(rule.room, 2_000)
    made = rule.values(np.arange(n, dtype=np.uint64), Stream.root(seed))
    assert made.n_unique() == n
    pattern = "".join({"9": "[0-9]", "A": "[A-Z]", "a": "[a-z]"}[c] for c in shape)
    assert made.str.contains(f"^{pattern}$").all()


def test_the_command_says_which(tmp_path: Path):
    TABLE.select("token", "age", "city").write_csv(tmp_path / "t.csv")
    out = [str(tmp_path / "t.csv"), "--model", "empirical", "--out", str(tmp_path / "m.model")]
    made = CliRunner().invoke(command, out)
    assert made.exit_code == 0, made.output
    assert "made by rule, not learnt: token, a unique key (UUID)" in made.output


@pytest.mark.parametrize(
    "change", [{"kind": "_digits"}, {"shapes": ["Z"]}, {"digits": 40}, {"missing": 2}, {"dtype": "Object"}]
)
def test_hostile_rules_are_refused(change: dict, tmp_path: Path):
    import json

    from safetensors.numpy import save

    from populace.core.model_file import FORMAT, parsed

    save_model(learnt(), tmp_path / "m.model")
    text, arrays = parsed((tmp_path / "m.model").read_bytes())
    whole = json.loads(text)
    whole["rules"][6] |= change
    (tmp_path / "bad.model").write_bytes(
        save({k: np.asarray(v) for k, v in arrays.items()}, {FORMAT: json.dumps(whole)})
    )
    with pytest.raises(UserError, match=r"bad\.model"):
        load_model(tmp_path / "bad.model")
