"""Every attempt, state and event has its words in both languages."""

import ast
import re
from pathlib import Path

import pytest

import terminals
from protocol.terminal.codes import ResponseCode
from terminals.attempts import VISIT_TYPES
from terminals.commands.attempt_words import ENDED_BY, EVENTS, STATES, TYPES
from terminals.journal import JOURNAL_TYPES
from terminals.outbox import AttemptState

ROOM = Path(terminals.__file__).parent
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_ENGLISH = re.compile(r"[A-Za-z]{2}")


@pytest.mark.parametrize("words", [TYPES, STATES, ENDED_BY, EVENTS])
def test_words_are_in_both_languages(words: dict[object, str]) -> None:
    assert all(_CHINESE.search(one) and _ENGLISH.search(one) for one in words.values())


def test_nothing_of_an_attempt_is_without_words() -> None:
    assert set(STATES) == set(AttemptState)
    assert VISIT_TYPES | set(JOURNAL_TYPES) <= set(TYPES)
    written = _words_noted("outbox.py", "_note") | {state.value for state in AttemptState}
    assert written - {"pending", "unknown"} == set(EVENTS)


def test_every_code_has_both_languages() -> None:
    for code in ResponseCode:
        assert _CHINESE.search(code.text_zh), code
        assert _ENGLISH.search(code.text_en), code


def test_every_fault_of_a_command_has_both_languages() -> None:
    """`fault(zh, en)`: what went wrong on this machine."""
    calls = 0
    for file in (ROOM / "commands").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "fault":
                zh, en = (ast.unparse(one) for one in call.args[:2])
                assert _CHINESE.search(zh) or "text_zh" in zh, (file.name, zh)
                assert _ENGLISH.search(en), (file.name, en)
                calls += 1
    assert calls > 20


def _words_noted(file: str, function: str) -> set[str]:
    """Give the literal fourth argument of a function's calls in a file of this room."""
    tree = ast.parse((ROOM / file).read_text(encoding="utf-8"))
    return {
        call.args[3].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == function
        and isinstance(call.args[3], ast.Constant)
        and isinstance(call.args[3].value, str)
    }
