"""What a command says when it can't."""

from importlib import import_module

import pytest
import typer

from cardserver.commands import faults
from cardserver.commands.faults import fail_clearly
from cardserver.config import ConfigError


@pytest.mark.parametrize(("file", "name"), faults._EXPECTED.items())
def test_a_family_of_errors_is_where_the_table_says(file: str, name: str) -> None:
    error = getattr(import_module(file), name)
    assert issubclass(error, Exception)
    assert error.__module__ == file
    assert error in faults._expected()


@fail_clearly
def fails(error: Exception) -> None:
    raise error


def test_what_an_operator_can_mend_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fails(ConfigError("it has no such key"))
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "cardserver: it has no such key\n"


def test_so_is_what_tasks_found(capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("", [ConfigError("one"), ConfigError("two")])
    with pytest.raises(typer.Exit):
        fails(ExceptionGroup("", [inner]))
    assert capsys.readouterr().err == "cardserver: one\ncardserver: two\n"


@pytest.mark.parametrize(
    "fault", [ValueError("ours"), ExceptionGroup("", [ConfigError("theirs"), ValueError("ours")])]
)
def test_a_fault_of_ours_keeps_its_trace(fault: Exception) -> None:
    with pytest.raises(type(fault)):
        fails(fault)
