"""What terminals/README.md promises."""

import datetime as dt
import re
from pathlib import Path

import msgspec
from typer.main import get_command

from terminals.bill_file import decode_bill
from terminals.cli import CounterCommands
from terminals.commands import visit
from terminals.config import TerminalConfig
from terminals.visit_file import load_lines

README = (Path(__file__).parents[2] / "terminals" / "README.md").read_text(encoding="utf-8")


def test_the_bill_in_it_is_a_bill() -> None:
    text, _lines = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    bill = decode_bill(text, is_toml=True, source="README.md")
    assert bill.total_fen == 2_760
    commented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert decode_bill(commented, is_toml=True, source="README.md").admitted is not None


def test_the_lines_in_it_are_lines(tmp_path: Path) -> None:
    _bill, text = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "lines.toml"
    file.write_text(text, encoding="utf-8")
    charge, refund = load_lines(file, today=dt.date(2026, 11, 22))
    assert (charge.date, refund.date) == (dt.date(2026, 11, 18), dt.date(2026, 11, 22))
    assert charge.gross_fen == -refund.gross_fen == 452


def test_every_key_of_the_configuration_is_described() -> None:
    described = set(re.findall(r"`([a-z_.]+)`", README))
    for section in msgspec.structs.fields(TerminalConfig):
        if section.name == "state_file":
            assert section.name in described
            continue
        for key in msgspec.structs.fields(section.type):
            name = f"{section.name}.{key.name}"
            is_pair = name.endswith("_max") and name.removesuffix("max") + "min" in described
            assert name in described or is_pair, name


def test_every_command_is_named() -> None:
    for command in CounterCommands.nouns:
        assert re.search(rf"`?(cardterminal )?{command}\b", README), command
    for command in get_command(visit.app).commands:  # type: ignore[attr-defined]
        assert f"visit {command}" in README, command


def test_every_file_of_the_room_is_named() -> None:
    for file in Path(__file__).parents[2].joinpath("terminals").glob("*.py"):
        if file.name != "__init__.py":
            assert f"`{file.name}`" in README, file.name
