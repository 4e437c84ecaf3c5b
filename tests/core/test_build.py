"""What a block's program refuses: violations that no scenario declares, and declared ones that do not occur."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from populace.core.build import BLINDLY
from populace.core.cast import met
from populace.core.checks import violations
from populace.core.dataset import generate, make_cast
from populace.core.domain import Domain
from populace.core.errors import InvalidData, UserError
from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.scenario import Edit, Expect, Role, Scene, parse_request
from populace.core.sinks import open_target
from populace.core.spec import Spec
from populace.core.tables import ROW
from toy import TOY


def with_scenario(name: str, **changes: object) -> Domain:
    return replace(TOY, scenarios={**TOY.scenarios, name: replace(TOY.scenarios[name], **changes)})


def play(domain: Domain, *scenarios: str, size: int = 40):
    return generate(make_plan(Spec("toy", size=size, scenarios=tuple(map(parse_request, scenarios))), domain))


def test_an_undeclared_violation_is_an_error_that_names_check_table_and_key():
    with pytest.raises(InvalidData, match=r"sale\.small: 1 row\(s\) of sale, for example key \d+"):
        play(with_scenario("splurge", breaks=()), "splurge")


def test_a_declared_violation_that_does_not_occur_is_an_error(tmp_path):
    domain = with_scenario("ring", breaks=("sale.small",))
    plan = make_plan(Spec("toy", scenarios=(parse_request("ring"),)), domain)
    with pytest.raises(InvalidData, match=r"ring declares that it breaks sale\.small"):
        run(plan, [open_target(str(tmp_path / "out"), domain)])
    assert list(tmp_path.iterdir()) == []


def test_one_scenario_does_not_excuse_anothers_violation():
    plain = with_scenario("ring", breaks=("sale.small",))
    domain = replace(plain, scenarios={**plain.scenarios, "splurge": replace(plain.scenarios["splurge"], breaks=())})
    with pytest.raises(InvalidData, match=r"sale\.small"):
        play(domain, "ring", "splurge")


def test_an_unmet_expectation_is_an_error():
    with pytest.raises(InvalidData, match=r"ring\.expect\[0\].*\(never\)"):
        play(with_scenario("ring", expect=(Expect("sale", "payee_id IS NULL", "never"),)), "ring")


def test_a_violation_names_the_scenarios_that_met_in_its_unit():
    asked = tuple(map(parse_request, ("ring:count=2,hops=5", "splurge:count=40")))
    plan = make_plan(Spec("toy", size=40, scenarios=asked), TOY)
    cast = make_cast(plan)
    hands = set(cast.members[0, "hand"]["unit"])
    keys = pl.Series([0, 1000, 2000, 39_000, 5_003, 0], dtype=pl.Int64)
    bad = pl.concat(
        [
            violations("c", "sale", keys, "bad"),
            violations("c", "shop", pl.Series([3]), "bad"),
            violations("c", "sale", pl.Series([None], dtype=pl.Int64), "bad"),
        ]
    )
    words = "; shopper {} plays in ring, splurge: raise --size, or ask for fewer at once"
    expected = [f"bad{words.format(k // 1000)}" if k // 1000 in hands else "bad" for k in keys]
    assert met(plan, cast, bad)["detail"].to_list() == [*expected, "bad", "bad"]
    assert {*(keys // 1000)} & hands
    assert {*(keys // 1000)} - hands


def test_a_cast_that_cannot_be_filled_is_refused_with_the_numbers():
    with pytest.raises(
        UserError, match=r"ring: 9 instance\(s\) need 108 shopper\(s\) as 'hand' where loyal; \d+ are eligible"
    ):
        play(TOY, "ring:count=9,hops=12", size=20)


def test_a_cast_of_rows_that_have_no_key_yet_is_refused_with_what_to_cast_instead():
    with pytest.raises(
        UserError, match=r"ring: role 'hand' casts rows of sale, whose key sale_id is derived .* Cast a shopper"
    ):
        play(with_scenario("ring", roles=(Role("hand", "sale"),)), "ring")


def test_labels_name_what_happened_to_each_row():
    data = play(TOY, "splurge:count=3", "ring:hops=5")
    label = data.frames["label"]
    assert label.filter(effect="hop").height == 5
    splurged = label.filter(effect="splurge")["row_key"]
    large = data.frames["sale"].filter(pl.col("amount_minor") == 500_000)["sale_id"]
    assert splurged.sort().to_list() == large.to_list()
    assert label.filter(effect="forgotten")["row_key"].null_count() == label.filter(effect="forgotten").height > 0


def test_a_ring_closes_whatever_blocks_it_spans():
    for block in (1, 3, 64):
        data = play(replace(TOY, block=block), "ring:count=2,hops=6")
        keys = data.frames["label"].filter(effect="hop")
        hops = data.frames["sale"].filter(pl.col("sale_id").is_in(keys["row_key"].implode()))
        assert hops.height == 12
        assert set(hops["shopper_id"]) == set(hops["payee_id"])


@pytest.mark.parametrize("looks", [False, True])
def test_a_script_that_looks_at_nobody_plays_for_many_blocks_at_once(looks: bool):
    played = []

    def ring(scene: Scene) -> list[Edit]:
        played.append(scene.tables["sale"].height if looks else 0)
        return TOY.scripts["pass_it_on"](scene)

    domain = replace(TOY, block=1, scripts={**TOY.scripts, "pass_it_on": ring})
    data, whole = (play(of, "ring:count=9,hops=5", size=120) for of in (domain, replace(TOY, block=120)))
    hops, others = (made.frames["label"].sort("instance", "row_key") for made in (data, whole))
    assert hops.height == 45
    assert hops.equals(others)
    assert data.frames["sale"].sort("sale_id").equals(whole.frames["sale"].sort("sale_id"))
    blocks = {unit for members in make_cast(data.plan).members.values() for unit in members["unit"]}
    assert len(played) == (len(blocks) if looks else len({unit // BLINDLY for unit in blocks}))


def test_a_scenario_asked_for_twice_numbers_its_instances_on():
    data = play(TOY, "ring:count=2,hops=3", "splurge", "ring:count=2,hops=5", size=200)
    rings = data.frames["label"].filter(scenario="ring")
    assert rings.group_by("instance").len().sort("instance").rows() == [(0, 3), (1, 3), (2, 5), (3, 5)]
    for instance, hops in enumerate((3, 3, 5, 5)):
        key = rings.filter(instance=instance)["row_key"][0]
        (told,) = data.explain("sale", key).labels
        assert (told["instance"], told["parameters"]["hops"]) == (instance, hops)


def test_the_manifest_says_of_how_many_instances_nothing_is_left(tmp_path):
    def forget(scene: Scene) -> list[Edit]:
        hops = scene.tables["sale"].filter(pl.col("payee_id").is_not_null())
        return [scene.edit("remove", "sale", hops.select(pl.lit(0).alias("instance"), ROW), "spender", "forgotten")]

    wipe = replace(TOY.scenarios["splurge"], name="wipe", script="wipe", breaks=(), expect=())
    domain = replace(TOY, scenarios={**TOY.scenarios, "wipe": wipe}, scripts={**TOY.scripts, "wipe": forget})
    for last, left in (("splurge", 2), ("wipe", 0)):
        asked = ("ring:count=2", last + ":count=40")
        plan = make_plan(Spec("toy", size=40, scenarios=tuple(map(parse_request, asked))), domain)
        made = run(plan, [open_target(str(tmp_path / last), domain)], quiet=True).manifest["populace"]["scenarios"]
        assert made[0]["name"] == "ring"
        assert (made[0]["instances"], made[0]["labelled_instances"]) == (2, left)
    with pytest.warns(UserWarning, match=r"ring: 2 of 2 instance\(s\) left no label"):
        generate(plan)


def test_two_edits_of_one_row_are_both_labelled():
    def twice(scene: Scene):
        edits = TOY.scripts["splurge"](scene)
        return [*edits, edits[0]]

    domain = replace(TOY, scripts={**TOY.scripts, "splurge": twice})
    label = play(domain, "splurge").frames["label"]
    assert label.filter(effect="splurge").height == 2


def test_a_row_named_twice_in_one_edit_is_still_one_row_and_keeps_the_last_value():
    def twice(scene: Scene):
        update, _ = TOY.scripts["splurge"](scene)
        first = update.rows.with_columns(amount_minor=pl.lit(600_000))
        return [replace(update, rows=pl.concat([first, update.rows]))]

    domain = replace(TOY, scripts={**TOY.scripts, "splurge": twice})
    plain, data = play(TOY), play(domain, "splurge")
    assert data.frames["sale"].height == plain.frames["sale"].height
    assert (data.frames["sale"]["amount_minor"] == 500_000).sum() == 1
    assert data.frames["sale"]["amount_minor"].max() == 500_000


def test_a_script_gets_its_arguments_with_the_parameters_filled_in():
    seen = []

    def look(scene: Scene) -> list:
        seen.append(scene.arguments)
        return []

    given = {"amount": "amount", "deep": [{"hops": "hops", "kind": "cash"}]}
    domain = with_scenario("ring", script="look", arguments=given, expect=())
    play(replace(domain, scripts={"look": look}), "ring:hops=7,amount=12")
    assert seen[0] == {"amount": 12, "deep": [{"hops": 7, "kind": "cash"}]}
