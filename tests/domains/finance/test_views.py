"""Views are what they say: judged by the official schemas, by the libraries that read them, and by plain recomputation."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import networkx as nx
import polars as pl
import pytest
import xmlschema
from lxml import etree
from stdnum import iban, iso11649

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.sinks import open_target
from populace.core.spec import ScenarioRequest, Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.views import iso20022
from populace.domains.finance.views.features import features

REFERENCE = ("merchant", "terminal", "employer", "fx_rate", "internal_account")
XSD = {"pacs.008": "pacs.008.001.08", "pain.001": "pain.001.001.09", "camt.053": "camt.053.001.08"}


def rendered(data: Dataset, view: str) -> dict[str, pl.DataFrame]:
    return dict(DOMAIN.views[view].render(data.frames, {n: data.frames[n] for n in REFERENCE}))


@pytest.fixture(scope="module")
def xsd(public_data: Path) -> dict[str, etree.XMLSchema]:
    return {n: etree.XMLSchema(etree.parse(str(public_data / f"finance/xsd/{f}.xsd"))) for n, f in XSD.items()}


@pytest.mark.parametrize("view", XSD)
def test_every_message_is_valid_against_the_official_schema(bank: Dataset, xsd: dict, view: str):
    texts = rendered(bank, view)[view]
    assert texts["name"].is_unique().all()
    assert texts.height > 100
    for name, text in texts.iter_rows():
        assert xsd[view].validate(etree.fromstring(text.encode())), (name, xsd[view].error_log)


def test_a_second_judge_agrees(bank: Dataset, public_data: Path):
    for view, file in XSD.items():
        judge = xmlschema.XMLSchema(public_data / f"finance/xsd/{file}.xsd")
        judge.validate(rendered(bank, view)[view]["text"][3])


def test_a_message_of_each_transfer_is_valid_and_its_references_have_check_digits(bank: Dataset, xsd: dict):
    paid = iso20022.credit_transfers(DOMAIN.schema, bank.frames)
    texts = iso20022.messages(DOMAIN.schema, paid)
    assert len(texts) == paid.height > 1_000
    for text in texts[::25]:
        root = etree.fromstring(text.encode())
        assert xsd["pacs.008"].validate(root), xsd["pacs.008"].error_log
        assert iso11649.is_valid(root.findtext(".//{*}CdtrRefInf/{*}Ref"))


def test_names_with_markup_and_any_script_are_escaped(bank: Dataset, xsd: dict):
    odd = 'Ó "<&> Ltd \u0007 漢字 ' + "x" * 200
    paid = iso20022.credit_transfers(DOMAIN.schema, bank.frames).head(3)
    paid = paid.with_columns(creditor=pl.lit(odd))
    root = etree.fromstring(iso20022.messages(DOMAIN.schema, paid)[0].encode())
    assert xsd["pacs.008"].validate(root)
    assert root.findtext(".//{*}Cdtr/{*}Nm") == odd.replace("\u0007", " ")[:140]


def test_statements_add_up(bank: Dataset):
    """Opening balance and entries make the closing balance, which is the next statement's opening balance."""
    for text in rendered(bank, "camt.053")["camt.053"]["text"].head(60):
        before = None
        for statement in etree.fromstring(text.encode()).iterfind(".//{*}Stmt"):
            money = {}
            for balance in statement.iterfind("{*}Bal"):
                sign = 1 if balance.findtext("{*}CdtDbtInd") == "CRDT" else -1
                money[balance.findtext("{*}Tp/{*}CdOrPrtry/{*}Cd")] = sign * _cents(balance.findtext("{*}Amt"))
            moved = sum(
                (1 if e.findtext("{*}CdtDbtInd") == "CRDT" else -1) * _cents(e.findtext("{*}Amt"))
                for e in statement.iterfind("{*}Ntry")
            )
            assert money["OPBD"] + moved == money["CLBD"]
            assert before in (None, money["OPBD"])
            before = money["CLBD"]


def _cents(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part)


