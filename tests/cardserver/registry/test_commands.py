"""The commands that make and keep a centre, as an administrator types them."""

import asyncio
import csv
import datetime as dt
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner, Result

from cardserver import authority
from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.cards.keystore import check_value_of
from cardserver.cards.keystore_choice import open_keystore
from cardserver.cli import app
from cardserver.config import load_config
from cardserver.registry.passwords import verify_password
from cardserver.registry.registry_store import Registry
from ledger.bulk_store import plain
from ledger.database_store import Database
from protocol.card.profiles.social_security_keys import CardKey
from simulators.population.city import MADE_UP_REGION
from simulators.postgres import PostgreSQLCluster
from tests.cities import ON_POSTGRESQL

INSTITUTION = "H11019900001"
Run = Callable[..., Result]


def run(*arguments: object, status: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=answer)
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def centre(tmp_path: Path) -> Path:
    """A new centre on SQLite."""
    directory = tmp_path / "centre"
    run("init", directory)
    return directory


@pytest.fixture
def config(centre: Path) -> Path:
    return centre / "cardserver.toml"


@pytest.fixture
def village(config: Path, made_up_village: Path) -> Path:
    """A new centre's configuration, with a made-up village loaded."""
    run("registry", "import", "--config", config, made_up_village)
    return config


def request_file(tmp_path: Path, name: str = "terminal.csr") -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terminal")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    file = tmp_path / name
    file.write_bytes(request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


def enrol(config: Path, request: Path, out: Path, *, status: int = 0, **changes: str) -> Result:
    named = {"institution": INSTITUTION, "terminal": "T01", **changes}
    options = [word for name, value in named.items() for word in (f"--{name}", value)]
    arguments = ["--config", config, *options, "--request", request, "--out", out]
    return run("enrol-terminal", *arguments, status=status)


def ask(config_file: Path, question: Callable[[Registry], object]) -> object:
    async def with_registry() -> object:
        config = load_config(config_file)
        database = Database.open(config.database_url, config.database_password)
        await database.start()
        try:
            return await question(Registry(database))  # type: ignore[misc]
        finally:
            await database.close()

    return asyncio.run(with_registry())


# --- init ---------------------------------------------------------------------------------------


def test_a_new_centre_is_complete_and_its_secrets_are_its_owners(centre: Path) -> None:
    config = load_config(centre / "cardserver.toml")
    assert config.fund.region == MADE_UP_REGION
    assert config.cards.issuers == (MADE_UP_REGION,)
    for name in (
        config.listener.certificate_file, config.listener.key_file,
        config.listener.terminal_ca_file, config.cards.session_secret_file,
        config.cards.keys_passphrase_file, "cardserver.db", "operators.txt",
    ):  # fmt: skip
        assert config.path(name).is_file()
    store = open_keystore(config)
    assert store.records() == []
    store.close()
    assert not (centre / "test-card-keys").exists()
    public = {
        "cardserver.toml", "server.crt", "authority/authority.crt", "broker/broker.crt",
        "broker/centre.crt", "broker/mosquitto.conf", "broker/access.acl",
    }  # fmt: skip
    files = {str(path.relative_to(centre)): path for path in centre.rglob("*")}
    assert set(files) >= public | {"broker/broker.key", "broker/centre.key"}
    for name, path in files.items():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o644 if name in public else 0o600), path


def test_a_made_up_citys_root_keys_are_in_the_store_and_in_the_clear(tmp_path: Path) -> None:
    directory = tmp_path / "centre"
    assert "to print made-up cards from" in run("init", directory, "--with-test-card-keys").output
    files = sorted((directory / "test-card-keys").iterdir())
    assert [file.name for file in files] == [
        "IRK.3des.1.key", "IRK.sm4.1.key", "RKSSSE.3des.1.key", "RKSSSE.sm4.1.key",
    ]  # fmt: skip
    assert len({file.read_bytes() for file in files}) == 4
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    store = open_keystore(load_config(directory / "cardserver.toml"))
    for record in store.records():
        value = CardKey((directory / "test-card-keys" / f"{record.name}.key").read_bytes())
        assert record.check_value == check_value_of(record.name.algorithm, value)
    assert [f"{record.name}.key" for record in store.records()] == [file.name for file in files]
    store.close()


