"""`cardserver keys` as custodians type it, on encrypted files and on a token."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cardserver.cards.keystore_choice import open_keystore
from cardserver.cli import app
from cardserver.config import load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.passwords import hash_password
from cardserver.registry.values import Actor
from ledger.bulk_store import plain
from ledger.database_store import Database
from tests.cardserver.cards.made_up_keys import (
    ANSWERS,
    DES,
    ROOT,
    SOFTHSM,
    TOKEN_PIN,
    answer_of,
    card,
)

PASSWORD = "made up for a test"
COMPONENTS = (bytes(range(100, 116)), bytes(range(7, 39, 2)))
AUDIT = (
    "SELECT operator_no, action, subject, detail FROM audit WHERE action LIKE 'key %'"
    " ORDER BY recorded_time_ms, seal_no, line"
)


def run(*arguments: object, status: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=answer)
    assert result.exit_code == status, result.output
    return result


def fetch(config_file: Path, statement: str) -> list[Any]:
    async def ask() -> list[Any]:
        config = load_config(config_file)
        database = Database.open(config.database_url, config.database_password)
        await database.start()
        try:
            return await database.fetch(plain("ask", postgresql=statement, sqlite=statement)())
        finally:
            await database.close()

    return asyncio.run(ask())


async def add_people(config_file: Path) -> None:
    config = load_config(config_file)
    database = Database.open(config.database_url, config.database_password)
    await database.start()
    for code, role in (("k1", "custodian"), ("k2", "custodian"), ("k3", "custodian"),
                       ("c1", "cashier")):  # fmt: skip
        await administration.add_operator(
            database, institution=None, code=code, name=code, role=role,
            password_hash=hash_password(PASSWORD), actor=Actor("tests", 1),
        )  # fmt: skip
    await database.close()


@pytest.fixture(scope="module")
def made_centre(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` made, as it is before each test."""
    directory = tmp_path_factory.mktemp("made") / "centre"
    run("init", directory)
    asyncio.run(add_people(directory / "cardserver.toml"))
    return directory


@pytest.fixture
def config(made_centre: Path, tmp_path: Path) -> Path:
    """A centre's configuration, with three custodians of the fund and a cashier."""
    directory = Path(shutil.copytree(made_centre, tmp_path / "centre"))
    return directory / "cardserver.toml"


@pytest.fixture
def token_config(config: Path, softhsm_token: str) -> Path:
    text = config.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("keys_")]
    section = f'[cards.token]\nlibrary = "{SOFTHSM}"\nlabel = "{softhsm_token}"\npin_file = "pin"\n'
    config.write_text("\n".join(lines) + "\n" + section, encoding="utf-8")
    config.with_name("pin").touch(mode=0o600)
    config.with_name("pin").write_text(TOKEN_PIN)
    store = open_keystore(load_config(config), is_administered=True)
    for record in store.records():
        store.destroy(record.name)
    store.close()
    return config


@pytest.fixture(params=["files", "token"])
def either_config(request: pytest.FixtureRequest) -> Path:
    """The configuration of a centre with a store of each kind."""
    found = request.getfixturevalue("config" if request.param == "files" else "token_config")
    assert isinstance(found, Path)
    return found


def people(config: Path, *codes: str, password: str = PASSWORD) -> list[object]:
    file = config.with_name("password")
    file.write_text(f"{password}\n")
    return [word for code in codes for word in ("--custodian", code, "--password-file", file)]


def components(config: Path, values: Sequence[bytes]) -> list[object]:
    words: list[object] = []
    for index, value in enumerate(values):
        file = config.with_name(f"component{index}")
        file.touch(mode=0o600)
        file.write_text(value.hex() + "\n")
        words += ["--component-file", file]
    return words


def keys(config: Path, command: str, *arguments: object, status: int = 0, **more: Any) -> Result:
    return run("keys", command, "--config", config, *arguments, status=status, **more)


def listed(config: Path) -> list[dict[str, Any]]:
    found = json.loads(keys(config, "list", "--json").stdout)
    assert isinstance(found, list)
    return found


