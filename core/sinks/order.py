"""In which order documents that refer to one another go to a server which refuses what it cannot resolve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ..tables import Table

PROVIDED = r'"fullUrl":"[^"]*?/([A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64})"'
REFERRED = r'"reference":"([A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64})"'


def read_documents(part: Path) -> Table:
    """Columns `name` and `text` of a part of named documents. JSON text holds neither a raw tab nor a raw line break."""
    return pl.read_csv(
        part,
        separator="\t",
        has_header=False,
        quote_char=None,
        schema={"name": pl.String, "text": pl.String},
        encoding="utf8",
        infer_schema=False,
    )


def groups(parts: Sequence[Path]) -> list[list[int]]:
    """Documents, counted over all parts in their order, so grouped and ordered that each group refers to itself and to earlier groups alone.

    Documents which need one another, straight or round about, come together. References to what no document holds are left to the server.
    Memory is that of the references that cross documents.
    """
    needed: list[Table] = []
    count = 0
    for part in parts:
        found = read_documents(part).select(
            document=pl.int_range(count, count + pl.len()),
            own=pl.col("text").str.extract_all(PROVIDED).list.eval(pl.element().str.extract(PROVIDED)),
            wanted=pl.col("text").str.extract_all(REFERRED).list.eval(pl.element().str.extract(REFERRED)).list.unique(),
        )
        wanted = found.select("document", key="wanted").explode("key").drop_nulls()
        own = found.select("document", key="own").explode("key").drop_nulls()
        needed.append(wanted.join(own, on=["document", "key"], how="anti"))
        count += found.height
    crossing = pl.concat(needed) if needed else pl.DataFrame(schema={"document": pl.Int64, "key": pl.String})
    keys = crossing.select("key").unique()
    held, start = [], 0
    for part in parts:
        found = read_documents(part).select(
            holder=pl.int_range(start, start + pl.len()),
            key=pl.col("text").str.extract_all(PROVIDED).list.eval(pl.element().str.extract(PROVIDED)),
        )
        start += found.height
        held.append(found.explode("key").join(keys, on="key", how="semi"))
    edges = crossing.join(pl.concat(held), on="key").select("document", "holder").unique() if held else pl.DataFrame()
    return _ordered(count, edges.rows())


def _ordered(count: int, edges: list[tuple[int, int]]) -> list[list[int]]:
    """A document that needs a later one joins it, and whatever that puts out of order follows, until no need points ahead."""
    root = list(range(count))

    def find(n: int) -> int:
        while root[n] != n:
            root[n] = root[root[n]]
            n = root[n]
        return n

    moved = True
    while moved:
        moved = False
        for document, holder in edges:
            one, other = find(document), find(holder)
            if other > one:  # the root of a group is its last member: that is where the group is sent
                root[one] = other
                moved = True
    members: dict[int, list[int]] = {}
    for n in range(count):
        members.setdefault(find(n), []).append(n)
    return [members[n] for n in sorted(members)]


def documents(parts: Sequence[Path], order: Sequence[Sequence[int]]) -> Iterator[list[tuple[str, str]]]:
    """The groups' documents as (name, text). A document that is sent later than it stands waits in memory."""
    where = {n: g for g, group in enumerate(order) for n in group}
    left = [len(group) for group in order]
    waiting: dict[int, list[tuple[str, str]]] = {}
    n = 0
    for part in parts:
        for name, text in read_documents(part).iter_rows():
            group = where[n]
            n += 1
            waiting.setdefault(group, []).append((name, text))
            left[group] -= 1
            if not left[group]:
                yield waiting.pop(group)