def test_amounts_have_their_currencys_digits(bank: Dataset):
    exchange = bank.frames["exchange"].with_columns(pl.col("currency").cast(pl.String))
    frame = pl.DataFrame({"m": [123456, 5, 0], "c": ["JPY", "KWD", "EUR"]})
    from populace.domains.finance.views.xml import decimal_of

    got = frame.select(x=decimal_of(pl.col("m"), pl.col("c"), {"JPY": 0, "KWD": 3, "EUR": 2}))["x"].to_list()
    assert got == ["123456", "0.005", "0.00"]
    assert set(exchange["currency"]) >= {"EUR", "USD"}


@pytest.fixture(scope="module")
def abroad() -> Dataset:
    """A bank whose customers pay to Ireland and Kuwait, change yen, and leave."""
    away = {"home": 0.4, "NL": 0.1, "IE": 0.2, "KW": 0.3}
    settings = {"counterparty.country": away, "account.foreign": 0.6, "customer.leaves": 0.4}
    return generate(make_plan(Spec("finance", size=80, seed=2, end="2025-04-01", settings=settings), DOMAIN))


def test_what_is_settled_is_in_the_creditors_currency_and_what_is_instructed_in_the_payers(abroad: Dataset, xsd: dict):
    assert abroad.validate().is_empty()
    told = {}
    for text in rendered(abroad, "pacs.008")["pacs.008"]["text"]:
        root = etree.fromstring(text.encode())
        assert xsd["pacs.008"].validate(root), xsd["pacs.008"].error_log
        total = root.find(".//{*}TtlIntrBkSttlmAmt")
        amounts = root.findall(".//{*}IntrBkSttlmAmt")
        assert {a.get("Ccy") for a in amounts} == {total.get("Ccy")}
        assert sum(Decimal(a.text) for a in amounts) == Decimal(total.text)
        for order in root.iterfind(".//{*}CdtTrfTxInf"):
            settled, asked = (order.find(f"{{*}}{n}") for n in ("IntrBkSttlmAmt", "InstdAmt"))
            told[int(order.findtext("{*}PmtId/{*}TxId"))] = (settled, asked)
    digits = {"GBP": 2, "EUR": 2, "KWD": 3}
    exchange = abroad.frames["exchange"].join(abroad.frames["transaction"], on="transaction_id", suffix="_own")
    exchange = exchange.filter(pl.col("card_id").is_null(), channel="transfer").drop_nulls("cleared_at")
    for row in exchange.iter_rows(named=True):
        for element, money, minor in zip(
            told[row["transaction_id"]], ("currency", "currency_own"), ("amount_minor", "amount_minor_own"), strict=True
        ):
            assert element.get("Ccy") == row[money]
            assert Decimal(element.text) == Decimal(row[minor]).scaleb(-digits[row[money]])
            assert len(element.text.partition(".")[2]) == digits[row[money]]
    assert set(exchange["currency"].cast(pl.String)) == {"EUR", "KWD"}
    same = set(told) - set(exchange["transaction_id"])
    assert all(told[key][1] is None for key in same)


def test_statements_in_other_currencies_have_their_digits_and_end_at_nothing_where_closed(abroad: Dataset):
    mt940 = pytest.importorskip("mt940")
    account = abroad.frames["account"]
    closed = {str(n) for n in account.filter(pl.col("closed_on").is_not_null())["account_id"]}
    files = dict(rendered(abroad, "mt940")["mt940"].rows())
    assert len(closed & set(files)) > 10
    for name in closed & set(files):
        last = mt940.parse(files[name].rstrip("\n-").split("\n-\n")[-1] + "\n-")
        assert last.data["final_closing_balance"].amount.amount == 0
    yen = [str(n) for n in account.filter(currency="JPY")["account_id"] if str(n) in files]
    assert yen
    assert all(re.search(r":62F:[CD]\d{6}JPY\d+,\n", files[n] + "\n") for n in yen)


