"""Rows as instances of Django's and SQLAlchemy's models, judged by the libraries themselves; rows at once; JSON fixtures."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import populace
from populace.app.cli import run_command
from populace.core.currency import major, major_sql
from populace.core.dataset import Dataset
from populace.core.errors import UserError

DJANGO = """
import django, json
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.contrib.auth.models import User
from django.db import connection, models

class Customer(models.Model):
    full_name = models.CharField(max_length=200)
    email = models.EmailField()
    birth_date = models.DateField()
    note = models.TextField(blank=True, default="none")
    user = models.OneToOneField(User, models.CASCADE, null=True)
    class Meta: app_label = "auth"

class Account(models.Model):
    id = models.BigIntegerField(primary_key=True)
    owner = models.ForeignKey(Customer, models.CASCADE)
    iban = models.CharField(max_length=40)
    opening_balance = models.DecimalField(max_digits=14, decimal_places=2)
    class Meta: app_label = "auth"

class Payment(models.Model):
    account = models.ForeignKey(Account, models.CASCADE)
    other = models.ForeignKey(Account, models.CASCADE, null=True, blank=True, related_name="+")
    at = models.DateTimeField()
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    class Meta: app_label = "auth"

from django.core.management import call_command
call_command("migrate", verbosity=0, run_syncdb=True)
with connection.schema_editor() as editor:
    for model in (Customer, Account, Payment):
        editor.create_model(model)

import populace
from populace.core.errors import UserError
data = populace.generate("finance", size=8, seed=3, end="2025-02-15")
tables = {"customer": Customer, "account": Account, "transaction": Payment}
try:
    data.objects(tables, save=True)
except UserError as error:
    print(json.dumps(str(error)))
fields = {"customer": {"full_name": lambda row: f"{row['given_name']} {row['family_name']}"},
          "transaction": {"at": "authorised_at", "other": "counterparty_account_id"}}
loose = data.objects(tables, fields)
assert Customer.objects.count() == 0 and loose["account"][0].owner is loose["customer"][0]
made = data.objects(tables, fields, save=True)
connection.check_constraints()
assert Customer.objects.count() == 8 and Account.objects.count() == len(data.frames["account"])
for one in Payment.objects.select_related("account__owner")[:50]:
    one.full_clean()
rows = data.frames["transaction"]
assert Payment.objects.count() == rows.height
first = rows.row(0, named=True)
stored = Payment.objects.order_by("id").first()
assert (stored.account_id, stored.at) == (first["account_id"], first["authorised_at"]), stored.at
assert int(stored.amount * 100) == first["amount_minor"]
assert Account.objects.get(pk=first["account_id"]).owner.email == data.frames["customer"].filter(customer_id=first["account_id"] // 8)["email"][0]
make = data.factory("customer", Customer, {"full_name": "family_name"}, save=True)
one, two = make(), make(email="x@example.com")
assert (one.pk, two.pk, two.email) == (9, 10, "x@example.com") and one.full_name == data.frames["customer"]["family_name"][0]
print("ok")
"""


def test_django_models_are_made_and_saved_with_their_foreign_keys():
    told = subprocess.run([sys.executable, "-c", DJANGO], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "ok"
    refused = json.loads(told.stdout.splitlines()[0])
    assert refused.startswith("Customer: full_name must have a value, and finance.customer has no column of that name.")


class Base(DeclarativeBase): ...


class Customer(Base):
    __tablename__ = "clients"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    since: Mapped[dt.date]


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    iban: Mapped[str]
    opening_balance: Mapped[Decimal]
    client_id: Mapped[int] = mapped_column(ForeignKey("clients.id"))
    client: Mapped[Customer] = relationship()


@pytest.fixture(scope="module")
def bank() -> Dataset:
    return populace.generate("finance", size=6, seed=5, end="2025-02-10")


def test_sqlalchemy_models_are_made_and_flushed_in_a_session(bank: Dataset):
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    fields = {"customer": {"since": "opened_on"}}
    with Session(engine) as session:
        made = bank.objects({"customer": Customer, "account": Account}, fields, save=session)
        session.commit()
        assert session.scalar(select(func.count()).select_from(Account)) == bank.frames["account"].height
        one = session.scalars(select(Account).order_by(Account.id)).first()
        assert one is not None
        row = bank.frames["account"].row(0, named=True)
        assert (one.iban, one.client.email) == (row["iban"], bank.frames["customer"]["email"][0])
        assert one.opening_balance == Decimal(row["opening_balance_minor"]) / 100
        assert one.client is made["customer"][0]
    with pytest.raises(UserError, match="expected models of Django or of SQLAlchemy"):
        bank.objects({"customer": dict})
    with pytest.raises(UserError, match="saved in a session"):
        bank.objects({"customer": Customer}, fields, save=True)
    with pytest.raises(UserError, match="Did you mean 'opened_on'"):
        bank.objects({"customer": Customer}, {"customer": {"since": "opened"}})
    make = bank.factory("customer", Customer, {"since": "opened_on"})
    assert make(email="a@example.com").email == "a@example.com"
    with pytest.raises(UserError, match="are used up"):
        [make() for _ in range(10)]


def test_money_is_in_the_currency_s_own_digits():
    import duckdb

    assert [major(1250, c) for c in ("EUR", "JPY", "KWD", None)] == [
        Decimal(x) for x in ("12.50", "1250", "1.250", "12.50")
    ]
    sql = major_sql("m", "c", ("EUR", "JPY", "KWD"))
    found = duckdb.sql(f"SELECT {sql} FROM (VALUES (1250, 'EUR'), (1250, 'JPY'), (1250, 'KWD')) AS t(m, c)").fetchall()
    assert [float(x) for (x,) in found] == [12.5, 1250.0, 1.25]


def test_a_few_rows_of_any_table_at_once():
    some = populace.rows("finance", "card", 5, seed=1)
    assert some == populace.rows("finance", "card", 5, seed=1) != populace.rows("finance", "card", 5, seed=2)
    assert len({row["pan"] for row in some}) == 5
    assert len(populace.rows("finance")) == 20
    assert populace.rows("finance", "customer", 1, as_="dataclass")[0].birth_date.year > 1900
    with pytest.raises(UserError, match=r"count is 101; finance\.customer has 100 rows"):
        populace.rows("finance", count=101)
    with pytest.raises(UserError, match="Did you mean 'card'"):
        populace.rows("finance", "cards")


def test_json_fixtures_hold_the_rows_plain_and_nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    asked = ["generate", "finance", "--size", "4", "--end", "2025-01-20", "--quiet"]
    assert run_command([*asked, "--format", "json", "--to", "plain", "--to", "nested+json:nested"]) == 0
    data = populace.generate("finance", size=4, end="2025-01-20")
    for table, frame in data.frames.items():
        found = json.loads((tmp_path / "plain" / f"{table}.json").read_text("utf-8"))
        assert len(found) == frame.height
        if found:
            assert list(found[0]) == frame.columns
    first = json.loads((tmp_path / "plain/transaction.json").read_text("utf-8"))[0]
    assert first["authorised_at"] == data.frames["transaction"]["authorised_at"][0].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    customers = [json.loads((tmp_path / f"nested/customer/{n}.json").read_text("utf-8")) for n in range(4)]
    assert sum(len(a["transaction"]) for c in customers for a in c["account"]) == data.frames["transaction"].height
    assert all(a["customer_id"] == c["customer_id"] for c in customers for a in c["account"])
    assert len(json.loads((tmp_path / "nested/merchant.json").read_text("utf-8"))) == data.frames["merchant"].height
    assert run_command(["validate", "finance", "plain"]) == 0
