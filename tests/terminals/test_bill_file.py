"""Bills from files: exact amounts, and mistakes with their path."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.bill_file import BillFileError, decode_bill, load_bill

TOML = """
invono = "INV-1"
[[lines]]
med_list_codg = "XB05BA"
pric = 4.52
cnt = 3
[[lines]]
med_list_codg = "ZA01"
name = "gauze"
pric = 0.333333
cnt = 1.5
"""


def test_toml_and_json_say_the_same() -> None:
    document = {
        "invono": "INV-1",
        "lines": [
            {"med_list_codg": "XB05BA", "pric": 4.52, "cnt": 3},
            {"med_list_codg": "ZA01", "name": "gauze", "pric": 0.333333, "cnt": 1.5},
        ],
    }
    bill = decode_bill(TOML, is_toml=True, source="b.toml")
    assert bill == decode_bill(json.dumps(document), is_toml=False, source="b.json")
    assert (bill.insutype, bill.med_type, bill.uses_account) == ("310", "11", True)
    assert [line.gross_fen for line in bill.lines] == [1_356, 50]
    assert bill.lines[0].name == "XB05BA"
    assert bill.total_fen == 1_406


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("lines = []", r"\$\.lines"),
        ('[[lines]]\nmed_list_codg = "X"\npric = 1.234', None),
        ('[[lines]]\nmed_list_codg = "X"\npric = 1.2345678', r"\$\.lines\[0\]\.pric"),
        ('[[lines]]\nmed_list_codg = "X"\npric = -1', r"\$\.lines\[0\]\.pric"),
        ('[[lines]]\nmed_list_codg = "X"\npric = nan', r"\$\.lines\[0\]\.pric"),
        ('[[lines]]\nmed_list_codg = "X"\npric = true', r"\$\.lines\[0\]\.pric"),
        ('[[lines]]\nmed_list_codg = "X"\npric = 1\ncount = 2', "unknown field `count`"),
        ('medfee_sumamt = 2\n[[lines]]\nmed_list_codg = "X"\npric = 1', r"\$\.medfee_sumamt"),
        ("no toml", "b.toml"),
    ],
)
def test_mistakes_name_their_path(text: str, error: str | None) -> None:
    if error is None:
        assert decode_bill(text, is_toml=True, source="b.toml").total_fen == 123
        return
    with pytest.raises(BillFileError, match=error):
        decode_bill(text, is_toml=True, source="b.toml")


@given(st.text(max_size=200), st.booleans())
def test_garbage_is_a_bill_or_an_error(text: str, is_toml: bool) -> None:  # noqa: FBT001
    with contextlib.suppress(BillFileError):
        decode_bill(text, is_toml=is_toml, source="b")


def test_a_file_that_is_absent_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(BillFileError):
        load_bill(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BillFileError):
        load_bill(tmp_path / "binary.toml")


def test_a_bill_as_windows_editors_write_it(tmp_path: Path) -> None:
    file = tmp_path / "bill.toml"
    file.write_bytes(b"\xef\xbb\xbf" + b'[[lines]]\r\nmed_list_codg = "D1"\r\npric = 4.52\r\n')
    assert load_bill(file).total_fen == 452