def test_card_messages_follow_the_life_of_each_payment(bank: Dataset):
    rows = rendered(bank, "iso8583")["iso8583"]
    kinds = defaultdict(list)
    for mti, key, amount in rows.select("mti", "transaction_id", "de4").iter_rows():
        kinds[key].append((mti, int(amount)))
    paid = bank.frames["transaction"].filter(pl.col("response_code").is_not_null() & pl.col("card_id").is_not_null())
    assert set(kinds) == set(paid["transaction_id"])
    for row in paid.head(3_000).iter_rows(named=True):
        messages = kinds[row["transaction_id"]]
        assert messages[0][0] == "0110"
        assert (messages.count(("0220", row["amount_minor"])) >= 1) == (row["cleared_at"] is not None)
        if row["reversal"] == "void":
            assert messages[-1] == ("0420", row["reversed_minor"])
    assert rows["de4"].str.len_chars().eq(12).all()
    assert rows["at"].is_sorted()


def test_the_journal_balances_and_is_plain(bank: Dataset):
    text = rendered(bank, "ledger")["ledger"].write_csv()
    sums: dict[str, int] = defaultdict(int)
    for row in csv.DictReader(io.StringIO(text)):
        sums[row["currency"]] += round(1_000 * (float(row["credit"] or 0) - float(row["debit"] or 0)))
    assert set(sums) >= {"GBP", "EUR"}
    assert not any(sums.values())


def test_the_graph_loads_into_networkx_with_its_features_and_groups(bank: Dataset):
    made = rendered(bank, "graph")
    nodes, edges = made["nodes"], made["edges"]
    assert nodes["node"].is_unique().all()
    assert {*edges["source"], *edges["target"]} <= set(nodes["node"])
    graph = nx.from_pandas_edgelist(edges.to_pandas(), "source", "target", edge_attr=True, create_using=nx.MultiDiGraph)
    nx.set_node_attributes(graph, nodes.to_pandas().set_index("node").to_dict("index"))
    ring = edges.filter(pl.col("scenario") == "mule-ring", pl.col("instance") == 0).to_pandas()
    cycle = nx.from_pandas_edgelist(ring, "source", "target", create_using=nx.DiGraph)
    assert nx.is_strongly_connected(cycle)
    members = made["groups"].filter(pl.col("scenario") == "mule-ring", pl.col("instance") == 0)["node"]
    own = {n for n in cycle if n.startswith("account:")}
    assert set(members) == own
    assert len(cycle) == len(own) + 1, "one of them banks elsewhere"
    assert all(graph.nodes[n]["illicit"] == 1 for n in own)
    rings = {n for n in edges.filter(scenario="mule-ring")["source"] if n.startswith("account:")}
    assert set(nodes.filter(mule=1)["node"]) == rings, "nobody else is paid and pays on for others"


def test_the_graph_loads_into_torch_as_edge_index(bank: Dataset):
    torch = pytest.importorskip("torch")
    made = rendered(bank, "graph")
    edges, number = made["edges"], {n: k for k, n in enumerate(made["nodes"]["node"])}
    index = torch.tensor([[number[n] for n in edges[c]] for c in ("source", "target")])
    assert index.shape == (2, edges.height)
    assert int(index.max()) < len(number)


def test_the_graph_loads_into_pytorch_geometric(bank: Dataset):
    data = pytest.importorskip("torch_geometric.data")
    torch = pytest.importorskip("torch")
    made = rendered(bank, "graph")
    nodes, edges = made["nodes"], made["edges"]
    number = {n: k for k, n in enumerate(nodes["node"])}
    graph = data.Data(
        edge_index=torch.tensor([[number[n] for n in edges[c]] for c in ("source", "target")]),
        y=torch.tensor(nodes["illicit"].to_list()),
        num_nodes=nodes.height,
    )
    assert graph.validate()
    assert graph.num_edges == edges.height
    assert int(graph.y.sum()) == nodes["illicit"].sum() > 0


