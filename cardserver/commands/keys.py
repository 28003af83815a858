"""`cardserver keys`: make, take in, rotate, list and destroy root keys, two custodians together.

No command shows a key. A component is one custodian's share, which alone says nothing of the key:
the exclusive-or of all is. Not here: how the keys are kept (`cards/*_keystore.py`).
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Annotated

import typer
from msgspec import json
from rich.table import Table

from cardserver import key_files
from cardserver.cards.file_keystore import FileKeyStore, read_passphrase
from cardserver.cards.keystore import (
    ALGORITHM_NAMES,
    EXTERNAL_USAGE,
    INTERNAL_USAGE,
    USAGES,
    KeyStoreError,
    RootKeyName,
    RootKeyRecord,
    RootKeyStore,
    check_key_value,
    check_value_of,
)
from cardserver.cards.keystore_choice import open_keystore
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError, record_custody
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Operator
from protocol.card.profiles.social_security_keys import Algorithm, CardKey

CUSTODIAN = "custodian"
_CUSTODIANS_MIN = 2
_CUSTODIANS_MAX = 3

app = typer.Typer(help="Root keys of cards; changes take two custodians. 卡根密钥")


class Usage(StrEnum):
    """What a root key is for."""

    IRK = INTERNAL_USAGE
    RKSSSE = EXTERNAL_USAGE


class Cipher(StrEnum):
    """A root key's cipher."""

    TRIPLE_DES = "3des"
    SSF33 = "ssf33"
    SM4 = "sm4"

    @property
    def algorithm(self) -> Algorithm:
        """The card's own number of it."""
        return next(one for one, name in ALGORITHM_NAMES.items() if name == self.value)


CipherOption = Annotated[Cipher, typer.Option("--algorithm", help="The key's cipher.")]
Custodians = Annotated[
    list[str],
    typer.Option(
        "--custodian", help="A custodian's operator number; two or three, each by this option."
    ),
]
PasswordFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--password-file",
        exists=True,
        dir_okay=False,
        help="A custodian's password, in the order of --custodian; else they are asked for.",
    ),
]


