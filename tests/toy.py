"""A fourth domain, as small as one can be: what the core's own tests run on, and the proof of what an extension costs."""

from __future__ import annotations

import numpy as np
import polars as pl

from populace.core.derive import number, rank
from populace.core.domain import Block, Check, Domain, Step, View
from populace.core.priors import Prior, Priors
from populace.core.scenario import Edit, Expect, Parameter, Role, Scenario, Scene
from populace.core.schema import Column, RowCheck, Schema, TableSchema
from populace.core.stream import join_rows
from populace.core.streams.events import Event
from populace.core.tables import ROW, Table, Tables

KINDS = ("corner", "market")


def _columns(*columns: Column) -> dict[str, Column]:
    return {c.name: c for c in columns}


SCHEMA = Schema(
    "toy",
    {
        "shop": TableSchema(
            "shop",
            "A shop.",
            "shop_id",
            _columns(Column("shop_id", "id", "Key."), Column("kind", "code", "Its kind.", codes=KINDS)),
            reference=True,
        ),
        "shopper": TableSchema(
            "shopper",
            "Somebody who buys.",
            "shopper_id",
            _columns(
                Column("shopper_id", "id", "Key."),
                Column("name", "text", "Full name.", pattern=r"^\p{Lu}"),
                Column("born_on", "date", "Day of birth.", min="1900-01-01"),
                Column("loyal", "bool", "Holds a card."),
                Column("score", "float", "A score.", null=True, min=0.0, max=1.0, decimals=3),
            ),
        ),
        "sale": TableSchema(
            "sale",
            "Something bought, or money handed on.",
            "sale_id",
            _columns(
                Column("sale_id", "id", "Key."),
                Column("shopper_id", "id", "Who paid.", references="shopper", each=(1, 500)),
                Column("payee_id", "id", "Who was paid, if a shopper.", null=True, references="shopper"),
                Column("shop_id", "id", "Where.", null=True, references="shop"),
                Column("sold_at", "instant", "When."),
                Column("amount_minor", "money", "How much.", min=1),
                Column("paid_minor", "money", "How much by then."),
            ),
            checks=(
                RowCheck("one-payee", "payee_id IS NULL OR shop_id IS NULL", "pays a shop or a shopper, not both"),
                RowCheck("small", "amount_minor < 100000", "a sale is below 1,000.00"),
            ),
            within="shopper_id",
            fan=1000,
            touches=("payee_id",),
        ),
    },
)


def shops(block: Block, tables: Tables) -> Tables:
    ids = np.arange(block.priors("shops"), dtype=np.uint64)
    kind = np.array(KINDS)[block.stream.child("shop", "kind").integers(ids, len(KINDS))]
    return {"shop": pl.DataFrame({"shop_id": ids.astype(np.int64), "kind": kind})}


def shoppers(block: Block, tables: Tables) -> Tables:
    stream, units = block.stream.child("shopper"), block.units
    score = stream.child("score").uniform(units)
    return {
        "shopper": pl.DataFrame(
            {
                "shopper_id": units.astype(np.int64),
                "name": np.array(["Ann", "Bo", "Çelik", 'Dee "D"'])[stream.child("name").integers(units, 4)],
                "born_on": pl.Series(stream.child("born_on").integers(units, 30_000)).cast(pl.Date),
                "loyal": stream.child("loyal").uniform(units) < 0.5,
                "score": pl.Series(score).set(pl.Series(score < 0.2), None),
            }
        )
    }


def sales(block: Block, tables: Tables) -> Tables:
    stream, units = block.stream.child("sale"), block.units
    each = 1 + stream.child("count").integers(units, 20)
    parent = np.repeat(units, each)
    row = join_rows(parent, rank(parent))
    span = block.window.end - block.window.start
    return {
        "sale": pl.DataFrame(
            {
                ROW: row,
                "shopper_id": parent.astype(np.int64),
                "payee_id": pl.Series([None] * len(row), dtype=pl.Int64),
                "shop_id": stream.child("shop").integers(row, block.reference["shop"].height),
                "sold_at": block.window.start + stream.child("sold_at").integers(row, span),
                "amount_minor": 1 + stream.child("amount_minor").integers(row, 9_999),
            }
        )
    }


