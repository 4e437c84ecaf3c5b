"""Charts for the evaluation's page: columns that differ most, the table of pairs, what gives the rows away, who is served how."""

from __future__ import annotations

import numpy as np

from ..core.domain import Picture
from ..core.evaluate import Evaluation, Metric
from ..core.evaluate.pair import Pair
from ..core.picture import ALARM, PALETTE, figure, to_svg

COLUMNS = 9
PAIRED = 24
BARS = 12
REAL, SYNTH = PALETTE[0], ALARM


def pictures(found: Evaluation) -> dict[str, list[Picture]]:
    """By part of the evaluation: only for figures that were measured."""
    by = {m.name: m for m in found.metrics}
    drawn: dict[str, list[Picture]] = {}
    if "fidelity.shapes" in by and found.pair:
        drawn["fidelity"] = [_columns(found.pair, by["fidelity.shapes"])]
        if "fidelity.pairs" in by:
            drawn["fidelity"].append(_pairs(found.pair, by["fidelity.pairs"]))
        if by["fidelity.c2st"].detail:
            drawn["fidelity"].append(_giveaways(by["fidelity.c2st"]))
    if by.get("utility.tstr") and by["utility.tstr"].detail:
        drawn["utility"] = [_learners(by["utility.tstr"])]
        if by.get("utility.features_ranked") and by["utility.features_ranked"].detail:
            drawn["utility"].append(_importances(by["utility.features_ranked"]))
    if by.get("fairness.representation") and by["fairness.representation"].detail:
        drawn["fairness"] = [_groups(by["fairness.representation"])]
    if by.get("realism.met") and by["realism.met"].detail:
        drawn["realism"] = [_published(by["realism.met"])]
    return drawn


def _published(met: Metric) -> Picture:
    """Each figure's distance from the published one, in what chance and the model admit: within 1 it is met."""
    rows = sorted(met.detail, key=lambda r: str(r["figure"]))
    off = [
        (float(r["here"]) - float(r["published"])) / max(float(r["± (95 %)"]) + float(r["admitted"]), 1e-12)
        for r in rows
    ]
    fig = figure(9.6, 0.24 * len(rows) + 0.9)
    ax = fig.subplots()
    ax.axvspan(-1, 1, color=PALETTE[2], alpha=0.15, lw=0)
    ax.axvline(0, color=PALETTE[2], lw=1)
    for at, (row, x) in enumerate(zip(reversed(rows), reversed(off), strict=True)):
        fine = row["met"] == "yes"
        ax.plot([max(-3.0, min(3.0, x))], [at], "o" if fine else "D", color=REAL if fine else ALARM, ms=5)
    ax.set_yticks(range(len(rows)), [str(r["figure"]) for r in reversed(rows)], fontsize=8)
    ax.set_xlim(-3.2, 3.2)
    ax.set_xlabel("below the published value  ·  above it")
    ax.set_ylim(-0.7, len(rows) - 0.3)
    return Picture(
        "Beside published figures",
        "Within the green band a figure is no further off than chance (95 %) and what the model admits; a diamond lies outside.",
        to_svg(fig),
    )


def _columns(pair: Pair, shapes: Metric) -> Picture:
    """Small multiples of the columns whose shapes differ most."""
    chosen = [str(row["columns"]) for row in shapes.detail[:COLUMNS]]
    across = min(3, len(chosen))
    down = -(-len(chosen) // across)
    fig = figure(9.6, 2.3 * down + 0.3)
    grid = fig.subplots(down, across, squeeze=False).ravel()
    for ax in grid[len(chosen) :]:
        ax.set_visible(False)
    for ax, column in zip(grid, chosen, strict=False):
        values = pair.coded.values
        if pair.kinds[column] == "category":
            _category(ax, pair, column)
        else:
            both = np.concatenate([values["real"][column], values["synth"][column]])
            both = both[~np.isnan(both)]
            low, high = np.quantile(both, [0.005, 0.995]) if len(both) else (0.0, 1.0)
            bins = np.linspace(low, high, 40) if low < high else np.array([low - 0.5, low + 0.5])
            for name, colour in (("real", REAL), ("synth", SYNTH)):
                drawn = values[name][column]
                drawn = drawn[~np.isnan(drawn)]
                ax.hist(
                    drawn,
                    bins=bins,
                    histtype="step",
                    color=colour,
                    linewidth=1.5,
                    weights=np.full(len(drawn), 1 / max(1, len(drawn))),
                )
            ax.set_yticks([])
        ax.set_title(_short(column, 28))
        ax.tick_params(labelsize=8)
    fig.legend(handles=_legend(), loc="outside lower center", ncols=2)
    return Picture("Columns that differ most", "Share of rows by value; blue: real, vermilion: synthetic.", to_svg(fig))


def _category(ax: object, pair: Pair, column: str) -> None:
    levels = pair.coded.levels[column]
    counts = {
        n: np.bincount(pair.coded.values[n][column] + 1, minlength=len(levels) + 1)[1:] for n in ("real", "synth")
    }
    order = np.argsort(-(counts["real"] + counts["synth"]))[:6][::-1]
    at = np.arange(len(order))
    for name, colour, shift in (("real", REAL, 0.2), ("synth", SYNTH, -0.2)):
        ax.barh(at + shift, counts[name][order] / max(1, counts[name].sum()), 0.36, color=colour)  # type: ignore[attr-defined]
    ax.set_yticks(at, [_short(levels[n], 16) for n in order])  # type: ignore[attr-defined]


def _pairs(pair: Pair, trends: Metric) -> Picture:
    """The table of pairs. Only pairs that the figure lists (its lowest) are coloured by score; the rest count as faithful."""
    columns = pair.columns[:PAIRED]
    place = {c: n for n, c in enumerate(columns)}
    grid = np.full((len(columns), len(columns)), np.nan)
    for row in trends.detail:
        one, _, two = str(row["columns"]).partition(" × ")
        if one in place and two in place:
            grid[place[one], place[two]] = grid[place[two], place[one]] = float(row["score"])
    side = 2.6 + 0.24 * len(columns)
    fig = figure(side + 1.2, side)
    ax = fig.subplots()
    ax.grid(False)
    mesh = ax.pcolormesh(grid, cmap="viridis", vmin=min(0.8, float(np.nanmin(grid))), vmax=1)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [_short(c, 16) for c in columns], rotation=90, fontsize=8)
    ax.set_yticks(np.arange(len(columns)) + 0.5, [_short(c, 16) for c in columns], fontsize=8)
    ax.invert_yaxis()
    fig.colorbar(mesh, ax=ax, shrink=0.7)
    return Picture("Pairs of columns", "1: the pair behaves as in the real table. Dark: it does not.", to_svg(fig))


