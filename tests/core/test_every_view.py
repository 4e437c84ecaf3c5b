"""Every view of every domain, as files: what is written is what is rendered, whatever lines its texts have."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.domain import View, find_domain
from populace.core.plan import make_plan
from populace.core.spec import Spec

DAYS = {
    "finance": ("2025-01-01", "2025-01-15"),
    "healthcare": ("2024-01-01", "2025-01-01"),
    "iot": ("2025-03-03", "2025-03-04"),
}
SIZES = {"finance": 60, "healthcare": 20, "iot": 20}
VIEWS = [(domain, view) for domain in SIZES for view in find_domain(domain).views]


@cache
def small(name: str) -> Dataset:
    start, end = DAYS[name]
    return generate(make_plan(Spec(name, size=SIZES[name], seed=7, start=start, end=end), find_domain(name)))


def documents(view: View, folder: Path) -> dict[str, list[str]]:
    """The lines of every file but those that stand beside any view."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("manifest.json", "label.csv"))
    return {
        p.relative_to(folder).as_posix(): p.read_bytes().decode().removesuffix("\n").split("\n")
        if p.stat().st_size
        else []
        for p in files
    }


@pytest.mark.parametrize(("domain", "view"), VIEWS)
def test_a_view_is_written_as_it_is_rendered(domain: str, view: str, tmp_path: Path):
    data, of = small(domain), find_domain(domain).views[view]
    data.write(f"{view}:{tmp_path / 'out'}")
    found = documents(of, tmp_path / "out")
    wanted = {}
    tables = find_domain(domain).schema.tables
    reference = {name: frame for name, frame in data.frames.items() if name in tables and tables[name].reference}
    for name, frame in of.render(data.frames, reference).items():
        if "text" not in frame.columns:
            assert pl.read_csv(tmp_path / f"out/{name}.csv", infer_schema=False).height == frame.height
            found.pop(f"{name}.csv")
        elif "name" in frame.columns:
            for key, texts in frame.group_by("name", maintain_order=True).agg("text").iter_rows():
                file = key if Path(key).suffix else f"{key}.{of.suffix}"
                wanted[f"{name}/{file}"] = [line for text in texts for line in text.rstrip("\n").split("\n")]
        else:
            wanted[f"{name}.{of.suffix}"] = [line for text in frame["text"] for line in text.split("\n")]
    assert wanted.keys() == found.keys()
    assert wanted == found
