"""Files of rules as they are typed after a command, whichever rules they hold."""

import json
from importlib import resources
from pathlib import Path

import pytest

from tests.cardserver.clearing.month import TERMS
from tests.in_process import command

CHECKS = (("checks", "check"), ("funding", "check"), ("review", "rules", "check"))
OTHERS = (("clearing", "terms", "check"), ("policy", "check"))


@pytest.mark.parametrize("words", CHECKS + OTHERS)
async def test_a_file_of_another_encoding_is_told_so(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes('title_zh = "医保"\n'.encode("gb18030"))
    done = await command("cardserver", *words, str(file), check=False)
    assert done.status == 1
    assert "$: this is not UTF-8" in done.output


@pytest.mark.parametrize("words", CHECKS)
async def test_a_mistake_is_named_alike_in_json(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("a = [", encoding="utf-8")
    done = await command("cardserver", *words, str(file), "--json", check=False)
    assert done.status == 1
    found = json.loads(done.output)
    assert found["file"] == str(file)
    assert found["identity"] == ""
    (mistake,) = found["mistakes"]
    assert mistake["path"] == "$"
    assert mistake["sentence"].startswith("this is not TOML")


async def rules(kind: tuple[str, ...]) -> str:
    """A file of a kind without a mistake: the one that comes with this software, if one does."""
    if kind == ("clearing", "terms"):
        return TERMS
    if kind == ("policy",):
        policies = resources.files("cardserver.benefits").joinpath("policies")
        names = sorted(one.name for one in policies.iterdir() if one.name.endswith(".toml"))
        return policies.joinpath(names[0]).read_text(encoding="utf-8")
    return (await command("cardserver", *kind, "shipped")).output


@pytest.mark.parametrize("words", CHECKS + OTHERS)
async def test_the_mark_that_windows_editors_write_first_is_no_mistake(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(await rules(words[:-1]), encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    await command("cardserver", *words, str(file))
