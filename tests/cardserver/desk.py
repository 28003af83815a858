"""Terminals of every kind at a running centre: enrolled without a detour, honest or raw."""

import asyncio
import contextlib
import csv
import datetime as dt
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from cardserver.authority import (
    TERMINAL_LIFE,
    Authority,
    ends_ms_of,
    fingerprint_of,
    issue_terminal_certificate,
)
from cardserver.authority import open_authority as read_authority
from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.registry_store import Registry
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, MessageType, Preview, Settle, Split
from simulators.card.population_cards import find_card, iterate_cards
from simulators.card.simulated_card import SimulatedCard
from simulators.card.social_security_card import CardData, RootKeys, print_card
from simulators.centre_process import CentreProcess, City
from simulators.made_up_bill import make_bill, read_items
from simulators.raw_terminal import Credentials, RawTerminal, tls_context
from terminals.answer import Answer
from terminals.client import ListKeeper, TerminalClient
from terminals.config import decode_config
from terminals.readers.channel import BatchAnswers, run_batch

HOSPITAL = "H11019900001"
OTHER_HOSPITAL = "H11019900002"
_KIB = 1024


def configure(city: City, section: str, **settings: float | str) -> None:
    """Set keys of a section of the city's configuration."""
    text = city.config_file.read_text(encoding="utf-8")
    for key, value in settings.items():
        text = re.sub(rf"(?m)^{key} = .*\n", "", text)
        written = f'"{value}"' if isinstance(value, str) else str(value)
        text, found = re.subn(rf"(?m)^(\[{section}\].*)$", rf"\1\n{key} = {written}", text)
        assert found == 1
    city.config_file.write_text(text, encoding="utf-8")


class Reader:
    """A reader in process with a card in it."""

    name = "in process"

    def __init__(self, card: SimulatedCard) -> None:
        self._card = card

    async def connect(self) -> bytes:
        self._card.reset()
        return self._card.atr

    async def run_batch(self, steps: Sequence[Struct], challenge: bytes) -> BatchAnswers:
        return run_batch(self._card, steps, challenge)


