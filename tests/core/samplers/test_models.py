"""Models are values and files: what is saved is what is loaded, and a file that is no model is refused by name."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from safetensors.numpy import save

from populace.core.errors import UserError
from populace.core.models import FORMAT, MODELS, Model, fit, load_model, save_model

RNG = np.random.default_rng(1)
TABLE = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, 800),
        "sex": RNG.choice(["F", "M"], 800),
        "income": np.round(RNG.lognormal(8, 1, 800), 2),
        "smoker": RNG.random(800) < 0.3,
        "joined": pd.date_range("2020-01-01", periods=800, freq="h"),
        "group": pd.Categorical(RNG.choice(["a", "b"], 800)),
        "visits": pd.array(RNG.choice([1, 2, None], 800), dtype="Int64"),
        "score": np.where(RNG.random(800) < 0.2, np.nan, RNG.normal(size=800)),
    }
)


def learnt(name: str) -> Model:
    # that a network draws sound rows does not hang on how much it learnt
    epochs = 2 if MODELS[name].trained else None
    return fit(TABLE, model=name, seed=1, epsilon=20.0 if MODELS[name].private else None, epochs=epochs)


@pytest.fixture(params=[n for n, kind in MODELS.items() if not kind.events and not kind.series], scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return learnt(request.param)


def test_a_sample_has_the_types_of_the_table(model: Model):
    made = model.sample(200, seed=2)
    assert made.dtypes.astype(str).to_dict() == TABLE.dtypes.astype(str).to_dict()
    # that all fall on the hour is for no private model to know
    assert MODELS[model.name].private or (made["joined"] == made["joined"].dt.floor("h")).all()
    assert len(model.sample(0)) == 0


def test_same_seed_same_rows_and_more_rows_keep_the_first(model: Model):
    assert model.sample_frame(100, 3).equals(model.sample_frame(250, 3).head(100))
    assert not model.sample_frame(100, 3).equals(model.sample_frame(100, 4))
    assert learnt(model.name).sample_frame(50).equals(model.sample_frame(50))


def test_where_is_met_exactly(model: Model):
    where = {"sex": "F", "age": 40, "smoker": True, "group": "b", "joined": dt.datetime(2020, 1, 5)}
    made = model.sample(100, where=where)
    for column, value in where.items():
        assert (made[column] == value).all()
    assert model.sample_frame(100, where={"age": "40"})["age"].unique().to_list() == [40]
    assert model.sample_frame(100, where={"smoker": "true"})["smoker"].all()
    assert model.sample_frame(3, where={"joined": "2020-01-05 00:00:00"})["joined"][0] == dt.datetime(2020, 1, 5)


def test_what_is_saved_is_loaded(model: Model, tmp_path: Path):
    path = tmp_path / "m.model"
    save_model(model, path)
    again = load_model(path)
    assert again.sample_frame(300, 5, {"sex": "F"}).equals(model.sample_frame(300, 5, {"sex": "F"}))
    assert dict(again.card) == dict(model.card)
    assert again.name == model.name
    assert os.listdir(tmp_path) == ["m.model"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    second = tmp_path / "n.model"
    save_model(again, second)
    assert second.read_bytes() == path.read_bytes()


def test_the_card_says_what_it_is():
    card = fit(TABLE, "gaussian-copula", seed=7).card
    assert (card["model"], card["rows"], card["seed"]) == ("gaussian-copula", 800, 7)
    assert card["columns"]["age"] == "Int64"
    assert card["digest"] == fit(TABLE.sample(frac=1, random_state=1), "empirical").card["digest"]
    assert card["digest"] != fit(TABLE.head(799), "empirical").card["digest"]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_tables_are_read_from_files(tmp_path: Path, suffix: str):
    path = tmp_path / f"t.{suffix}"
    plain = TABLE.drop(columns=["group", "joined"])
    if suffix == "parquet":
        pl.from_pandas(plain).write_parquet(path)
    else:
        plain.to_csv(path, index=False)
    made = fit(path, "empirical")
    assert made.card["source"] == path.name
    assert made.columns == tuple(plain.columns)
    assert made.sample_frame(10).equals(fit(str(path), "empirical").sample_frame(10))


def test_a_late_value_of_another_type_does_not_mislead(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "1\n" * 5_000 + "2.5\n")
    assert fit(path, "empirical").sample_frame(1).schema["x"] == pl.Float64


REFUSED = {
    "unknown model": (lambda _: fit(TABLE, "gausian-copula"), "unknown model 'gausian-copula'. Did you mean 'gaussian-copula'"),
    "no file": (lambda f: fit(f / "no.csv"), "no.csv: cannot be read: No such file"),
    "a folder": (lambda f: fit(f), "holds no table that has rows"),
    "no rows": (lambda f: fit(written(f, b"a,b\n")), "t.csv: has no rows"),
    "empty file": (lambda f: fit(written(f, b"")), "neither CSV nor Parquet"),
    "broken parquet": (lambda f: fit(written(f, b"PAR1xx")), "t.csv: cannot be read"),
    "not text": (lambda f: fit(written(f, b"a,b\n\xff\xfe,1\n")), "byte 0xff in line 2"),
    "ragged": (lambda f: fit(written(f, b"a,b\n1,2,3\n")), "line 2 has 3 fields, the header has 2"),
    "no table": (lambda _: fit([1, 2]), "a table is a DataFrame or the path of a file, not list"),
    "two columns of one name": (lambda _: fit(pd.DataFrame([[1, 2]], columns=["a", "a"])), "more than one column 'a'"),
    "mixed column": (lambda _: fit(pd.DataFrame({"a": [1, "x"]})), "column 'a': cannot be read as one type"),
    "unknown column": (lambda _: fit(TABLE, "gaussian-copula").sample(1, where={"sexx": "F"}), "unknown column 'sexx'. Did you mean 'sex'"),
    "unseen category": (lambda _: fit(TABLE, "gaussian-copula").sample(1, where={"group": "c"}), "unknown value of group 'c'"),
    "wrong kind": (lambda _: fit(TABLE, "gaussian-copula").sample(1, where={"age": "old"}), "'old' is not a value of type Int64"),
    "half a year": (lambda _: fit(TABLE, "gaussian-copula").sample(1, where={"age": 40.5}), "'40.5' is not a value of type Int64"),
    "null": (lambda _: fit(TABLE, "gaussian-copula").sample(1, where={"age": None}), "'None' is not a value"),
    "rows": (lambda _: fit(TABLE, "gaussian-copula").sample(-1), "number of rows is -1"),
    "seed": (lambda _: fit(TABLE, "gaussian-copula").sample(1, seed=-1), "seed is -1"),
    "no model": (lambda f: load_model(f / "no.model"), "no.model: cannot be read: No such file"),
    "no place": (lambda f: save_model(fit(TABLE, "gaussian-copula"), f / "no" / "m.model"), "m.model: cannot be written: there is no folder"),
}  # fmt: skip


def written(folder: Path, content: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str, tmp_path: Path):
    make, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        make(tmp_path)
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "m.model"
    save_model(fit(TABLE, "gaussian-copula", seed=1), path)
    return path.read_bytes()


def refused(content: bytes, folder: Path) -> None:
    """Loading gives a UserError that names the file, or a model that samples: never another exception."""
    path = folder / "bad.model"
    path.write_bytes(content)
    try:
        made = load_model(path).sample_frame(20)
    except UserError as error:
        assert "bad.model" in str(error)  # noqa: PT017
        return
    assert made.height == 20


def test_damaged_files_are_refused(content: bytes, tmp_path: Path):
    for cut in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path = tmp_path / "bad.model"
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"bad\.model: is not a populace model, or is damaged"):
            load_model(path)
    rng = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 12_000), rng.integers(1, 4)):
            damaged[at] = rng.integers(0, 256)
        refused(bytes(damaged), tmp_path)


def hostile(content: bytes, **changes) -> bytes:
    """The model with parts of its state replaced."""
    from populace.core.model_file import parsed

    text, arrays = parsed(content)
    whole = json.loads(text)
    arrays = {**arrays, **{k: np.asarray(v) for k, v in changes.items() if "." in k or k == "correlation"}}
    plain = {k: v for k, v in changes.items() if "." not in k and k != "correlation"}
    whole["state"]["columns"][0] |= plain
    return save(arrays, {FORMAT: json.dumps(whole)})


@pytest.mark.parametrize(
    "changes",
    [
        {"correlation": np.full((9, 9), np.nan)},
        {"correlation": np.ones((2, 2))},
        {"0.edges": np.array([0.0, 0.5])},
        {"0.edges": np.array([[0.0, 1.0]])},
        {"0.left": np.array([1.0])},
        {"0.left": np.array([], dtype=np.int64)},
        {"missing": 2},
        {"missing": "x"},
        {"dtype": "Object"},
        {"dtype": ["Int64"]},
        {"dtype": "Int8", "0.right": np.array([300])},
        {"dtype": "Float64"},
        {"categories": ["a"]},
        {"categories": 5},
        {
            "categories": ["x", "x"],
            "dtype": "String",
            "0.edges": np.array([0.0, 0.5, 1.0]),
            "0.left": np.arange(2),
            "0.right": np.arange(2),
        },
        {"name": "sex"},
        {"decimals": 400},
        {"dtype": "Datetime(us,Nowhere/Land)"},
    ],
    ids=str,
)
def test_hostile_files_are_refused(changes: dict, content: bytes, tmp_path: Path):
    path = tmp_path / "bad.model"
    path.write_bytes(hostile(content, **changes))
    with pytest.raises(UserError, match=r"bad\.model"):
        load_model(path)


@pytest.mark.parametrize("card", [{}, {"model": "x"}, [], "x", {"model": ["empirical"]}])
def test_cards_that_are_none_are_refused(card, tmp_path: Path):
    path = tmp_path / "bad.model"
    path.write_bytes(save({"a": np.zeros(1)}, {FORMAT: json.dumps({"card": card, "state": {}})}))
    with pytest.raises(UserError, match=r"bad\.model"):
        load_model(path)


def test_another_safetensors_file_is_refused(tmp_path: Path):
    path = tmp_path / "bad.model"
    path.write_bytes(save({"a": np.zeros(1)}))
    with pytest.raises(UserError, match=r"bad\.model: .*its header has no 'populace-model-1'"):
        load_model(path)
