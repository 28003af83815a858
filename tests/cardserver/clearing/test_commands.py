"""A month cleared by its officer and signatories at the command line, on both databases."""

import asyncio
import csv
import datetime as dt
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from pypdf import PdfReader
from typer.testing import CliRunner, Result

from cardserver.cli import app
from ledger.accounts import Account
from ledger.calendar import period_after
from ledger.database_store import Database
from ledger.entries import EntryKind
from tests.cardserver.claims.books import config_for
from tests.cardserver.clearing.bank import answer
from tests.cardserver.clearing.month import (
    CODES,
    COMMUNITY,
    HOSPITAL,
    INPATIENT,
    PHARMACY,
    PHARMACY_TYPE,
    SHANGHAI,
    TERMS,
    Fund,
    open_fund,
)
from tests.cities import ON_POSTGRESQL, ON_SQLITE

REGION = "110199"


def last_month() -> int:
    today = dt.datetime.now(tz=SHANGHAI)
    return today.year * 100 + today.month - 1 if today.month > 1 else (today.year - 1) * 100 + 12


MONTH = last_month()
BEFORE = MONTH - 1 if MONTH % 100 > 1 else MONTH - 89


@dataclass
class Office:
    """A centre's configuration, and the operators of its office."""

    config: Path
    folder: Path

    def run(self, *words: object, status: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == status, result.output
        return result

    def clearing(self, *words: object, by: str = "", status: int = 0) -> Result:
        *names, last = self._named(words)
        acting = ["--by", by, "--password-file", self.folder / by] if by else []
        return self.run(*names, "--config", self.config, *last, *acting, status=status)

    def _named(self, words: tuple[object, ...]) -> tuple[object, ...]:
        """Put a command's own words last."""
        if words[1] in {"run", "close"}:
            words = (*words, "--despite", "a test")
        count = 3 if words[1] in {"hold", "terms", "payments"} else 2
        return (*words[:count], words[count:])

    def hire(self, code: str, role: str) -> None:
        password = self.folder / code
        password.write_text(f"made up for {code}", encoding="utf-8")
        self.run("registry", "operator", "add", code, "--config", self.config, "--name", "李雷",
                 "--role", role, "--password-file", password)  # fmt: skip


async def fill(url: str) -> None:
    database = Database.open(url)
    await database.start()
    async with open_fund(database, "") as fund:
        fund.clock.be(BEFORE * 100 + 20)
        number = await fund.settle(HOSPITAL, 50_000)
        await fill_month(fund, number)
    await database.close()


async def fill_month(fund: Fund, number: int) -> None:
    fund.clock.be(MONTH * 100 + 3)
    await fund.settle(HOSPITAL, 100_000)
    await fund.settle(HOSPITAL, 1_200_000, clearing_type=INPATIENT, insutype=390)
    await fund.undo(number, EntryKind.REFUND)
    fund.clock.be(MONTH * 100 + 4)
    await fund.settle(COMMUNITY, 60_000)
    await fund.settle(PHARMACY, 4_000, clearing_type=PHARMACY_TYPE)


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Office:
    folder = tmp_path / "office"
    made = Office(config_for(database_url, folder), folder)
    asyncio.run(fill(database_url))
    made.hire("f001", "clearing_officer")
    for code in ("s001", "s002"):
        made.hire(code, "signatory")
    terms = folder / "terms.toml"
    terms.write_text(TERMS, encoding="utf-8")
    made.clearing("clearing", "terms", "activate", terms, by="f001")
    for month in (BEFORE, MONTH):
        made.clearing("period", "close", month, by="f001")
    return made


@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
def test_a_month_from_its_close_to_the_banks_report(office: Office, tmp_path: Path) -> None:
    office.clearing("clearing", "run", BEFORE, by="f001")
    shown = json.loads(office.clearing("clearing", "preview", MONTH, "--json").stdout)
    assert [(one["institution"], one["clearing_type"]) for one in shown["to_clear"]] == [
        (CODES[HOSPITAL], 11), (CODES[HOSPITAL], 21), (CODES[COMMUNITY], 11),
        (CODES[PHARMACY], 41),
    ]  # fmt: skip
    assert shown["to_clear"][0]["earlier_fen"] == -50_000
    read = office.clearing("clearing", "preview", MONTH).stdout
    assert "…" not in read  # no figure and no code is cut, however wide the table is
    assert CODES[PHARMACY] in read
    assert "12,000.00" in read
    office.clearing("clearing", "hold", "begin", CODES[COMMUNITY], "--reason", "asked", by="f001")
    assert "held" in office.clearing("clearing", "run", MONTH, by="f001").output
    office.clearing("clearing", "hold", "release", CODES[COMMUNITY], "--reason", "ok", by="f001")
    report = json.loads(office.clearing("clearing", "run", MONTH, "--json", by="f001").stdout)
    assert report["cleared"] == 1
    cleared = json.loads(office.clearing("clearing", "show", MONTH, "--json").stdout)
    assert len(cleared) == 4
    assert all(
        one["applied_fen"]
        == one["paid_fen"] + one["withheld_fen"] + one["review_fen"] + one["cap_fen"]
        for one in cleared
    )
    total_fen = sum(one["paid_fen"] for one in cleared) + 48_750
    pay_and_confirm(office, tmp_path, total_fen)
    balance = json.loads(office.run("trial-balance", "--config", office.config, "--json").stdout)
    assert balance["is_equal"]
    held = {one["account"]: one["balance_fen"] for one in balance["accounts"]}
    assert held[Account.FISCAL_DEPOSIT] == -total_fen
    assert held[Account.INSTITUTION_PAYABLE] == held[Account.PAYMENTS_UNDER_WAY] == 0


def pay_and_confirm(office: Office, folder: Path, total_fen: int) -> None:
    summary, file = folder / "summary.pdf", folder / "pain.xml"
    made = office.clearing("clearing", "payments", "make", "--summary", summary, by="f001")
    digits = made.output.split("sha256 ")[1].strip()
    printed = "".join(PdfReader(summary).pages[0].extract_text().split())
    assert digits in printed
    assert "付款汇总单" in printed
    assert f"{total_fen // 100:,}.{total_fen % 100:02d}" in printed
    office.clearing("clearing", "payments", "file", 1, "--out", file, status=1)
    office.clearing("clearing", "payments", "sign", 1, "--hash", digits, by="f001", status=1)
    office.clearing("clearing", "payments", "sign", 1, "--hash", digits, by="s001")
    office.clearing("clearing", "payments", "file", 1, "--out", file)
    assert b"pain.001.001.09" in file.read_bytes()
    report = folder / "pain002.xml"
    report.write_bytes(answer(1, REGION, {}, group="ACSC"))
    assert "3 confirmed" in office.clearing(
        "clearing", "payments", "confirm", report, by="f001"
    ).output  # fmt: skip
    shown = json.loads(office.clearing("clearing", "payments", "show", 1, "--json").stdout)
    assert {one["state"] for one in shown} == {"confirmed"}
    assert sum(one["amount_fen"] for one in shown) == total_fen
    runs = json.loads(office.clearing("clearing", "payments", "list", "--json").stdout)
    assert [(one["run"], one["signatures"], one["wanted"]) for one in runs] == [(1, 1, 1)]


@pytest.mark.parametrize("database_url", ON_SQLITE, indirect=True)
def test_statements_of_all_institutions(office: Office, tmp_path: Path) -> None:
    for month in (BEFORE, MONTH):
        office.clearing("clearing", "run", month, by="f001")
    out = tmp_path / "statements"
    office.clearing("clearing", "statement", MONTH, "--out", out)
    assert len(list(out.iterdir())) == 9
    name = f"{CODES[HOSPITAL]}-{MONTH}"
    (page,) = PdfReader(out / f"{name}.pdf").pages
    text = page.extract_text()
    for words in ("第一医院", "月度清算单", "保证金 withheld", "11,700.00", "住院"):
        assert words in text, words
    rows = list(csv.reader(io.StringIO((out / f"{name}-entries.csv").read_text("utf-8-sig"))))
    assert [row[2:5] for row in rows[1:]] == [
        ["11", "结算 settlement", "1000.00"],
        ["21", "结算 settlement", "12000.00"],
        ["11", "退费 refund", "-500.00"],
    ]
    assert rows[3][6] == f"{BEFORE // 100}-{BEFORE % 100:02d}"
    clearing = list(csv.reader(io.StringIO((out / f"{name}.csv").read_text("utf-8-sig"))))
    assert clearing[1][8] == "500.00"
    fonts = page["/Resources"]["/Font"]
    names = {str(font.get_object()["/BaseFont"]) for font in fonts.values()}
    assert any("+" in one and "WenQuanYi" in one for one in names)  # a part of it, embedded
    before = (out / f"{name}.pdf").read_bytes()
    office.clearing("clearing", "statement", MONTH, "--out", out, "--no-entries")
    assert (out / f"{name}.pdf").read_bytes() == before


@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
def test_periods_are_listed_and_closed_in_order(office: Office) -> None:
    listed = json.loads(office.clearing("period", "list", "--json").stdout)
    assert [one["period"] for one in listed] == [BEFORE, MONTH]
    assert all(one["closed_time_ms"] for one in listed)
    late = office.clearing(
        "period", "close", period_after(period_after(MONTH)), by="f001", status=1
    )
    assert "has not begun" in late.output
    assert "closed before" in office.clearing("period", "close", MONTH, by="f001").output


@pytest.mark.parametrize("database_url", ON_SQLITE, indirect=True)
def test_a_month_with_open_reviews_is_closed_only_with_a_reason(office: Office) -> None:
    words = (
        "period",
        "close",
        "--config",
        office.config,
        MONTH + 1 if MONTH % 100 < 12 else MONTH + 89,
    )
    acting = ("--by", "f001", "--password-file", office.folder / "f001", "--early")
    refused = office.run(*words, *acting, status=1)
    assert "review was not opened" in refused.output
    closed = office.run(*words, *acting, "--despite", "nothing was settled")
    assert "closed 已结账" in closed.output
    assert "review was not opened" in closed.output


@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
def test_only_a_clearing_officer_with_the_password_clears(office: Office) -> None:
    (office.folder / "f001").write_text("another", encoding="utf-8")
    refused = office.clearing("clearing", "run", BEFORE, by="f001", status=1)
    assert "another password" in refused.output
    refused = office.clearing("clearing", "run", BEFORE, by="s001", status=1)
    assert "is a signatory" in refused.output


@pytest.mark.parametrize("database_url", ON_SQLITE, indirect=True)
def test_terms_with_mistakes_are_refused_with_their_paths(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        TERMS.replace('"2.5"', '"250"').replace("103100000026", "1031")
        + '[[caps]]\ninstitution = "X9"\nclearing_type = 12\nper = "week"\namount = 1\n',
        encoding="utf-8",
    )
    office.run("clearing", "terms", "check", file, status=1)
    file.write_text(file.read_text("utf-8").replace('"week"', '"year"'), encoding="utf-8")
    checked = office.run("clearing", "terms", "check", file, "--json", status=1)
    paths = [one["path"] for one in json.loads(checked.stdout)["mistakes"]]
    assert paths == [
        "$.institutions[0].deposit_percent", "$.institutions[0].account.bank",
        "$.caps[0].clearing_type",
    ]  # fmt: skip
    file.write_text(TERMS.replace("P11019900003", "P11019900009"), encoding="utf-8")
    refused = office.clearing("clearing", "terms", "activate", file, by="f001", status=1)
    assert "P11019900009" in refused.output