def _giveaways(metric: Metric) -> Picture:
    rows = metric.detail[:BARS][::-1]
    fig = figure(6.4, 0.9 + 0.3 * len(rows))
    ax = fig.subplots()
    ax.barh(
        [_short(str(r["column"]), 24) for r in rows],
        [float(r["area lost when shuffled"]) for r in rows],
        0.6,
        color=SYNTH,
    )
    ax.set_xlabel("Area under the curve lost without the column")
    return Picture(
        "What gives the rows away", "Columns by which a classifier tells synthetic rows from real ones.", to_svg(fig)
    )


def _learners(metric: Metric) -> Picture:
    rows = metric.detail[::-1]
    fig = figure(6.4, 1.2 + 0.42 * len(rows))
    ax = fig.subplots()
    for n, row in enumerate(rows):
        ax.plot([row["trained on real"], row["trained on synthetic"]], [n, n], color="#888888", linewidth=1)
    ax.scatter([r["trained on real"] for r in rows], range(len(rows)), color=REAL, zorder=3)
    ax.scatter([r["trained on synthetic"] for r in rows], range(len(rows)), color=SYNTH, marker="s", zorder=3)
    ax.set_yticks(range(len(rows)), [str(r["learner"]) for r in rows])
    ax.set_xlabel(f"{metric.note} on real rows")
    ax.set_ylim(-0.6, len(rows) - 0.4)
    fig.legend(handles=_legend(), loc="outside lower center", ncols=2)
    return Picture(
        "Learners",
        "Trained on real (blue dot) and on synthetic rows (vermilion square), tested on the same real rows.",
        to_svg(fig),
    )


def _importances(metric: Metric) -> Picture:
    rows = metric.detail[:BARS][::-1]
    fig = figure(6.4, 1.2 + 0.34 * len(rows))
    ax = fig.subplots()
    at = np.arange(len(rows))
    ax.barh(at + 0.2, [float(r["real"]) for r in rows], 0.36, color=REAL)
    ax.barh(at - 0.2, [float(r["synthetic"]) for r in rows], 0.36, color=SYNTH)
    ax.set_yticks(at, [_short(str(r["column"]), 24) for r in rows])
    ax.set_xlabel("Score lost when the column is shuffled")
    fig.legend(handles=_legend(), loc="outside lower center", ncols=2)
    return Picture(
        "Importance of columns", "What models learnt from real and from synthetic rows lean on.", to_svg(fig)
    )


def _groups(metric: Metric) -> Picture:
    rows = metric.detail[:BARS][::-1]
    fig = figure(6.4, 1.2 + 0.34 * len(rows))
    ax = fig.subplots()
    at = np.arange(len(rows))
    ax.barh(at + 0.2, [float(r["real"]) for r in rows], 0.36, color=REAL)
    ax.barh(at - 0.2, [float(r["synthetic"]) for r in rows], 0.36, color=SYNTH)
    ax.set_yticks(at, [_short(str(r["group"]), 28) for r in rows])
    ax.set_xlabel("Share of rows")
    fig.legend(handles=_legend(), loc="outside lower center", ncols=2)
    return Picture("Groups", "Their shares of the real and of the synthetic rows, where they differ most.", to_svg(fig))


def _legend() -> list[object]:
    from matplotlib.patches import Patch

    return [Patch(color=REAL, label="real"), Patch(color=SYNTH, label="synthetic")]


def _short(text: str, most: int) -> str:
    # a dollar sign would open a formula
    text = text.replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"
