"""Topics, keys, headers and bodies by template: what is named is there, and what is not is told before any work."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from populace.core.dataset import Dataset, generate
from populace.core.domain import find_domain
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.streams.message import Shape, checked, messages

IOT, FINANCE = find_domain("iot"), find_domain("finance")


@pytest.fixture(scope="module")
def fleet() -> Dataset:
    return generate(make_plan(Spec("iot", size=1, end="2025-03-04")))


@pytest.fixture(scope="module")
def bank() -> Dataset:
    return generate(make_plan(Spec("finance", size=3, end="2025-01-20")))


def made(data: Dataset, event: str, **shape: object) -> list[dict]:
    domain = data.plan.domain
    asked = checked(Shape("{event}", **shape), domain, [domain.events[event]])  # type: ignore[arg-type]
    frame = messages(domain, data.frames, [domain.events[event]], asked, "x")
    return [{**row, "body": json.loads(row["body"]), "headers": json.loads(row["headers"])} for row in frame.to_dicts()]


def test_a_senml_record_by_template(fleet: Dataset):
    body = '[{"bn": "{channel_id.urn}", "u": "{channel_id.unit_code}", "t": "{observed_at:s}", "v": "{value}", "vs": "a {key} b"}]'
    rows = {r["reading_id"]: r for r in fleet.frames["reading"].to_dicts()}
    channels = {c["channel_id"]: c for c in fleet.frames["channel"].to_dicts()}
    for message in made(fleet, "reading", body=body)[:500]:
        (record,), row = message["body"], rows[message["row"]]
        assert record["bn"] == channels[row["channel_id"]]["urn"]
        assert record["v"] == row["value"]
        assert dt.datetime.fromtimestamp(record["t"], dt.UTC) == row["observed_at"]
        assert record["vs"] == f"a {row['channel_id']} b"


def test_parents_keys_and_headers(bank: Dataset, tmp_path: Path):
    (tmp_path / "body.json").write_text(
        '{"who": "{account_id.customer_id.email}", "shop": "{merchant_id.name}", "n": 1, "of": {"x": "{amount_minor}"}}'
    )
    found = made(
        bank,
        "transaction-authorised",
        body=f"@{tmp_path / 'body.json'}",
        key="{account_id.customer_id}",
        headers={"currency": "{currency}", "quoted": 'a "{account_id.iban}"'},
    )
    accounts = {a["account_id"]: a for a in bank.frames["account"].to_dicts()}
    customers = {c["customer_id"]: c for c in bank.frames["customer"].to_dicts()}
    merchants = {m["merchant_id"]: m["name"] for m in bank.frames["merchant"].to_dicts()}
    rows = {t["transaction_id"]: t for t in bank.frames["transaction"].to_dicts()}
    assert found
    for message in found:
        row = rows[message["row"]]
        account = accounts[row["account_id"]]
        shop = {"shop": merchants[row["merchant_id"]]} if row["merchant_id"] is not None else {}
        email = customers[account["customer_id"]]["email"]
        assert message["body"] == {"who": email, **shop, "n": 1, "of": {"x": row["amount_minor"]}}, (
            "what is missing is left out"
        )
        assert message["label"] == str(account["customer_id"])
        assert message["headers"] == {"currency": row["currency"], "quoted": f'a "{account["iban"]}"'}


def test_a_view_with_one_document_for_each_row():
    data = generate(make_plan(Spec("healthcare", size=6)))
    for event, kind in (("condition-recorded", "condition"), ("encounter-started", "encounter")):
        found = made(data, event, body="fhir+ndjson")
        assert found
        assert all(m["body"]["id"] == f"{kind}-{m['row']}" for m in found)
    started = made(data, "encounter-started", body="fhir+ndjson")
    assert not any("end" in m["body"]["period"] for m in started), "nobody knows yet when it ends"
    with pytest.raises(UserError, match=r"the view has [\d,]+ documents for [\d,]+ rows of observation"):
        made(data, "observation", body="fhir+ndjson")


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ({"body": '{"a": "{valu}"}'}, "Did you mean 'value'"),
        ({"body": '{"a": "{channel_id.urm}"}'}, "Did you mean 'urn'"),
        ({"body": '{"a": "{value:s}"}'}, "takes no ':s'"),
        ({"body": '{"a": "{value!r}"}'}, "takes no '!'"),
        ({"body": '{"a": '}, "not JSON"),
        ({"body": "rwo"}, "Did you mean 'row'"),
        ({"body": "@nowhere.json"}, "cannot be read"),
        ({"key": "{vaule}"}, "--key"),
        ({"headers": {"h": "{vaule}"}}, "--header h"),
    ],
)
def test_a_wrong_template_is_told_before_any_work(shape: dict, error: str):
    with pytest.raises(UserError, match=error):
        checked(Shape("t", **shape), IOT, [IOT.events["reading"]])


def test_only_rows_that_are_there_can_be_named():
    with pytest.raises(UserError, match="refers to no row that this one belongs to"):
        checked(Shape("{device_id.kind}"), FINANCE, [FINANCE.events["transaction-authorised"]])