def test_the_shipped_policy_applies_to_the_made_up_city(config: Path) -> None:
    texts = ask(config, lambda registry: registry.policies())
    assert isinstance(texts, list)
    book = PolicyBook([load_policy(text) for text in texts])
    assert book.find("310", MADE_UP_REGION, "11", 20260701) is not None
    assert book.find("310", MADE_UP_REGION, "21", 20260701) is not None


def test_where_no_policy_applies_init_says_so(tmp_path: Path) -> None:
    result = run("init", tmp_path / "centre", "--region", "639900")
    assert "no shipped policy applies to region 639900" in result.output


def test_the_funds_two_operators_have_the_passwords_written_down(config: Path) -> None:
    lines = (config.parent / "operators.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["f001", "f002"]
    for line in lines:
        code, password = line.split()

        async def check(registry: Registry, code: str = code, password: str = password) -> bool:
            operator = await registry.operator(0, code)
            assert operator is not None
            assert operator.role == "resolver"
            return await verify_password(operator.password_hash, password)

        assert ask(config, check)


def test_a_folder_in_use_is_left_alone(centre: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in centre.rglob("*") if path.is_file()}
    result = run("init", centre, status=1)
    assert "not empty" in result.output
    assert {path: path.read_bytes() for path in centre.rglob("*") if path.is_file()} == before
    (tmp_path / "file").touch()
    assert "not empty" in run("init", tmp_path / "file", status=1).output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--database", "postgresql+asyncpg://me:secret@host/db"], "does not belong into the URL"),
        (["--database", "postgresql+asyncpg://me@/db?password=secret"], "into the URL"),
        (["--region", "11019"], "six digits"),
        (["--name", "中心"], "ASCII"),
        (["--database", "postgresql+asyncpg://me@/db?host=/nowhere"], "onnect"),
    ],
)
def test_a_failed_init_leaves_nothing(tmp_path: Path, options: list[str], expected: str) -> None:
    directory = tmp_path / "below" / "centre"
    result = run("init", directory, *options, status=1)
    assert expected in result.output
    assert "secret" not in result.output
    assert not directory.exists()
    assert not list(tmp_path.rglob("*.key"))


def test_a_folder_that_can_not_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "can't be made" in run("init", tmp_path / "file" / "centre", status=1).output


def test_an_empty_folder_that_is_there_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "centre").mkdir()
    monkeypatch.chdir(tmp_path / "centre")
    run("init", ".")
    assert load_config(tmp_path / "centre" / "cardserver.toml").listener.port == 7443


def test_the_centre_is_called_by_the_names_that_were_given(tmp_path: Path) -> None:
    names = ["--name", "centre.example", "--name", "192.0.2.7"]
    run("init", tmp_path / "centre", *names, "--host", "0.0.0.0", "--port", "7000")
    config = load_config(tmp_path / "centre" / "cardserver.toml")
    assert (config.listener.host, config.listener.port) == ("0.0.0.0", 7000)
    certificate = x509.load_pem_x509_certificate((tmp_path / "centre/server.crt").read_bytes())
    called = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in called} == {
        "centre.example", "192.0.2.7", "localhost", "127.0.0.1", "::1",
    }  # fmt: skip


def test_a_centre_on_postgresql(
    tmp_path: Path, postgres_cluster: PostgreSQLCluster, made_up_village: Path
) -> None:
    url = postgres_cluster.create_database("centre")
    try:
        run("init", tmp_path / "centre", "--database", url)
        config = tmp_path / "centre" / "cardserver.toml"
        assert load_config(config).database_url == url
        result = run("registry", "import", "--config", config, made_up_village)
        assert "400" in result.output
        again = run("init", tmp_path / "second", "--database", url)  # another server of the fund
        assert "operators.txt" not in again.output
    finally:
        postgres_cluster.drop_database("centre")


# --- the centre's certificate -------------------------------------------------------------------