def test_known_shapes_have_their_headings_and_mark_what_is_illicit(bank: Dataset):
    lines = rendered(bank, "amlworld")["Trans"]["text"]
    heading = lines[0].split(",")
    assert heading.count("Account") == 2
    assert (heading[0], heading[-1]) == ("Timestamp", "Is Laundering")
    assert {len(line.split(",")) for line in lines} == {11}
    illicit = bank.frames["label"].filter(pl.col("table") == "transaction")["row_key"].drop_nulls().unique()
    booked = bank.frames["transaction"].filter(pl.col("cleared_at").is_not_null())
    wanted = booked["transaction_id"].is_in(illicit.implode()).sum()
    assert sum(line.endswith(",1") for line in lines) == wanted
    paysim = rendered(bank, "paysim")["paysim"]
    assert paysim.columns[:3] == ["step", "type", "amount"]
    assert set(paysim["type"]) == {"CASH_IN", "CASH_OUT", "DEBIT", "PAYMENT", "TRANSFER"}
    assert paysim["isFraud"].sum() == wanted
    moved = (paysim["newbalanceOrig"] - paysim["oldbalanceOrg"]).abs()
    assert ((moved - paysim["amount"]).abs() < 0.005).all()
    sparkov = rendered(bank, "sparkov")["sparkov"]
    assert (sparkov.columns[0], sparkov.columns[-1]) == ("", "is_fraud")
    assert sparkov["lat"].is_between(45, 60).all()
    living = dict(sparkov.select("city", "city_pop").unique().rows())
    assert living["London"] == 8_962_000
    assert min(living.values()) > 200_000, "inhabitants, not customers"


def test_transfers_go_from_payer_to_payee_and_the_illicit_ones_are_marked(bank: Dataset):
    made, paid = (
        rendered(bank, "transfers")["transfers"],
        bank.frames["transaction"].filter(pl.col("cleared_at").is_not_null()),
    )
    assert made.columns == ["time", "payer", "payee", "amount_minor", "currency", "laundering"]
    between = paid.filter(
        pl.col("counterparty_account_id").is_not_null() | pl.col("counterparty_id").is_not_null(),
        pl.col("channel").cast(pl.String).is_in(["transfer", "salary", "loan", "wallet"]),
    )
    assert made.height == between.height > 1_000
    assert made["amount_minor"].sum() == between["amount_minor"].sum()
    assert (made["payer"] != made["payee"]).all()
    held = [*bank.frames["account"]["account_id"]]
    named = [-1 - n for n in bank.frames["counterparty"]["counterparty_id"]]
    assert made.select(pl.col("payer", "payee").is_in(held + named).all()).row(0) == (True, True)
    inward = (between["direction"].cast(pl.String) == "CRDT").to_numpy()
    own = between["account_id"].to_numpy()
    assert (made["payee"].to_numpy()[inward] == own[inward]).all()
    assert (made["payer"].to_numpy()[~inward] == own[~inward]).all()
    illicit = bank.frames["label"].filter(pl.col("table") == "transaction")["row_key"].drop_nulls().unique()
    assert made["laundering"].sum() == between["transaction_id"].is_in(illicit.implode()).sum() > 0


def test_features_do_not_change_when_all_later_rows_are_removed(bank: Dataset):
    whole = features(bank.frames)
    for cut in (whole["at"].quantile(0.3), whole["at"].quantile(0.7)):
        upto = {
            "transaction": pl.col("authorised_at") < cut,
            "ledger_entry": pl.col("booked_at") < cut,
            "device": pl.col("first_seen_at") < cut,
            "counterparty": pl.col("added_at") < cut,
        }
        past = {n: t.filter(upto[n]) if n in upto else t for n, t in bank.frames.items()}
        changed = pl.col("contact_changed_at")
        past["customer"] = past["customer"].with_columns(pl.when(changed < cut).then(changed))
        assert features(past).equals(whole.filter(pl.col("at") < cut))


def test_features_are_what_counting_by_hand_gives(bank: Dataset):
    made = features(bank.frames)
    some = made.filter(pl.col("n_30d") > 3).gather_every(997)
    rows = made.select("account_id", "at", "amount", "channel", "response_code").rows()
    assert some.height > 10
    for row in some.iter_rows(named=True):
        before = [r for r in rows if r[0] == row["account_id"] and r[1] < row["at"]]
        day = [r for r in before if (row["at"] - r[1]).total_seconds() <= 86_400]
        assert row["n_24h"] == len(day)
        assert row["sum_24h"] == pytest.approx(sum(r[2] for r in day))
        assert row["declined_24h"] == sum(r[4] not in ("00", None) for r in day)
        assert row["since"] == min((row["at"] - r[1]).total_seconds() for r in before)