def test_keys_are_created_rotated_listed_and_destroyed(either_config: Path) -> None:
    config = either_config
    two = people(config, "k1", "k2")
    assert listed(config) == []
    keys(config, "create", "--algorithm", "3des", *two)
    keys(config, "rotate", "--algorithm", "3des", *two)
    names = ["IRK.3des.1", "IRK.3des.2", "RKSSSE.3des.1", "RKSSSE.3des.2"]
    found = listed(config)
    assert [one["key"] for one in found] == names
    assert len({one["check_value"] for one in found}) == 4
    assert all(one["age_days"] == 0 and len(one["check_value"]) == 6 for one in found)
    table = keys(config, "list").stdout
    assert all(one["check_value"] in table for one in found)
    keys(config, "destroy", "IRK.3des.1", *two)
    assert [one["key"] for one in listed(config)] == names[1:]
    rows = fetch(config, AUDIT)
    assert [row[1] for row in rows] == (
        ["key created"] * 4 + ["key rotated"] * 4 + ["key destroyed"] * 2
    )
    assert {row[2] for row in rows[:4]} == {"key IRK.3des.1", "key RKSSSE.3des.1"}
    assert rows[0][0] != rows[1][0], "a row for each custodian"
    assert "with k2" in rows[0][3]
    assert "with k1" in rows[1][3]


@pytest.mark.parametrize("values", [COMPONENTS[:1], COMPONENTS])
def test_a_key_comes_in_by_components(either_config: Path, values: tuple[bytes, ...]) -> None:
    config = either_config
    last = bytes(ROOT)
    for value in values:
        last = bytes(a ^ b for a, b in zip(last, value, strict=True))
    given = [*values, last]
    result = keys(
        config, "import", "--usage", "IRK", "--algorithm", "3des", "--kcv", "ddada1",
        *people(config, *("k1", "k2", "k3")[: len(given)]), *components(config, given),
    )  # fmt: skip
    assert "IRK.3des.1: check value DDADA1" in result.output
    assert result.output.count("component of") == len(given)
    for value in (bytes(ROOT), *given):
        assert value.hex() not in result.output.lower()
    store = open_keystore(load_config(config))
    answer_of(store, card(DES), ANSWERS[DES])
    store.close()
    rows = fetch(config, AUDIT)
    assert len({row[0] for row in rows}) == len(given)
    assert {(row[1], row[2]) for row in rows} == {("key imported", "key IRK.3des.1")}


def test_components_and_passwords_are_asked_for(config: Path) -> None:
    given = (COMPONENTS[0], bytes(a ^ b for a, b in zip(ROOT, COMPONENTS[0], strict=True)))
    answer = f"{PASSWORD}\n{PASSWORD}\n{given[0].hex()}\ny\n{given[1].hex()}\ny\nDDADA1\n"
    arguments = ["--usage", "IRK", "--algorithm", "3des", "--version", "7",
                 "--custodian", "k1", "--custodian", "k2"]  # fmt: skip
    result = keys(config, "import", *arguments, answer=answer)
    assert [one["key"] for one in listed(config)] == ["IRK.3des.7"]
    assert given[0].hex() not in result.output
    assert PASSWORD not in result.output
    refused = answer.replace("y\n", "n\n", 1)
    arguments[5] = "8"
    assert "mistyped" in keys(config, "import", *arguments, answer=refused, status=1).output
    assert len(listed(config)) == 1


def test_another_check_value_changes_nothing(either_config: Path) -> None:
    config = either_config
    result = keys(
        config, "import", "--usage", "IRK", "--algorithm", "3des", "--kcv", "DDADA2",
        *people(config, "k1", "k2"), *components(config, COMPONENTS), status=1,
    )  # fmt: skip
    assert "DDADA2 is stated: nothing was changed" in result.output
    assert listed(config) == []
    assert fetch(config, AUDIT) == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([COMPONENTS[0], COMPONENTS[0]], "no key: all its bytes are the same"),
        ([COMPONENTS[0], bytes(16)], "component of k2: this is no key"),
        ([COMPONENTS[0], bytes(15)], "component of k2: a root key has 16 bytes"),
        ([COMPONENTS[0]], "once for each --custodian"),
    ],
)
def test_components_that_make_no_key_are_refused(
    config: Path, values: list[bytes], says: str
) -> None:
    result = keys(
        config, "import", "--usage", "IRK", "--algorithm", "sm4", "--kcv", "000000",
        *people(config, "k1", "k2"), *components(config, values), status=1,
    )  # fmt: skip
    assert says in result.output
    assert listed(config) == []


