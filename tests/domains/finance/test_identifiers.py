"""Every identifier is well formed to an independent judge, and can belong to nobody."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import numpy as np
import polars as pl
import pytest
import schwifty
from stdnum import iban as iban_judge
from stdnum import iso11649 as reference_judge
from stdnum import luhn as luhn_judge

from populace.core.dataset import Dataset
from populace.core.samplers.keys import SAFE_BANKS, iban, luhn
from populace.core.stream import Stream
from populace.domains.finance import DOMAIN
from populace.domains.finance.identifiers import home_ibans, iban_broken, luhn_broken


def test_merchants_abroad_are_named_in_their_own_script(bank: Dataset):
    merchant = bank.frames["merchant"].with_columns(pl.col("country").cast(pl.String))
    written = pl.col("name").str.contains(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
    assert merchant.filter(country="JP").select(written.mean()).item() > 0.95
    assert not merchant.filter(pl.col("country") != "JP").select(written.any()).item()
    assert merchant.filter(country="FR").select(pl.col("name").str.contains("[éèêô]").any()).item()


def test_stdnum_accepts_every_iban_and_no_bank_can_have_issued_it(bank: Dataset):
    texts = [*bank.frames["account"]["iban"], *bank.frames["counterparty"]["iban"]]
    assert len(texts) > 1_000
    for text in texts:
        assert iban_judge.is_valid(text, check_country=False), text
        assert re.fullmatch(r"(GB|NL|IE|KW)\d\dTEST\d+|DE\d\d9\d{17}", text), text
        assert len(text) == {"GB": 22, "DE": 22, "NL": 18, "IE": 22, "KW": 30}[text[:2]]


def test_stdnum_accepts_every_card_number_and_no_network_issues_it(bank: Dataset):
    for text in bank.frames["card"]["pan"]:
        assert luhn_judge.is_valid(text), text
        assert text.startswith("9999")
        assert len(text) == 16


IDENTIFIERS = {
    "iban": ("account.iban", "counterparty.iban", "employer.iban"),
    "pan": ("card.pan",),
    "bic": ("credit_transfer.debtor_bic", "credit_transfer.creditor_bic"),
    "reference": ("credit_transfer.remittance",),
    "ip": ("device.ip", "ip_address.ip"),
    "email": ("customer.email",),
    "phone": ("customer.phone",),
}
KEPT = [ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")]
"""RFC 5737 and RFC 2544."""


def test_every_text_that_looks_like_an_identifier_is_judged():
    """A new column with a number of a person, a bank or a machine must name its judge here."""
    named = {name for names in IDENTIFIERS.values() for name in names}
    words = re.compile(
        r"iban|pan$|bic$|(^|_)ip$|email|phone|remittance|routing|sort_code|account_number|ssn|tax|passport"
    )
    for table in DOMAIN.schema.tables.values():
        for column in table.columns.values():
            if column.type == "text" and words.search(column.name):
                assert f"{table.name}.{column.name}" in named, f"{table.name}.{column.name}"
                assert column.pattern or column.name == "remittance"


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_no_identifier_can_be_real(bank: Dataset, kind: str):
    for name in IDENTIFIERS[kind]:
        table, column = name.split(".")
        texts = bank.frames[table][column].drop_nulls().unique().to_list()
        assert texts, name
        for text in texts:
            assert NOBODYS[kind](text), (name, text)


def _no_bank(text: str) -> bool:
    """Well formed by the registry, and at a bank that schwifty's registers do not know."""
    number = schwifty.IBAN(text)
    return number.bank is None and number.bic is None and (text[4:8] == "TEST" or (text[:2] == "DE" and text[4] == "9"))


def _test_bic(text: str) -> bool:
    code = schwifty.BIC(text, allow_invalid=True)
    return code.is_valid and code.type == "testing" and not code.exists


NOBODYS = {
    "iban": _no_bank,
    "pan": lambda text: luhn_judge.is_valid(text) and text.startswith("9999"),
    "bic": _test_bic,
    "reference": reference_judge.is_valid,
    "ip": lambda text: any(ip_address(text) in net for net in KEPT),
    "email": lambda text: re.fullmatch(r".+@(example\.(com|net|org)|.+\.example)", text) is not None,
    "phone": lambda text: re.fullmatch(r"\+44 7700 900\d{3}|\+49 0\d\d \d{7}", text) is not None,
}


@pytest.mark.parametrize("country", SAFE_BANKS)
def test_ibans_of_every_country_pass_its_own_rules_and_name_no_bank(country: str):
    texts = iban(np.random.default_rng(3).integers(0, 10**10, 200).astype(np.uint64), country)
    assert texts.is_unique().all()
    for text in texts:
        assert iban_judge.is_valid(text, check_country=False), text
        assert _no_bank(text), text


def test_our_own_identifiers_are_distinct(base: Dataset):
    for table, column in (("account", "iban"), ("card", "pan"), ("transaction", "transaction_ref")):
        assert base.frames[table][column].is_unique().all()


@pytest.mark.parametrize("country", ["GB", "DE"])
def test_account_numbers_stay_distinct_and_valid_for_very_large_banks(country: str):
    ids = np.concatenate([np.arange(2_000), 10**8 + np.arange(2_000), 8 * 10**9 - np.arange(1, 2_000)])
    texts = home_ibans(Stream.root(1), np.full(len(ids), country == "DE"), ids)
    assert texts.is_unique().all()
    assert all(iban_judge.is_valid(t, check_country=False) for t in texts)


def test_checks_agree_with_stdnum_on_numbers_with_one_digit_changed():
    rng = np.random.default_rng(1)
    good = iban(rng.integers(0, 10**14, 300).astype(np.uint64), "GB").to_list()
    good += iban(rng.integers(0, 10**10, 300).astype(np.uint64), "NL").to_list()
    cards = luhn(rng.integers(0, 10**11, 300).astype(np.uint64), "9999", 16).to_list()

    def spoil(text: str) -> str:
        at = int(rng.integers(8, len(text)))
        return text[:at] + str((int(text[at]) + int(rng.integers(0, 10))) % 10) + text[at + 1 :]

    ibans, pans = [spoil(t) for t in good], [spoil(t) for t in cards]
    assert iban_broken(pl.Series(ibans)).tolist() == [not iban_judge.is_valid(t, check_country=False) for t in ibans]
    assert luhn_broken(pl.Series(pans)).tolist() == [not luhn_judge.is_valid(t) for t in pans]
    assert iban_broken(pl.Series(["", "GB", "gb12test", "DE00é"])).all()


def test_contacts_and_addresses_are_from_ranges_kept_for_examples(bank: Dataset):
    customer, device = bank.frames["customer"], bank.frames["device"]
    assert customer["email"].str.contains(r"@(example\.(com|net|org)|[a-z-]+\.example)$").all()
    assert customer["phone"].str.contains(r"^(\+44 7700 900\d{3}|\+49 0\d\d \d{7})$").all()
    kept = r"^(192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|198\.1[89]\.\d+\.)\d+$"
    assert device["ip"].str.contains(kept).all()
    assert device["ip"].str.split(".").list.eval(pl.element().cast(pl.Int64) <= 255).list.all().all()