def server_certificate(centre: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((centre / "server.crt").read_bytes())


def pair_is_whole(centre: Path) -> bool:
    """Whether TLS takes certificate and key, and the authority is the certificate's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(centre / "server.crt", centre / "server.key")
    own = x509.load_pem_x509_certificate((centre / "authority/authority.crt").read_bytes())
    server_certificate(centre).verify_directly_issued_by(own)
    return stat.S_IMODE((centre / "server.key").stat().st_mode) == 0o600


def test_the_centres_certificate_is_renewed_for_the_same_names_and_key(tmp_path: Path) -> None:
    centre = tmp_path / "centre"
    run("init", centre, "--name", "centre.example")
    before, key = server_certificate(centre), (centre / "server.key").read_bytes()
    result = run("certificate", "renew", "--config", centre / "cardserver.toml")
    after = server_certificate(centre)
    assert pair_is_whole(centre)
    assert (centre / "server.key").read_bytes() == key
    assert after.serial_number != before.serial_number
    assert authority.hosts_of(after) == authority.hosts_of(before)
    assert "centre.example, localhost, 127.0.0.1, ::1" in result.output
    assert f"{after.not_valid_after_utc:%Y-%m-%d}" in result.output


def test_a_new_key_and_other_names_are_for_the_asking(centre: Path) -> None:
    key = (centre / "server.key").read_bytes()
    config = centre / "cardserver.toml"
    run("certificate", "renew", "--config", config, "--new-key", "--name", "192.0.2.9")
    assert pair_is_whole(centre)
    assert (centre / "server.key").read_bytes() != key
    assert authority.hosts_of(server_certificate(centre)) == ("192.0.2.9",)


def test_what_another_authority_signed_is_not_renewed_here(centre: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("init", other)
    (centre / "server.crt").write_bytes((other / "server.crt").read_bytes())
    before = (centre / "server.crt").read_bytes()
    config = centre / "cardserver.toml"
    result = run("certificate", "renew", "--config", config, status=1)
    assert "not of this centre's own authority" in result.output
    assert (centre / "server.crt").read_bytes() == before


# --- terminals ----------------------------------------------------------------------------------


def test_a_terminal_is_enrolled_with_the_certificate_that_the_registry_knows(
    village: Path, tmp_path: Path
) -> None:
    out = tmp_path / "terminal.crt"
    enrol(village, request_file(tmp_path), out)
    certificate = x509.load_pem_x509_certificate(out.read_bytes())
    assert authority.identity_of(certificate) == (INSTITUTION, "T01")
    own = x509.load_pem_x509_certificate((village.parent / "authority/authority.crt").read_bytes())
    certificate.verify_directly_issued_by(own)
    terminal = ask(village, lambda registry: registry.terminal(1, "T01"))
    assert getattr(terminal, "certificate_sha256", None) == authority.fingerprint_of(certificate)
    listed = run("registry", "terminal", "list", "--config", village).output
    assert "T01" in listed
    assert INSTITUTION in listed


def test_terminals_whose_certificate_ends_are_listed(village: Path, tmp_path: Path) -> None:
    request = request_file(tmp_path)
    for terminal in ("T01", "T02", "T03"):
        enrol(village, request, tmp_path / f"{terminal}.crt", terminal=terminal)
    tomorrow_ms = int(time.time() + 86_400) * 1000
    with sqlite3.connect(village.parent / "cardserver.db") as database:
        change = "UPDATE terminal SET certificate_ends_ms = ? WHERE code = ?"
        database.executemany(change, [(tomorrow_ms, "T01"), (0, "T02")])
    whole = run("registry", "terminal", "list", "--config", village).output
    assert all(terminal in whole for terminal in ("T01", "T02", "T03"))
    ending = ["registry", "terminal", "list", "--config", village, "--ending-within"]
    assert "T01" not in run(*ending, 0).output
    listed = run(*ending, 30).output
    assert "T01" in listed
    assert "T02" not in listed  # not known
    assert "T03" not in listed
    assert (
        f"{dt.datetime.fromtimestamp(tomorrow_ms / 1000, ZoneInfo('Asia/Shanghai')):%F}" in listed
    )


def test_a_second_certificate_replaces_the_first(village: Path, tmp_path: Path) -> None:
    request = request_file(tmp_path)
    enrol(village, request, tmp_path / "one.crt")
    result = enrol(village, request, tmp_path / "two.crt")
    assert "the earlier one stops working" in result.output
    second = x509.load_pem_x509_certificate((tmp_path / "two.crt").read_bytes())
    terminal = ask(village, lambda registry: registry.terminal(1, "T01"))
    assert getattr(terminal, "certificate_sha256", None) == authority.fingerprint_of(second)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"institution": "H11019999999"}, "no institution has the code"),
        ({"institution": "H1"}, "institution code"),
        ({"terminal": "T 1"}, "terminal code"),
    ],
)
def test_an_enrolment_that_can_not_be(
    village: Path, tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    out = tmp_path / "terminal.crt"
    result = enrol(village, request_file(tmp_path), out, status=1, **changes)
    assert expected in result.output
    assert not out.exists()


def test_an_enrolment_over_a_file_changes_nothing(village: Path, tmp_path: Path) -> None:
    out = tmp_path / "terminal.crt"
    out.write_text("precious", encoding="utf-8")
    assert "not overwritten" in enrol(village, request_file(tmp_path), out, status=1).output
    assert out.read_text(encoding="utf-8") == "precious"
    assert ask(village, lambda registry: registry.terminal(1, "T01")) is None


def test_a_terminal_is_disabled_and_enabled(village: Path, tmp_path: Path) -> None:
    enrol(village, request_file(tmp_path), tmp_path / "terminal.crt")
    options = ["--config", village, "--institution", INSTITUTION, "--terminal", "T01"]
    for verb, is_active in (("disable", False), ("enable", True)):
        run("registry", "terminal", verb, *options)
        terminal = ask(village, lambda registry: registry.terminal(1, "T01"))
        assert getattr(terminal, "is_active", None) is is_active
    options[-1] = "T02"
    result = run("registry", "terminal", "disable", *options, status=1)
    assert "has no terminal T02" in result.output


# --- operators, cards, policies -----------------------------------------------------------------


def test_an_operator_is_added_and_gets_another_password(village: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("first password\n", encoding="utf-8")
    who = ["c009", "--config", village, "--institution", INSTITUTION]
    run("registry", "operator", "add", *who, "--name", "李雷", "--password-file", password)
    run("registry", "operator", "password", *who, answer="second password\n")

    async def check(registry: Registry) -> tuple[bool, bool]:
        operator = await registry.operator(1, "c009")
        assert operator is not None
        return (
            await verify_password(operator.password_hash, "first password"),
            await verify_password(operator.password_hash, "second password"),
        )

    assert ask(village, check) == (False, True)
    for verb, is_active in (("lock", False), ("unlock", True)):
        run("registry", "operator", verb, *who)
        operator = ask(village, lambda registry: registry.operator(1, "c009"))
        assert getattr(operator, "is_active", None) is is_active
    assert "already" in run(
        "registry", "operator", "add", *who, "--name", "李雷", "--password-file", password, status=1
    ).output  # fmt: skip


def test_a_password_too_short_is_not_taken(village: Path) -> None:
    arguments = ["registry", "operator", "add", "c009", "--config", village, "--name", "李雷"]
    arguments += ["--institution", INSTITUTION]
    assert "8 to 128" in run(*arguments, answer="short\n", status=1).output


def test_a_card_is_lost_and_found(village: Path, made_up_village: Path) -> None:
    cards = (made_up_village / "cards.csv").read_text(encoding="utf-8").splitlines()[1:]
    number = next(row for row in (line.split(",") for line in cards) if row[13] == "1")[4]
    arguments = ["card", "state", number]
    assert "was valid, is lost" in run(*arguments, "lost", "--config", village).output
    assert "can't be lost" in run(*arguments, "lost", "--config", village, status=1).output
    assert "was lost, is valid" in run(*arguments, "found", "--config", village).output
    with sqlite3.connect(village.parent / "cardserver.db") as database:
        actions = database.execute("SELECT action FROM audit WHERE action LIKE 'card%'").fetchall()
    assert actions == [("card lost",), ("card found",)]


def test_a_policy_is_activated_only_if_it_contradicts_no_other(
    config: Path, tmp_path: Path
) -> None:
    texts = ask(config, lambda registry: registry.policies())
    assert isinstance(texts, list)
    [text] = [text for text in texts if 'name = "beijing-employees"' in text]
    file = tmp_path / "policy.toml"
    file.write_text(text.replace("2023-01-01", "2027-01-01"), encoding="utf-8")
    assert "is activated" in run("policy", "activate", file, "--config", config).output
    assert "is activated" in run("policy", "activate", file, "--config", config).output
    more = ask(config, lambda registry: registry.policies())
    assert isinstance(more, list)
    assert len(more) == len(texts) + 1
    file.write_text(text.replace('"beijing-employees"', '"other-rules"'), encoding="utf-8")
    assert "overlap" in run("policy", "activate", file, "--config", config, status=1).output
    file.write_text("name = 1", encoding="utf-8")
    run("policy", "activate", file, "--config", config, status=1)
    more = ask(config, lambda registry: registry.policies())
    assert isinstance(more, list)
    assert len(more) == len(texts) + 1


# --- import -------------------------------------------------------------------------------------


def test_an_import_with_rejected_rows_names_them_and_fails(
    config: Path, population: Path, tmp_path: Path
) -> None:
    with (population / "employers.csv").open("a", encoding="utf-8") as file:
        file.writelines("x,y\n" for _ in range(7))
    last = len((population / "employers.csv").read_text(encoding="utf-8").splitlines())
    arguments = ["--config", config, population, "--rejections-max", "2"]
    result = run("registry", "import", *arguments, status=1)
    assert f"employers.csv, line {last - 6}: expected 3 fields, found 2" in result.output
    assert f"line {last - 4}" not in result.output
    assert "5 more rows rejected" in result.output
    with (population.parent / "rejected-rows.csv").open(encoding="utf-8", newline="") as file:
        named = list(csv.reader(file))
    assert named[0] == ["file", "line", "column", "reason"]
    assert named[1:] == [
        ["employers.csv", str(line), "", "expected 3 fields, found 2"]
        for line in range(last - 6, last + 1)
    ]
    report = tmp_path / "report.csv"
    run("registry", "import", *arguments, "--rejected", report, status=1)
    assert len(report.read_text(encoding="utf-8").splitlines()) == 8
    missing = tmp_path / "none" / "report.csv"
    result = run("registry", "import", *arguments, "--rejected", missing, status=1)
    assert "can't be written" in result.output


def test_a_file_that_is_none_of_ours_stops_the_import(config: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").touch()
    result = run("registry", "import", "--config", config, tmp_path, status=1)
    assert "people.csv means nothing here" in result.output


@pytest.mark.parametrize("kind", ON_POSTGRESQL)
def test_an_import_that_was_killed_is_completed_by_the_next(
    kind: str, tmp_path: Path, made_up_city: Path, request: pytest.FixtureRequest
) -> None:
    """Signal 9 at several moments of several loads, then one that is left to end."""
    options = []
    if kind == "postgresql":
        cluster: PostgreSQLCluster = request.getfixturevalue("postgres_cluster")
        options = ["--database", cluster.create_database("killed_import")]
        request.addfinalizer(lambda: cluster.drop_database("killed_import"))
    run("init", tmp_path / "centre", *options)
    config = tmp_path / "centre" / "cardserver.toml"
    command = [sys.executable, "-m", "cardserver", "registry", "import", "--config", str(config)]
    killed = 0
    for after_s in (0.4, 0.8, 1.1, 1.4, 1.7):
        process = subprocess.Popen(
            [*command, str(made_up_city)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(after_s)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed
    run("registry", "import", "--config", config, made_up_city)

    async def count(registry: Registry) -> dict[str, int]:
        counted = {}
        for name, text in {
            "persons": "SELECT count(*) FROM person",
            "cards": "SELECT count(*) FROM card",
            "insurances": "SELECT count(*) FROM insurance",
            "balances": "SELECT count(*) FROM account_balance",
            "held": "SELECT sum(balance_fen) FROM account_balance",
            "posted": "SELECT -sum(amount_fen) FROM posting WHERE account = 2030",
            "left": "SELECT sum(amount_fen) FROM posting",
        }.items():
            ((number,),) = await registry._database.fetch(
                plain(name, postgresql=text, sqlite=text)()
            )
            counted[name] = int(number)
        return counted

    counted = ask(config, count)
    amounts = [
        int(line.split(",")[1])
        for line in (made_up_city / "balances.csv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    expected = {
        name: len((made_up_city / f"{name}.csv").read_text(encoding="utf-8").splitlines()) - 1
        for name in ("persons", "cards", "insurances", "balances")
    }
    assert counted == {**expected, "held": sum(amounts), "posted": sum(amounts), "left": 0}