@app.command("list")
@fail_clearly
def list_keys(
    config_file: ConfigFile,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the root keys by name, with check value and age; never a key.

    列出根密钥：名称、校验值、年龄；不显示密钥。
    """
    with closing(open_keystore(load_config(config_file))) as store:
        records = store.records()
    today = _today()
    if as_json:
        typer.echo(json.format(json.encode([_words(one, today) for one in records])).decode())
        return
    table = Table("key", "usage", "algorithm", "version", "check value", "made", "age in days")
    for record in records:
        table.add_row(
            str(record.name), *(str(word) for word in list(_words(record, today).values())[1:])
        )
    wide_console().print(table)


@app.command("create")
@fail_clearly
def create(
    config_file: ConfigFile,
    *,
    cipher: CipherOption,
    custodians: Custodians,
    password_files: PasswordFiles = None,
) -> None:
    """Draw the first root keys of a cipher at random: one for each usage.

    随机生成某算法的首套根密钥（每种用途一个）。
    """
    names = [RootKeyName(usage, cipher.algorithm, 1) for usage in USAGES]
    _draw(config_file, names, "key created", custodians, password_files)


@app.command("rotate")
@fail_clearly
def rotate(
    config_file: ConfigFile,
    *,
    cipher: CipherOption,
    custodians: Custodians,
    password_files: PasswordFiles = None,
) -> None:
    """Draw the next version of a cipher's root keys; cards of the versions before go on.

    Keys that an issuer draws are rotated by importing theirs. Workers take them up when started
    again.

    轮换根密钥；旧版本密钥下的卡继续有效。
    """
    config = load_config(config_file)
    with closing(open_keystore(config)) as store:
        newest = max((_newest(store, usage, cipher.algorithm) for usage in USAGES), default=0)
        if not newest:
            store.check_algorithm(cipher.algorithm)
            raise KeyStoreError(f"there is no {cipher.value} root key to rotate: create it")
    names = [RootKeyName(usage, cipher.algorithm, newest + 1) for usage in USAGES]
    _draw(config_file, names, "key rotated", custodians, password_files)


@app.command("import")
@fail_clearly
def import_key(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    *,
    usage: Annotated[Usage, typer.Option(help="What the key is for.")],
    cipher: CipherOption,
    version: Annotated[
        int, typer.Option(min=0, max=255, help="The issuer's; 0 takes the next one.")
    ] = 0,
    custodians: Custodians,
    password_files: PasswordFiles = None,
    component_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--component-file",
            help="A custodian's component, 32 hex digits in a file of mode 0600, in the order of"
            " --custodian; else each is asked for.",
        ),
    ] = None,
    check_value: Annotated[
        str, typer.Option("--kcv", help="The whole key's check value as the issuer states it.")
    ] = "",
) -> None:
    """Take an issuer's root key in, in components: each custodian gives one, none sees the key.

    分量导入根密钥：每名保管人各输入一个分量。
    """
    config = load_config(config_file)
    _check_count(custodians)
    _check_matching(custodians, component_files, "--component-file")
    with closing(open_keystore(config, is_administered=True)) as store:
        store.check_algorithm(cipher.algorithm)
        name = RootKeyName(
            usage.value,
            cipher.algorithm,
            version or _newest(store, usage.value, cipher.algorithm) + 1,
        )
        if name in (record.name for record in store.records()):
            raise KeyStoreError(f"there is a root key {name} already")
        people = asyncio.run(_prove(config, custodians, password_files))
        components = [
            _component(
                cipher.algorithm, one.code, component_files[index] if component_files else None
            )
            for index, one in enumerate(people)
        ]
        value = CardKey(reduce(xor, each) for each in zip(*components, strict=True))
        check_key_value(cipher.algorithm, value)
        _compare(check_value_of(cipher.algorithm, value), check_value)
        asyncio.run(_record(config, people, "key imported", [name]))
        _tell([store.import_key(name, value, _today())])


@app.command("destroy")
@fail_clearly
def destroy(
    config_file: ConfigFile,
    name: Annotated[str, typer.Argument(help="The key's name, as IRK.3des.1.")],
    *,
    custodians: Custodians,
    password_files: PasswordFiles = None,
) -> None:
    """Remove a root key for ever; cards printed under it can't be verified any more.

    销毁根密钥；该版本下的卡将无法再验证。
    """
    config = load_config(config_file)
    parsed = RootKeyName.parse(name)
    _check_count(custodians)
    with closing(open_keystore(config, is_administered=True)) as store:
        if parsed not in (record.name for record in store.records()):
            raise KeyStoreError(f"there is no root key {name}")
        people = asyncio.run(_prove(config, custodians, password_files))
        asyncio.run(_record(config, people, "key destroyed", [parsed]))
        store.destroy(parsed)
    typer.echo(f"{name} is destroyed; what backups hold of it is yours to destroy")


@app.command("passphrase")
@fail_clearly
def change_passphrase(
    config_file: ConfigFile,
    new_passphrase_file: Annotated[
        Path, typer.Option(help="Holds the new one, of at least 16 characters; mode 0600.")
    ],
) -> None:
    """Have the files of root keys opened by another passphrase from now on.

    更换密钥库口令。
    """
    config = load_config(config_file)
    new = read_passphrase(new_passphrase_file)
    with closing(open_keystore(config)) as store:
        if not isinstance(store, FileKeyStore):
            raise KeyStoreError("the root keys are in a token: change its PIN with its own tool")
        file = config.path(config.cards.keys_passphrase_file)
        store.change_passphrase(read_passphrase(file), new)
    typer.echo(f"done: the new passphrase has to be in {file} before a worker starts again")


def _draw(
    config_file: Path,
    names: Sequence[RootKeyName],
    action: str,
    custodians: Sequence[str],
    password_files: Sequence[Path] | None,
) -> None:
    config = load_config(config_file)
    _check_count(custodians)
    with closing(open_keystore(config, is_administered=True)) as store:
        store.check_algorithm(names[0].algorithm)
        held = [record.name for record in store.records()]
        for name in names:
            if name in held:
                raise KeyStoreError(f"there is a root key {name} already: rotate")
        people = asyncio.run(_prove(config, custodians, password_files))
        asyncio.run(_record(config, people, action, names))
        _tell([store.create(name, _today()) for name in names])


def _check_count(custodians: Sequence[str]) -> None:
    if not _CUSTODIANS_MIN <= len(custodians) <= _CUSTODIANS_MAX:
        raise AdministrationError("two or three custodians act together 须由两至三名保管人共同操作")
    if len(set(custodians)) < len(custodians):
        raise AdministrationError("the custodians must be different people 保管人须为不同的人")


def _check_matching(custodians: Sequence[str], files: Sequence[Path] | None, option: str) -> None:
    if files and len(files) != len(custodians):
        raise AdministrationError(f"{option} is given once for each --custodian, in their order")


async def _prove(
    config: Config, custodians: Sequence[str], password_files: Sequence[Path] | None
) -> list[Operator]:
    _check_matching(custodians, password_files, "--password-file")
    async with open_database(config) as database:
        registry = Registry(database)
        return [
            await prove_operator(
                registry,
                code,
                password_of(code, password_files[index] if password_files else None),
                role=CUSTODIAN,
            )
            for index, code in enumerate(custodians)
        ]


async def _record(
    config: Config, people: Sequence[Operator], action: str, names: Sequence[RootKeyName]
) -> None:
    """Write the audit before the key: what was done is recorded, at worst also what failed."""
    async with open_database(config) as database:
        for name in names:
            await record_custody(
                database, people, action=action, subject=f"key {name}", actor=acting_user()
            )


def _component(algorithm: Algorithm, custodian: str, file: Path | None) -> CardKey:
    """Read one custodian's component, and show its check value for them to compare."""
    if file is not None:
        text = key_files.read_secret(file).decode("utf-8", errors="replace")
    else:
        text = typer.prompt(f"component of {custodian} 分量", hide_input=True, err=True)
    try:
        component = CardKey(bytes.fromhex(text.strip()))
    except ValueError:
        raise AdministrationError(f"the component of {custodian} is not 32 hex digits") from None
    try:
        check_key_value(Algorithm.SM4, component)  # of any cipher: the right size, not all the same
    except KeyStoreError as mistake:
        raise AdministrationError(f"the component of {custodian}: {mistake}") from mistake
    shown = check_value_of(algorithm, component).hex().upper()
    typer.echo(f"component of {custodian}: check value {shown}")
    if file is None and not typer.confirm("Is that the one on your letter? 与密钥函一致？"):
        raise AdministrationError("a component was mistyped; nothing was changed")
    return component


def _compare(check_value: bytes, stated: str) -> None:
    """Have the whole key's check value compared with what the issuer states."""
    shown = check_value.hex().upper()
    if not stated:
        stated = typer.prompt("check value of the whole key, as the issuer states it 校验值")
    if stated.strip().upper() != shown:
        raise AdministrationError(
            f"the components make a key of check value {shown}, and {stated} is stated:"
            " nothing was changed"
        )


def _newest(store: RootKeyStore, usage: str, algorithm: Algorithm) -> int:
    """Return the newest version of a key; 0 where there is none."""
    return max(
        (
            record.name.version
            for record in store.records()
            if (record.name.usage, record.name.algorithm) == (usage, algorithm)
        ),
        default=0,
    )


def _tell(records: Sequence[RootKeyRecord]) -> None:
    for record in records:
        typer.echo(f"{record.name}: check value {record.check_value.hex().upper()}")
    typer.echo("workers take it up when they are started again")


def _words(record: RootKeyRecord, today: dt.date) -> dict[str, str | int]:
    return {
        "key": str(record.name),
        "usage": record.name.usage,
        "algorithm": ALGORITHM_NAMES[record.name.algorithm],
        "version": record.name.version,
        "check_value": record.check_value.hex().upper(),
        "made": "" if record.made is None else record.made.isoformat(),
        "age_days": "" if record.made is None else (today - record.made).days,
    }


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
