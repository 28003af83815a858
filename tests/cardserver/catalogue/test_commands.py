"""`cardserver catalogue` as a person runs it, on both databases: in, reported, shown, out."""

import csv
import getpass
import json
import time
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cardserver.cli import app

Run = Callable[..., Result]
HEADER = "国家编码,名称,甲乙类,自付比例,生效日期,最高限价,三级限价,日限量\n"
GOOD = (
    "XA01BA001,阿莫西林胶囊,甲,,2026-01-01,12.5,15,\nXB02CD002,某某注射液,乙,10%,2026-01-01,,,3\n"
)
BAD = "XC03,坏药,甲,5%,2026-01-01,,,\nXC04,坏药,丁,,2026-01-01,,,\nXC05,坏药,甲,,2026-02-30,,,\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A new centre's `cardserver catalogue`."""
    arguments: list[str] = []
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres_cluster")
        arguments = ["--database", cluster.create_database(f"catalogue_{tmp_path.name}")]
    invoke("init", tmp_path / "centre", *arguments)

    def catalogue(*asked: object, status: int = 0) -> Result:
        config = tmp_path / "centre" / "cardserver.toml"
        return invoke("catalogue", *asked, "--config", config, status=status)

    return catalogue


def invoke(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == status, done.output
    return done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_in_and_every_rejected_row_reported(run: Run, tmp_path: Path) -> None:
    file, report = tmp_path / "a.csv", tmp_path / "report.csv"
    file.write_text(HEADER + GOOD + BAD, encoding="utf-8")
    tried = run("import", str(file), "--dry-run", status=1)
    assert "version 0: 2 rows would be added, 0 would be changed" in tried.stdout
    assert json.loads((run("versions", "--json")).stdout) == []

    done = run("import", str(file), "--report", str(report), "--rejections-max", "1", status=1)
    assert "version 1: 2 rows added, 0 changed, 0 unchanged, 3 rejected" in done.stdout
    assert "line 4: 自付比例: class A has no self-pay ratio" in done.stderr
    assert "2 more rows rejected" in done.stderr
    found = rows_of(report)
    assert [(row["line"], row["column"]) for row in found] == [
        ("4", "自付比例"), ("5", "甲乙类"), ("6", "生效日期"),
    ]  # fmt: skip
    assert all(row["reason"] for row in found)

    again = run("import", str(file), "--rejections-max", "0", status=1)
    assert "version 1: 0 rows added, 0 changed, 2 unchanged, 3 rejected" in again.stdout
    (version,) = json.loads((run("versions", "--json")).stdout)
    assert (version["version"], version["actor"], version["source"]) == (
        1, getpass.getuser(), "a.csv",
    )  # fmt: skip


def test_corrections_keep_their_history(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(HEADER + GOOD, encoding="utf-8")
    run("import", str(file))
    file = tmp_path / "b.csv"
    file.write_text(
        HEADER.replace("甲乙类", "甲乙类,作废") + "XA01BA001,阿莫西林,甲,,,2026-01-01,13,16,\n"
        "XA01BA001,阿莫西林,甲,,,2027-01-01,1300,,\nXB02CD002,?,乙,1,10%,2026-01-01,,,\n",
        encoding="utf-8",
    )
    jumped = run("import", str(file), status=1)
    assert "--accept-jumps takes it" in jumped.stderr
    accepted = run("import", str(file), "--accept-jumps")
    assert "version 3: 1 rows added, 0 changed, 2 unchanged, 0 rejected" in accepted.stdout

    shown = json.loads((run("show", "XA01BA001", "--date", "2026-06-01", "--json")).stdout)
    limits = [level["price_limit_microyuan"] for level in shown["levels"]]
    assert limits == [13_000_000, 13_000_000, 13_000_000, 16_000_000]
    assert [(one["version"], one["source"], one["row"]["begins"]) for one in shown["history"]] == [
        (1, "a.csv", 20260101), (2, "b.csv", 20260101), (3, "b.csv", 20270101),
    ]  # fmt: skip
    told = run("show", "XA01BA001", "--date", "2027-01-01")
    assert "甲 A" in told.stdout
    assert "1300" in told.stdout
    gone = run("show", "XB02CD002", "--date", "2026-06-01")
    assert "is not in the catalogue on 20260601" in gone.stdout
    assert "is_struck 1" in gone.stdout
    for wrong in (("XZ99",), ("XA01BA001", "--date", "1.1.2026")):
        assert (run("show", *wrong, status=1)).stderr.startswith("cardserver: ")


def test_a_spreadsheet_in_and_everything_out_again(run: Run, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for line in (HEADER + GOOD).splitlines():
        book.active.append([float(cell) if cell == "12.5" else cell for cell in line.split(",")])
    book.save(tmp_path / "a.xlsx")
    done = run("import", str(tmp_path / "a.xlsx"))
    assert "2 rows added" in done.stdout
    for name in ("out.csv", "out.xlsx"):
        run("export", str(tmp_path / name))
        again = run("import", str(tmp_path / name))
        assert "version 1: 0 rows added, 0 changed, 2 unchanged, 0 rejected" in again.stdout
    first, second = rows_of(tmp_path / "out.csv")
    assert (first["item"], first["price_limit_3_microyuan"]) == ("XA01BA001", "15000000")
    assert (second["self_pay_ratio_e4"], second["daily_quantity_max_e4"]) == ("1000", "30000")


def test_what_is_shown_is_exact_and_in_the_funds_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the zone of the computer: on an evening's import in UTC it is the next day."""
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "XA01,药,甲,,2026-01-01,1234567.89,,\n", encoding="utf-8")
    monkeypatch.setattr(time, "time_ns", lambda: 1_798_732_800_000_000_000)  # 31 Dec 2026, 16:00
    run("import", str(file))
    shown = run("show", "XA01").stdout
    assert "20270101: 甲 A" in shown
    assert "药店 pharmacy 1234567.89, 1 1234567.89" in shown
    assert "2027-01-01 00:00:00" in shown
    assert "2027-01-01 00:00:00" in run("versions").stdout
    file.write_text(HEADER + "XA01,药,甲,,2026-01-02,12345.6789,,\n", encoding="utf-8")
    refused = run("import", str(file), status=1)
    assert "from 1234567.89 to 12345.6789 yuan" in refused.stderr


def test_files_that_are_none(run: Run, tmp_path: Path) -> None:
    for name, content, said in (
        ("a.csv", b"item,name\n", "there is no column begins"),
        ("b.csv", b"", "empty"),
        ("c.xlsx", b"PK", "not an XLSX file"),
        ("d.ods", b"", "expected a name in .csv or .xlsx"),
        ("e.csv", "国家编码\n".encode("gb18030"), "--encoding gb18030"),
    ):
        (tmp_path / name).write_bytes(content)
        done = run("import", str(tmp_path / name), status=1)
        assert done.stderr.count("cardserver: ") == 1
        assert said in done.stderr
    assert json.loads((run("versions", "--json")).stdout) == []


def test_own_codes_of_an_institution(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    (folder / "institutions.csv").write_text(
        "institution_no,code,name,kind,level,state,contract_begins,contract_ends\n"
        "1,H11019900001,医院,1,3,1,20200101,99991231\n",
        encoding="utf-8",
    )
    config = tmp_path / "centre" / "cardserver.toml"
    invoke("registry", "import", "--config", config, folder)
    (tmp_path / "a.csv").write_text(HEADER + GOOD, encoding="utf-8")
    run("import", str(tmp_path / "a.csv"))
    (tmp_path / "map.csv").write_text(
        "院内编码,国家编码,生效日期,院内名称\nYP1,XA01BA001,20260101,阿莫\nYP2,XX,20260101,\n",
        encoding="utf-8",
    )
    own = ("--institution", "H11019900001")
    nobody = run("map", "import", str(tmp_path / "map.csv"), status=1)
    assert "whose code is it" in nobody.stderr
    done = run("map", "import", str(tmp_path / "map.csv"), *own, status=1)
    assert "mapping version 1: 1 rows added, 0 changed, 0 unchanged, 1 rejected" in done.stdout
    again = run("map", "import", str(tmp_path / "map.csv"), *own, status=1)
    assert "version 1: 0 rows added, 0 changed, 1 unchanged" in again.stdout
    shown = json.loads((run("map", "show", "H11019900001", "YP1", "--json")).stdout)
    assert [(one["version"], one["row"]["item"]) for one in shown] == [(1, "XA01BA001")]
    assert "item XA01BA001" in run("map", "show", "H11019900001", "YP1").stdout
    (version,) = json.loads((run("versions", "--mapping", "--json")).stdout)
    assert version["source"] == "map.csv"
    for wrong in (("H11019900001", "YP9"), ("H11019900009", "YP1")):
        assert (run("map", "show", *wrong, status=1)).stderr.startswith("cardserver: ")
    unknown = ("--institution", "H11019900009")
    assert (
        "there is no institution"
        in (run("map", "import", str(tmp_path / "map.csv"), *unknown, status=1)).stderr
    )
