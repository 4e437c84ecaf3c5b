"""Statistical samplers: marginals as they were seen, latent correlations recovered, and conditional draws that agree with theory."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from scipy import stats

from populace.core.errors import UserError
from populace.core.samplers.statistical.copula import GaussianCopula, fit_copula, rebuild_copula
from populace.core.samplers.statistical.correlation import nearest_correlation
from populace.core.samplers.statistical.empirical import fit_empirical
from populace.core.samplers.statistical.marginal import fit_marginal
from populace.core.stream import Stream
from populace.core.tables import ROW

S = Stream.root(5)
FITS = {"empirical": fit_empirical, "copula": fit_copula}
R = np.array([[1.0, 0.7, -0.4, 0.2], [0.7, 1.0, 0.1, 0.3], [-0.4, 0.1, 1.0, 0.5], [0.2, 0.3, 0.5, 1.0]])
N = 40_000
Z = np.random.default_rng(1).multivariate_normal(np.zeros(4), R, N)
Z /= Z.std(axis=0)
R_SEEN = np.corrcoef(Z.T)


def rows(n: int, **columns) -> pl.DataFrame:
    return pl.DataFrame({ROW: np.arange(n, dtype=np.uint64), **{k: [v] * n for k, v in columns.items()}})


def similarity(real: pl.Series, made: pl.Series) -> float:
    """1 - Kolmogorov-Smirnov distance for numbers, 1 - total variation for categories."""
    if real.dtype.is_numeric():
        a, b = (s.drop_nulls().to_numpy() for s in (real, made))
        return 1 - stats.ks_2samp(a, b, method="asymp").statistic if len(a) and len(b) else float(len(a) == len(b))
    counts = [s.value_counts(normalize=True, name="share").rename({s.name: "value"}) for s in (real, made)]
    both = counts[0].join(counts[1], on="value", how="full", nulls_equal=True).fill_null(0)
    return 1 - (both["share"] - both["share_right"]).abs().sum() / 2


def spearman_gap(real: pl.DataFrame, made: pl.DataFrame) -> float:
    """The mean difference of rank correlations over all pairs of numeric columns."""
    names = [n for n, t in real.schema.items() if t.is_numeric() and real[n].n_unique() > 1]
    a, b = (np.corrcoef(f.select(pl.col(names).rank().fill_null(strategy="mean")).to_numpy().T) for f in (real, made))
    return float(np.abs(a - b)[np.triu_indices(len(names), 1)].mean())


VALUES = {
    "integers": st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=200),
    "wide integers": st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=100),
    "floats": st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1, max_size=200),
    "texts": st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=100),
    "truth": st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=50),
    "dates": st.lists(st.one_of(st.none(), st.dates()), min_size=1, max_size=100),
    "instants": st.lists(st.one_of(st.none(), st.datetimes()), min_size=1, max_size=100),
    "durations": st.lists(
        st.one_of(st.none(), st.timedeltas(dt.timedelta(-(10**5)), dt.timedelta(10**5))), min_size=1, max_size=100
    ),
    "times": st.lists(st.one_of(st.none(), st.times()), min_size=1, max_size=100),
    "decimals": st.lists(st.one_of(st.none(), st.decimals(-1000, 1000, places=2)), min_size=1, max_size=100),
}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_column_can_be_learnt_and_stays_within_what_was_seen(kind: str, data: st.DataObject):
    column = pl.Series("x", data.draw(VALUES[kind]))
    if column.dtype.is_float():
        column = column.fill_nan(None)
    for fit in FITS.values():
        made = fit(column.to_frame(), S).sample(rows(50), S)["x"]
        assert made.dtype == column.dtype
        if column.null_count() == 0:
            assert made.null_count() == 0
        if column.null_count() == len(column):
            assert made.null_count() == 50
        known = made.drop_nulls()
        if len(known) and column.dtype != pl.String:
            assert known.min() >= column.min()
            assert known.max() <= column.max()
        if column.dtype == pl.String:
            assert set(known) <= set(column)


def test_atoms_stretches_and_missing_values_have_their_shares():
    rng = np.random.default_rng(2)
    x = np.where(rng.random(N) < 0.3, 0.0, np.round(rng.lognormal(3, 1, N), 2))
    column = pl.Series("x", x).set(pl.Series(rng.random(N) < 0.2), None)
    made = fit_empirical(column.to_frame(), S).sample(rows(N), S)["x"]
    assert made.null_count() / N == pytest.approx(column.null_count() / N, abs=0.01)
    assert (made == 0).mean() == pytest.approx((column == 0).mean(), abs=0.01)
    assert similarity(column, made) > 0.985
    assert made.drop_nulls().round(2).equals(made.drop_nulls())
    assert made.mean() == pytest.approx(column.mean(), rel=0.03)


def test_whole_numbers_keep_their_grid():
    x = pl.Series("x", np.random.default_rng(3).integers(0, 10**6, 5_000) * 100)
    made = fit_empirical(x.to_frame(), S).sample(rows(1_000), S)["x"]
    assert (made % 100 == 0).all()
    assert made.n_unique() > 900


def test_locate_inverts_quantile():
    x = pl.Series("x", np.concatenate((np.zeros(500), np.random.default_rng(4).normal(size=4_000))))
    marginal = fit_marginal(x)
    u = S.uniform(np.arange(2_000))
    piece, share, known = marginal.locate(marginal.quantile(u))
    assert known.all()
    back = marginal.edges[piece] + share * np.diff(marginal.edges)[piece]
    assert np.allclose(back[~marginal.atoms[piece]], u[~marginal.atoms[piece]], atol=1e-6)


VIEWS = {
    "as it is": lambda z: z,
    "monotone": lambda z: np.exp(z),
    "rounded": lambda z: np.round(z),
    "zero-inflated": lambda z: np.maximum(z - 0.5, 0),
    "binary": lambda z: (z > 0.8).astype(int),
    "heavy tail": lambda z: np.sinh(2 * z),
}


@pytest.mark.parametrize("view", VIEWS)
def test_the_latent_correlation_is_recovered(view: str):
    """Whatever is done to each column, the latent correlation found is that of the normals: ties and atoms do not bias it."""
    table = pl.DataFrame({f"x{i}": VIEWS[view](Z[:, i]) for i in range(4)})
    found = fit_copula(table, S).correlation
    assert np.abs(found - R_SEEN).max() < (0.03 if view == "binary" else 0.02)


def test_the_latent_correlation_is_recovered_between_kinds_and_with_missing_values():
    rng = np.random.default_rng(5)
    table = pl.DataFrame(
        {
            "a": Z[:, 0],
            "b": pl.Series(np.maximum(Z[:, 1], 0)).set(pl.Series(rng.random(N) < 0.4), None),
            "c": pl.Series(np.array(["lo", "mid", "hi", "top"])[np.digitize(Z[:, 2], [-1, 0.2, 1])]),
            "d": Z[:, 3] > 0,
        }
    )
    copula = fit_copula(table, S)
    value = [n for n, latent in enumerate(copula.latents) if latent.kind == "value"]
    found = copula.correlation[np.ix_(value, value)]
    order = copula.marginals[2].categories
    assert order in (("lo", "mid", "hi", "top"), ("top", "hi", "mid", "lo"))
    if order[0] == "top":
        found[2, :] *= -1
        found[:, 2] *= -1
    assert np.abs(found - R_SEEN).max() < 0.03


def test_the_correlation_does_not_depend_on_the_order_of_rows():
    table = pl.DataFrame({f"x{i}": Z[:3_000, i] for i in range(4)})
    shuffled = table[np.random.default_rng(6).permutation(3_000)]
    assert (fit_copula(table, S).correlation == fit_copula(shuffled, S).correlation).all()


@pytest.fixture(scope="module")
def normal_copula() -> GaussianCopula:
    return fit_copula(pl.DataFrame({f"x{i}": Z[:, i] for i in range(4)}), S)


def test_given_numbers_the_rest_has_the_exact_conditional(normal_copula: GaussianCopula):
    """The conditional of a normal: mean R_rg R_gg^-1 x, covariance R_rr - R_rg R_gg^-1 R_gr; within 0.03 at 40,000 rows seen and drawn."""
    x = np.array([1.0, -0.5])
    told, rest = [0, 2], [1, 3]
    made = normal_copula.sample(rows(N, x0=x[0], x2=x[1]), S)
    assert (made["x0"] == x[0]).all()
    slope = R_SEEN[np.ix_(rest, told)] @ np.linalg.inv(R_SEEN[np.ix_(told, told)])
    drawn = made.select("x1", "x3").to_numpy()
    assert np.abs(drawn.mean(axis=0) - slope @ x).max() < 0.03
    assert np.abs(np.cov(drawn.T) - (R_SEEN[np.ix_(rest, rest)] - slope @ R_SEEN[np.ix_(told, rest)])).max() < 0.03


def test_given_several_atoms_the_rest_has_the_conditional_that_rejection_finds():
    table = pl.DataFrame({"a": Z[:, 0] > 0.5, "b": np.round(Z[:, 1]), "c": np.maximum(Z[:, 2], 0), "d": Z[:, 3]})
    copula = fit_copula(table, S)
    drawn = copula.sample(rows(N, a=True, b=1.0, c=0.0), S)["d"]
    free = np.random.default_rng(7).multivariate_normal(np.zeros(4), R_SEEN, 2_000_000)
    kept = free[(free[:, 0] > 0.5) & (np.abs(free[:, 1] - 1) < 0.5) & (free[:, 2] <= 0), 3]
    assert len(kept) > 20_000
    assert drawn.mean() == pytest.approx(kept.mean(), abs=0.03)
    assert drawn.std() == pytest.approx(kept.std(), abs=0.03)


def test_each_row_is_drawn_given_its_own_values(normal_copula: GaussianCopula):
    x = Z[:5_000, 0]
    made = normal_copula.sample(pl.DataFrame({"x0": x}), S)
    assert made["x0"].to_numpy() == pytest.approx(x)
    assert np.corrcoef(x, made["x1"])[0, 1] == pytest.approx(R_SEEN[0, 1], abs=0.03)
    some = pl.DataFrame({"x0": pl.Series(x).set(pl.Series(np.arange(5_000) % 2 == 0), None)})
    mixed = normal_copula.sample(some, S)
    assert mixed["x0"].null_count() == 2_500
    assert mixed[1::2].equals(
        normal_copula.sample(some.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.UInt64))[1::2], S)
    )


def test_values_that_were_not_seen():
    table = pl.DataFrame(
        {"age": np.clip(50 + 10 * Z[:, 0], 20, 80).astype(int), "y": Z[:, 1], "sex": np.where(Z[:, 2] > 0, "F", "M")}
    )
    copula = fit_copula(table, S)
    assert copula.sample(rows(100, age=150), S)["y"].equals(copula.sample(rows(100, age=80), S)["y"])
    assert copula.sample(rows(100, age=-3), S)["y"].equals(copula.sample(rows(100, age=20), S)["y"])
    unseen = copula.sample(rows(100, sex="X"), S)
    assert (unseen["sex"] == "X").all()
    assert unseen["y"].equals(copula.sample(rows(100), S)["y"])


def test_missing_values_carry_information():
    """Where a value is missing tells about the others, and is told by them."""
    lost = Z[:, 1] + np.random.default_rng(9).normal(size=N) > 1.5
    x = pl.Series("x", Z[:, 3]).set(pl.Series(lost), None)
    copula = fit_copula(pl.DataFrame({"x": x, "y": Z[:, 1]}), S)
    made = copula.sample(rows(N), S)
    real = Z[lost, 1].mean()
    assert real > 0.9
    assert made.filter(pl.col("x").is_null())["y"].mean() == pytest.approx(real, abs=0.1)
    told = copula.sample(pl.DataFrame({"x": pl.Series([None] * 5_000, dtype=pl.Float64)}), S)
    assert told["y"].mean() == pytest.approx(real, abs=0.1)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"a": [1], "b": ["x"], "c": [None]}),
        pl.DataFrame({"a": [5] * 50, "b": ["k"] * 50}),
        pl.DataFrame({"a": [None] * 9, "b": pl.Series([None] * 9, dtype=pl.String), "c": range(9)}),
        pl.DataFrame({"a": [np.inf, -np.inf, np.nan, 1.0] * 20, "b": range(80)}),
        pl.DataFrame({"a": [f"c{i % 10_000}" for i in range(20_000)], "b": range(20_000)}),
        pl.DataFrame({"a": range(500), "b": range(500), "c": [-i for i in range(500)]}),
        pl.DataFrame({"a": [1, None], "b": [None, 2]}),
    ],
    ids=["one row", "constant", "all missing", "infinite", "many categories", "collinear", "never together"],
)
def test_degenerate_tables(fit, table: pl.DataFrame):
    made = fit(table, S).sample(rows(300), S)
    assert made.schema == table.schema
    for name in table.columns:
        assert (
            set(made[name].drop_nulls().to_list()) <= set(table[name].drop_nulls().to_list())
            or table[name].n_unique() > 100
        )


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pl.DataFrame({"a": []}), "0 rows and 1 columns"),
        (pl.DataFrame(), "0 rows and 0 columns"),
        (pl.DataFrame({"a": [[1], [2]]}), r"column 'a' has type List\(Int64\)"),
        (pl.DataFrame({"a": [b"x"]}), "column 'a' has type Binary"),
        (pl.DataFrame({ROW: [1, 2]}), "a name that populace keeps"),
    ],
)
def test_what_cannot_be_learnt_is_refused(fit, table: pl.DataFrame, message: str):
    with pytest.raises(UserError, match=message):
        fit(table, S)


@given(st.integers(2, 12), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_nearest_correlation_matrix_is_one(size: int, seed: int):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, (size, size))
    near = nearest_correlation(np.where(np.eye(size) == 1, 1.0, (a + a.T) / 2))
    assert (np.diag(near) == 1).all()
    assert (near == near.T).all()
    assert np.linalg.eigvalsh(near)[0] > 1e-6


def test_a_copula_is_what_its_state_says(normal_copula: GaussianCopula):
    again = rebuild_copula(*normal_copula.state())
    assert again.sample(rows(100), S).equals(normal_copula.sample(rows(100), S))


@pytest.mark.parametrize("name", ["adult", "credit_default", "support2", "cmapss_fd001", "occupancy", "berka"])
def test_every_real_table_is_learnt_as_it_is(real_data: Path, name: str):
    for path in sorted((real_data / "tabular" / name).glob("*.csv.gz")):
        table = pl.read_csv(path, infer_schema_length=None)
        made = fit_copula(table, S).sample(rows(2_000), S)
        assert made.schema == table.schema
        for column in table.get_columns():
            assert made[column.name].null_count() / 2_000 == pytest.approx(column.null_count() / len(column), abs=0.05)


@pytest.mark.parametrize(("name", "shape", "gap"), [("adult", 0.99, 0.02), ("credit_default", 0.99, 0.04)])
def test_real_tables_are_reproduced(real_data: Path, name: str, shape: float, gap: float):
    """Columns to within 1 % (the order asks for 3 %), rank correlations to within `gap` on average."""
    table = pl.read_csv(real_data / "tabular" / name / "train.csv.gz", infer_schema_length=None)
    made = fit_copula(table, S).sample(rows(table.height), S)
    assert np.mean([similarity(table[c], made[c]) for c in table.columns]) > shape
    assert spearman_gap(table, made) < gap
    independent = fit_empirical(table, S).sample(rows(table.height), S)
    assert spearman_gap(table, independent) > 2 * gap


def test_real_conditionals(real_data: Path):
    table = pl.read_csv(real_data / "tabular" / "adult" / "train.csv.gz", infer_schema_length=None)
    copula = fit_copula(table, S)
    for sex in ("Male", "Female"):
        real = (table.filter(pl.col("sex") == sex)["income"] == ">50K").mean()
        made = copula.sample(rows(20_000, sex=sex), S)
        assert (made["sex"] == sex).all()
        assert (made["income"] == ">50K").mean() == pytest.approx(real, abs=0.02)