def test_views_are_written_whole_over_several_blocks(tmp_path: Path):
    from dataclasses import replace

    domain = replace(DOMAIN, block=20)
    plan = make_plan(Spec("finance", size=60, seed=2, end="2025-02-01"), domain)
    targets = {n: tmp_path / n for n in ("amlworld", "graph", "paysim", "pain.001")}
    run(plan, [open_target(f"{n}:{path}", domain) for n, path in targets.items()], quiet=True)
    lines = (targets["amlworld"] / "Trans.csv").read_text().splitlines()
    assert sum(line.startswith("Timestamp") for line in lines) == 1
    nodes = pl.read_csv(targets["graph"] / "nodes.csv", infer_schema_length=None)
    assert nodes["node"].is_unique().all()
    assert pl.read_csv(targets["paysim"] / "paysim.csv")["step"].max() <= 31 * 24 + 1
    assert len(list((targets["pain.001"] / "pain.001").iterdir())) > 40


def test_mt940_statements_are_read_by_a_parser_of_others_and_their_balances_hold(bank: Dataset):
    mt940 = pytest.importorskip("mt940")
    posted = bank.frames["ledger_entry"].filter(
        pl.col("internal_account_id").is_null(), pl.col("kind").cast(pl.String) != "opening"
    )
    files = rendered(bank, "mt940")["mt940"].head(20)
    lines = 0
    for name, text in files.rows():
        statements = [mt940.parse(part + "\n-") for part in text.split("\n-\n")]
        before = None
        for statement in statements:
            opening, closing = (statement.data[f"final_{k}_balance"].amount.amount for k in ("opening", "closing"))
            assert before is None or opening == before
            assert opening + sum(t.data["amount"].amount for t in statement) == closing
            before = closing
            lines += len(statement)
        last = posted.filter(account_id=int(name))["balance_minor"][-1]
        assert before is not None
        assert round(before * 100) == last
    assert lines == posted.filter(pl.col("account_id").is_in(files["name"].cast(pl.Int64).implode())).height > 500


def test_a_transfer_booked_days_later_counts_from_the_day_it_was_made():
    asked = (ScenarioRequest("backdated-value-date"), ScenarioRequest("orphaned-chargeback"))
    data = generate(make_plan(Spec("finance", size=12, end="2025-03-01", scenarios=asked), DOMAIN))
    late = data.frames["label"].filter(scenario="backdated-value-date", effect="late")["row_key"][0]
    paid = data.frames["transaction"].filter(transaction_id=late)
    made, booked = paid["authorised_at"].dt.date()[0], paid["booked_on"][0]
    assert (booked - made).days == 3
    statement = rendered(data, "camt.053")["camt.053"].filter(name=str(paid["account_id"][0]))["text"][0]
    entry = next(e for e in statement.split("<Ntry>") if f">{paid['transaction_ref'][0]}<" in e)
    assert f"<BookgDt><DtTm>{booked}" in entry
    assert f"<ValDt><Dt>{made}</Dt></ValDt>" in entry
    line = next(
        part
        for part in rendered(data, "mt940")["mt940"].filter(name=str(paid["account_id"][0]))["text"][0].split(":61:")
        if str(paid["transaction_ref"][0]) in part
    )
    assert line.startswith(f"{made:%y%m%d}{booked:%m%d}D")
    # of others only those count from another day that were booked after midnight
    rest = data.frames["value_date"].join(data.frames["transaction"], on="transaction_id")
    assert (rest["value_on"] == rest["authorised_at"].dt.date()).all()
    assert (rest["value_on"] < rest["booked_on"]).all()
    lost = data.frames["label"].filter(scenario="orphaned-chargeback")["row_key"]
    assert data.frames["dispute"].filter(pl.col("transaction_id").is_in(lost.implode())).is_empty()
    assert data.validate().is_empty()