def test_a_component_that_others_can_read_is_refused(config: Path) -> None:
    words = components(config, COMPONENTS)
    config.with_name("component1").chmod(0o644)
    result = keys(
        config, "import", "--usage", "IRK", "--algorithm", "3des", "--kcv", "DDADA1",
        *people(config, "k1", "k2"), *words, status=1,
    )  # fmt: skip
    assert "open to others" in result.output


@pytest.mark.parametrize(
    ("codes", "password", "says"),
    [
        (["k1"], PASSWORD, "two or three custodians"),
        (["k1", "k1"], PASSWORD, "different people"),
        (["k1", "k2", "k3", "k4"], PASSWORD, "two or three custodians"),
        (["k1", "k9"], PASSWORD, "operator k9 of the fund: unknown"),
        (["k1", "c1"], PASSWORD, "operator c1 is a cashier, not a custodian"),
        (["k1", "f001"], PASSWORD, "another password"),
        (["k1", "k2"], "not the password", "another password"),
    ],
)
def test_nobody_changes_keys_alone(
    config: Path, codes: list[str], password: str, says: str
) -> None:
    who = people(config, *codes, password=password)
    for command in (
        ["create", "--algorithm", "3des"],
        ["import", "--usage", "IRK", "--algorithm", "3des", "--kcv", "DDADA1",
         *components(config, (COMPONENTS * 2)[: len(codes)])],
    ):  # fmt: skip
        assert says in keys(config, *command, *who, status=1).output
    assert listed(config) == []
    assert fetch(config, AUDIT) == []


def test_what_can_not_be_is_said_in_a_sentence(config: Path) -> None:
    two = people(config, "k1", "k2")
    for command, says in (
        (["create", "--algorithm", "ssf33"], "SSF33 has no public definition"),
        (["rotate", "--algorithm", "ssf33"], "SSF33 has no public definition"),
        (["rotate", "--algorithm", "sm4"], "no sm4 root key to rotate: create it"),
        (["destroy", "IRK.3des.1"], "there is no root key IRK.3des.1"),
        (["destroy", "IRK"], "is not named"),
    ):
        assert says in keys(config, *command, *two, status=1).output
    keys(config, "create", "--algorithm", "sm4", *two)
    assert "already" in keys(config, "create", "--algorithm", "sm4", *two, status=1).output


def test_a_token_refuses_sm4_and_has_no_passphrase(token_config: Path) -> None:
    two = people(token_config, "k1", "k2")
    result = keys(token_config, "create", "--algorithm", "sm4", *two, status=1)
    assert "derives card keys with 3DES only" in result.output
    new = token_config.with_name("new")
    new.touch(mode=0o600)
    new.write_text("made up for another test")
    result = keys(token_config, "passphrase", "--new-passphrase-file", new, status=1)
    assert "change its PIN with its own tool" in result.output


def test_a_new_passphrase_opens_the_same_keys(config: Path) -> None:
    keys(config, "create", "--algorithm", "3des", *people(config, "k1", "k2"))
    before = listed(config)
    new = config.with_name("new")
    new.touch(mode=0o600)
    new.write_text("made up for another test\n")
    keys(config, "passphrase", "--new-passphrase-file", new)
    assert "another passphrase" in keys(config, "list", status=1).output
    new.replace(config.with_name("card-keys.passphrase"))
    assert listed(config) == before


def test_neither_or_both_places_for_keys_are_a_mistake(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    section = '\n[cards.token]\nlibrary = "x"\nlabel = "y"\npin_file = "z"\n'
    config.write_text(text + section, encoding="utf-8")
    assert "one of the two - at `$.cards`" in keys(config, "list", status=1).output
    lines = [line for line in text.splitlines() if not line.startswith("keys_passphrase")]
    config.write_text("\n".join(lines), encoding="utf-8")
    assert "one of the two - at `$.cards`" in keys(config, "list", status=1).output