class Desk:
    """A city's centre while it runs, and whoever connects to it."""

    def __init__(self, city: City, centre: CentreProcess) -> None:
        self.city = city
        self.centre = centre
        self.config = load_config(city.config_file)
        self.password = city.password_file.read_text(encoding="utf-8")
        self.items = read_items(city.population)

    # --- terminals -----------------------------------------------------------------------

    async def enrol(
        self, terminal: str, *, institution: str = HOSPITAL, expires: dt.datetime | None = None
    ) -> Credentials:
        """Give a terminal a new key and certificate, and have the registry know it."""
        authority = read_authority(self.city.directory / "authority")
        credentials = self.issue(authority, terminal, institution=institution, expires=expires)
        certificate = x509.load_pem_x509_certificate(credentials.certificate_file.read_bytes())
        async with open_database(self.config) as database:
            found = await Registry(database).institution_by_code(institution)
            assert found is not None
            await administration.enrol_terminal(
                database, found, terminal, fingerprint_of(certificate), acting_user(),
                ends_ms=ends_ms_of(certificate),
            )  # fmt: skip
        return credentials

    def issue(
        self,
        authority: Authority,
        terminal: str,
        *,
        institution: str = HOSPITAL,
        expires: dt.datetime | None = None,
    ) -> Credentials:
        """Have an authority sign a new key, without the registry's knowledge."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        certificate = issue_terminal_certificate(
            authority,
            request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            institution=institution,
            terminal=terminal,
            now=dt.datetime.now(dt.UTC) if expires is None else expires - TERMINAL_LIFE,
        )
        folder = self.city.directory / "terminals" / f"{institution}-{terminal}-{time.time_ns()}"
        folder.mkdir(parents=True)
        (folder / "terminal.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "terminal.key").touch(mode=0o600)
        (folder / "terminal.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Credentials(institution, terminal, folder / "terminal.crt", folder / "terminal.key")

    @contextlib.asynccontextmanager
    async def raw(
        self, credentials: Credentials, *, operator: str = ""
    ) -> AsyncIterator[RawTerminal]:
        """Connect a raw terminal; with an operator, signed on."""
        context = tls_context(self.city.authority_file, credentials)
        async with RawTerminal.connect(self.centre.port, context, credentials) as terminal:
            if operator:
                reply = await terminal.sign_on(operator, self.password)
                assert reply.code == ResponseCode.APPROVED
            yield terminal

    @contextlib.asynccontextmanager
    async def client(
        self,
        credentials: Credentials,
        *,
        operator: str = "c001",
        lists: ListKeeper | None = None,
    ) -> AsyncIterator[TerminalClient]:
        """Connect an honest terminal, signed on."""
        config = decode_config(
            f"""
            [centre]
            host = "127.0.0.1"
            port = {self.centre.port}
            ca_file = "{self.city.authority_file}"
            [terminal]
            institution = "{credentials.institution}"
            code = "{credentials.terminal}"
            certificate_file = "{credentials.certificate_file}"
            key_file = "{credentials.key_file}"
            """.encode(),
            directory=credentials.key_file.parent,
            source="desk",
        )
        async with TerminalClient(config, lists=lists) as client:
            answer = await client.sign_on(operator, self.password)
            assert answer.is_approved
            yield client

    @contextlib.asynccontextmanager
    async def unaffected(self, terminal: str = "WITNESS") -> AsyncIterator[None]:
        """Have another terminal echo and settle all the while; each has to succeed."""
        credentials = await self.enrol(terminal)
        async with self.client(credentials, operator="c002") as client:
            token = await open_card(client, self.card())
            done = asyncio.Event()

            async def work() -> int:
                rounds = 0
                while not done.is_set() or rounds == 0:
                    echoed = await client.echo(b"here")
                    assert echoed.is_approved
                    settled = await self.settle(client, token, self.bill(rounds))
                    assert settled.is_approved
                    rounds += 1
                return rounds

            working = asyncio.create_task(work())
            try:
                yield
            finally:
                done.set()
                rounds = await working
            assert rounds > 0
            assert client.is_connected

    # --- cards and bills -----------------------------------------------------------------

    def card_data(self, index: int = 0) -> CardData:
        """A valid card, version 2.00 and 3DES, of an employee in force."""
        today = int(f"{dt.datetime.now(dt.UTC):%Y%m%d}")
        insurances = (self.city.population / "insurances.csv").open(encoding="utf-8", newline="")
        with insurances:
            insured = {
                row["person_no"]
                for row in csv.DictReader(insurances)
                if row["insutype"] == "310" and row["state"] == "1"
            }
        valid = [
            row
            for row in iterate_cards(self.city.population)
            if (row["state"], row["version"], row["algorithm"]) == ("1", "2.00", "1")
            and int(row["begins"]) < today < int(row["ends"])
            and row["person_no"] in insured
        ]
        return find_card(self.city.population, valid[index]["card_no"])

    def card(self, index: int = 0) -> SimulatedCard:
        """Print that card."""
        data = self.card_data(index)
        return print_card(data, RootKeys.read(self.city.keys, data.algorithm))

    def bill(self, seed: int = 0, *, lines: int = 3) -> Bill:
        """Make up a bill."""
        return make_bill(self.items, Random(seed), line_count=lines)

    async def settle(
        self, client: TerminalClient, token: bytes, bill: Bill, *, msgid: str | None = None
    ) -> Answer:
        """Preview a bill and settle it as shown."""
        shown = await client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
        )
        assert shown.is_approved
        return await client.request(
            MessageType.SETTLE, settle_of(bill, shown.body.split), card_session=token, msgid=msgid
        )

    # --- what it is like inside ----------------------------------------------------------

    def resident_kib(self) -> int:
        """The process' resident memory."""
        status = Path(f"/proc/{self.centre.pid}/status").read_text(encoding="ascii")
        found = re.search(r"(?m)^VmRSS:\s+(\d+) kB$", status)
        assert found is not None
        return int(found[1])

    async def page(self, path: str) -> tuple[int, str]:
        """Read one of the centre's pages."""
        return await asyncio.to_thread(_page, f"http://127.0.0.1:{self.centre.observe_port}{path}")

    def log(self) -> str:
        """All that the centre logged."""
        return self.centre.log_file.read_text(encoding="utf-8")


def settle_of(bill: Bill, split: Split) -> Settle:
    """Commit a bill as a preview showed it."""
    return Settle(
        bill, split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen
    )


async def open_card(client: TerminalClient, card: SimulatedCard) -> bytes:
    """Open a card; give its session."""
    opening = await client.open_card(Reader(card))
    assert opening.answer.is_approved, opening.answer.reply
    token: bytes = opening.answer.body.card_session
    return token


def _page(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
