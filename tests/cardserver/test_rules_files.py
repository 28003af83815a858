"""Files of rules as editors write them: every kind is read the same way."""

from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cardserver.cli import app
from tests.cardserver.clearing.month import TERMS

KINDS = (("policy",), ("checks",), ("funding",), ("review", "rules"), ("clearing", "terms"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def rules(kind: tuple[str, ...]) -> str:
    """A file of a kind without a mistake: the one that comes with this software, if one does."""
    if kind == ("clearing", "terms"):
        return TERMS
    if kind == ("policy",):
        policies = resources.files("cardserver.benefits").joinpath("policies")
        names = sorted(one.name for one in policies.iterdir() if one.name.endswith(".toml"))
        return policies.joinpath(names[0]).read_text(encoding="utf-8")
    printed = run(*kind, "shipped")
    assert printed.exit_code == 0, printed.output
    return printed.output


@pytest.mark.parametrize("kind", KINDS)
def test_the_mark_that_windows_editors_write_first_is_no_mistake(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(rules(kind), encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    checked = run(*kind, "check", str(file))
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("kind", KINDS)
def test_another_encoding_is_a_mistake_and_named(kind: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes("# 规则\n".encode("gb18030"))
    checked = run(*kind, "check", str(file))
    assert checked.exit_code == 1
    assert "this is not UTF-8" in checked.output