def paid(block: Block, tables: Tables) -> Tables:
    sale = number(tables["sale"], SCHEMA["sale"], "sold_at")
    return {"sale": sale.with_columns(paid_minor=pl.col("amount_minor").cum_sum().over("shopper_id"))}


def pass_it_on(scene: Scene) -> list[Edit]:
    cast = scene.cast["hand"]
    first = pl.col("shopper_id").sort_by("member").first().over("instance")
    payee = pl.col("shopper_id").shift(-1).over("instance", order_by="member").fill_null(first)
    rows = cast.select(
        "instance",
        pl.Series(ROW, scene.address("hop", cast["instance"].to_numpy(), cast["member"].to_numpy())),
        "shopper_id",
        payee.alias("payee_id"),
        (scene.block.window.start + 3_600_000_000 * (pl.col("member") + 1)).alias("sold_at"),
        pl.lit(scene["amount"]).alias("amount_minor"),
    )
    return [scene.edit("insert", "sale", rows, "hand", "hop")]


def splurge(scene: Scene) -> list[Edit]:
    cast = scene.cast["spender"].select("instance", "shopper_id")
    mine = scene.tables["sale"].join(cast, on="shopper_id").sort(ROW)
    most = mine.unique("shopper_id", keep="first", maintain_order=True)
    gone = mine.filter(~pl.col(ROW).is_in(most[ROW].implode())).unique("shopper_id", keep="first", maintain_order=True)
    return [
        scene.edit("update", "sale", most.select("instance", ROW, amount_minor=pl.lit(500_000)), "spender", "splurge"),
        scene.edit("remove", "sale", gone.select("instance", ROW), "spender", "forgotten"),
    ]


def _paid_recomputes(tables: dict[str, pl.LazyFrame]) -> Table:
    wrong = pl.col("amount_minor").cum_sum().over("shopper_id", order_by="sale_id") != pl.col("paid_minor")
    bad = tables["sale"].filter(wrong)
    return bad.select(table=pl.lit("sale"), row_key="sale_id", detail=pl.lit("paid_minor is not the sum")).collect()


def receipts(tables: Tables, reference: Tables) -> dict[str, Table]:
    text = pl.concat_str(pl.lit('{"id":'), "sale_id", pl.lit(',"shopper":'), "shopper_id", pl.lit("}"))
    lines = {"Sale": tables["sale"].select(text=text)}
    if "shop" in tables:
        lines["Shop"] = tables["shop"].select(text=pl.concat_str(pl.lit('{"id":'), "shop_id", pl.lit("}")))
    return lines


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(
            "ring",
            "toy",
            "Ring",
            "Money goes round.",
            "made up",
            "pass_it_on",
            (Role("hand", "shopper", "loyal", "hops", apart=True),),
            {
                "hops": Parameter("hops", "int", 4, "How many.", 3, 12),
                "amount": Parameter("amount", "int", 500, "What goes round.", 1, 99_999),
            },
            expect=(Expect("sale", "payee_id IS NOT NULL", "a hop pays a shopper"),),
        ),
        Scenario(
            "splurge",
            "toy",
            "Splurge",
            "One sale is far too large, and one is forgotten.",
            "made up",
            "splurge",
            (Role("spender", "shopper"),),
            {},
            breaks=("sale.small",),
            expect=(Expect("sale", "amount_minor = 500000", "the large one", effect="splurge"),),
        ),
    )
}

TOY = Domain(
    name="toy",
    doc="Shoppers and what they buy.",
    root="shopper",
    schema=SCHEMA,
    priors=Priors({"shops": Prior("shops", 7, "made up", range=(1, 100))}),
    scenarios=SCENARIOS,
    size=50,
    window=("2025-01-01", "2025-02-01"),
    reference=(Step("shop", ("shop",), shops),),
    steps=(Step("shopper", ("shopper",), shoppers), Step("sale", ("sale",), sales, ("shopper",))),
    derive=(Step("paid", ("sale",), paid),),
    scripts={"pass_it_on": pass_it_on, "splurge": splurge},
    checks=(Check("paid-recomputes", ("sale",), "paid_minor is the running sum of amount_minor", _paid_recomputes),),
    views={"lines": View("lines", "Sales as lines.", receipts, "ndjson")},
    block=16,
    events={"sale": Event("sale", "sale", "sold_at", "shopper_id", "Something was bought.", hides=("paid_minor",))},
)