MT103 = re.compile(
    r"\{1:F01(?P<sender>[A-Z]{6}[A-Z0-9]0)AXXX0{10}\}\{2:I103(?P<receiver>[A-Z]{6}[A-Z0-9]0)XXXXN\}\{3:\{121:(?P<trace>[0-9a-f-]{36})\}\}\{4:\n"
    r":20:(?P<reference>[0-9]{1,16})\n:23B:CRED\n:32A:(?P<day>[0-9]{6})(?P<settled>[A-Z]{3}[0-9]{1,12},[0-9]{2,3})\n"
    r":33B:(?P<instructed>[A-Z]{3}[0-9]{1,12},[0-9]{2})\n(:36:(?P<rate>[0-9]+,[0-9]+)\n)?"
    r":50K:/(?P<debtor>[A-Z0-9]{1,34})\n[A-Za-z0-9/\-?:().,'+ ]{1,35}\n:59:/(?P<creditor>[A-Z0-9]{1,34})\n[A-Za-z0-9/\-?:().,'+ ]{1,35}\n"
    r":70:/RFB/(?P<remittance>RF[0-9]{14})\n:71A:(SHA|OUR)\n-\}"
)
"""The fields in the formats that SWIFT's handbook gives them, written down anew."""


def test_every_transfer_across_borders_is_an_mt103_in_swifts_formats(bank: Dataset):
    files = rendered(bank, "mt103")["mt103"]
    told = [MT103.fullmatch(m) for text in files["text"] for m in text.split("\n$\n")]
    assert all(told)
    found = [m.groupdict() for m in told if m]
    order = bank.frames["credit_transfer"].filter(scheme="SWIFT").join(bank.frames["transaction"], on="transaction_id")
    order = order.filter(pl.col("cleared_at").is_not_null())
    assert sorted(int(m["reference"]) for m in found) == sorted(order["transaction_id"])
    assert len({UUID(m["trace"]) for m in found}) == len(found) > 20
    assert all(UUID(m["trace"]).version == 4 for m in found)
    assert all(iso11649.is_valid(m["remittance"]) for m in found)
    assert all(iban.is_valid(m[side]) for m in found for side in ("debtor", "creditor"))
    assert {m["sender"][4:6] for m in found} >= {"GB", "NL", "IE"}
    rated = [m for m in found if m["rate"]]
    for m in rated:
        settled, instructed, rate = (
            float(m[k].lstrip("EURGBPKWD").replace(",", ".")) for k in ("settled", "instructed", "rate")
        )
        assert m["settled"][:3] == {"NL": "EUR", "IE": "EUR", "KW": "KWD"}[m["receiver"][4:6]]
        assert settled <= instructed * rate + 0.01, "less the fee"
    assert rated
    assert all(m["settled"] == m["instructed"] for m in found if not m["rate"])


def test_a_merchant_that_is_renamed_stands_in_messages_under_the_name_of_the_day():
    often = {"merchant.renamed": 1.0}
    data = generate(make_plan(Spec("finance", size=10, end="2025-03-01", settings=often), DOMAIN))
    shop = data.frames["merchant"].filter(pl.col("renamed_on").is_not_null())
    assert 0.1 < shop.height / data.frames["merchant"].height < 0.2
    assert (shop["name"] != shop["former_name"]).mean() > 0.95
    messages = (
        rendered(data, "iso8583")["iso8583"]
        .filter(mti="0110")
        .select("at", trades=pl.col("de43").str.split("/").list.first(), merchant_id=pl.col("de42").cast(pl.Int64))
    )
    seen = messages.join(shop, on="merchant_id").with_columns(day=pl.col("at").str.slice(0, 10).str.to_date())
    before = pl.col("day") < pl.col("renamed_on")
    assert 0.1 < seen.select(before.mean()).item() < 0.9
    for such, name in ((before, "former_name"), (~before, "name")):
        assert seen.filter(such).select((pl.col("trades") == pl.col(name).str.slice(0, 25)).all()).item()
    sparkov = rendered(data, "sparkov")["sparkov"].rename({"": "transaction_id"})
    paid = data.frames["transaction"].join(sparkov, on="transaction_id").join(shop, on="merchant_id")
    early = paid.filter(pl.col("authorised_at").dt.date() < pl.col("renamed_on"))
    assert early.height
    assert (early["merchant"] == "fraud_" + early["former_name"]).all()
