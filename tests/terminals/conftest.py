"""A small centre for the counter's tests: real TLS on loopback, `CentreConnection` behind it."""

import asyncio
import datetime as dt
import hashlib
import ipaddress
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Raw, Struct

from protocol.terminal import messages as m
from protocol.terminal.bodies import (
    NIL,
    STORED_TYPES,
    decode_request_body,
    encode_body,
    request_hash,
)
from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import CentreConnection, Limits, NeedData
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import MessageType
from terminals.config import TerminalConfig, load_config
from terminals.readers.channel import BatchAnswers, BatchOutcome

INSTITUTION = "H11010500001"
TERMINAL = "T01"
OPERATOR = "1001"
PASSWORD = "correct horse"
PERSON = m.Person(
    psn_no="11000000000001",
    name="张三",
    sex=1,
    birth_date=dt.date(1981, 1, 1),
    insurances=(
        m.Insurance("310", m.InsuranceState.IN_FORCE, "11", "110105", dt.date(2010, 1, 1), None),
        m.Insurance("330", m.InsuranceState.PAUSED, "11", "110105", dt.date(2010, 1, 1), None),
    ),
    account_balance_fen=137_815,
    accumulators=(m.Accumulator(2026, "310", "outpatient", 170_000, 170_000, 0, 0, 0),),
)
ATR = bytes.fromhex("3b6d00000081548649604953 31001020305060".replace(" ", ""))
OPENING = m.OpeningBatch(
    opening=1,
    atr=ATR[:4] + bytes(len(ATR) - 4),
    atr_mask=b"\xff" * 4 + bytes(len(ATR) - 4),
    steps=(
        m.CardStep(bytes.fromhex("00a4040007") + b"SSSE.X1", (0x9000,)),
        m.CardStep(
            bytes.fromhex("0088000008") + bytes(8),
            (0x9000,),
            (m.ChallengeSpan(5, 0, 8),),
        ),
    ),
)


def make_certificates(directory: Path, *, life: dt.timedelta = dt.timedelta(days=400)) -> None:
    """Write ca.pem, server.pem/.key, terminal.pem/.key; the terminal's has that life left."""
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test fund authority")])

    def issue(
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
        ends: dt.datetime = now + dt.timedelta(days=400),
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(ends)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    def write(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        key_file = directory / f"{name}.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (directory / f"{name}.pem").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )

    write(
        "ca",
        authority_key,
        issue(authority, authority_key, x509.BasicConstraints(ca=True, path_length=0)),
    )
    names = x509.SubjectAlternativeName(
        [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.DNSName("localhost"),
        ]
    )
    for name, subject, extensions in (
        (
            "server",
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")]),
            (names, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        ),
        (
            "terminal",
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, INSTITUTION),
                    x509.NameAttribute(NameOID.COMMON_NAME, TERMINAL),
                ]
            ),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),),
        ),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        left = life if name == "terminal" else dt.timedelta(days=400)
        write(name, key, issue(subject, key, *extensions, ends=now + left))


def split_of(total_fen: int, sign: int = 1) -> m.Split:
    """Divide made-up: 30 % of what is in scope from the pool, at most 1,000 fen of account."""
    fund = total_fen * 3 // 10
    account = min(1_000, total_fen - fund)
    return m.Split(
        total_fen=sign * total_fen,
        fully_own_fen=0,
        over_limit_fen=0,
        pre_self_pay_fen=0,
        in_scope_fen=sign * total_fen,
        deductible_fen=0,
        layers=(m.Layer("hifp_pay", sign * fund),),
        fund_pay_fen=sign * fund,
        hospital_part_fen=0,
        person_part_fen=sign * (total_fen - fund),
        account_pay_fen=sign * account,
        mutual_aid_fen=0,
        cash_fen=sign * (total_fen - fund - account),
    )


@dataclass
class Stored:
    """One outcome that the centre keeps."""

    hash: bytes
    type: int
    code: int
    body: Raw
    setl_id: str = ""
    is_undone: bool = False


class Peer:
    """One terminal's connection at the centre."""

    def __init__(self, connection: CentreConnection, writer: asyncio.StreamWriter) -> None:
        self.connection = connection
        self.writer = writer
        self.relayed: asyncio.Queue[m.Relayed] = asyncio.Queue()
        self.challenges: dict[int, bytes] = {}

    def send(self, message: m.Reply | m.Relay | m.Goodbye) -> None:
        self.writer.write(self.connection.send(message))


Handler = Callable[[Peer, m.Request], Awaitable[tuple[int, Struct | None]]]


@dataclass
class Centre:
    """Keeps what it was asked; `rules` replace what it does with the next requests of a type."""

    directory: Path
    port: int = 0
    requests: list[m.Request] = field(default_factory=list)
    stored: dict[str, Stored] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    printed: Counter[str] = field(default_factory=Counter)
    rules: dict[MessageType, list[Handler]] = field(default_factory=dict)
    sign_no: str = ""
    sign_ons: int = 0
    connections: int = 0
    renews_challenges: bool = True
    peers: list[Peer] = field(default_factory=list)

    def rule(self, type_: MessageType, *handlers: Handler) -> None:
        self.rules.setdefault(type_, []).extend(handlers)

    def count(self, type_: MessageType) -> int:
        return sum(request.type == type_ for request in self.requests)

    @property
    def settlements(self) -> int:
        return sum(
            kept.type == MessageType.SETTLE and kept.code == 0 and not kept.is_undone
            for kept in self.stored.values()
        )

    # --- faults -------------------------------------------------------------------------------

    async def lose_reply(self, peer: Peer, request: m.Request) -> tuple[int, Struct | None]:
        """Do what is asked and close the connection in place of the answer."""
        self.keep(request)
        peer.writer.transport.abort()
        raise ConnectionAbortedError

    async def lose_request(self, peer: Peer, _request: m.Request) -> tuple[int, Struct | None]:
        """Close the connection before anything is done."""
        peer.writer.transport.abort()
        raise ConnectionAbortedError

    @staticmethod
    def refusing(code: ResponseCode) -> Handler:
        async def refuse(_peer: Peer, _request: m.Request) -> tuple[int, Struct | None]:
            return int(code), None

        return refuse

    def late(self, seconds: float) -> Handler:
        async def answer_late(_peer: Peer, request: m.Request) -> tuple[int, Struct | None]:
            kept = self.keep(request)
            await asyncio.sleep(seconds)
            return kept

        return answer_late

    async def garbage(self, peer: Peer, _request: m.Request) -> tuple[int, Struct | None]:
        peer.writer.write(b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1")
        await asyncio.sleep(0.2)
        raise ConnectionAbortedError

    async def bad_body(self, peer: Peer, request: m.Request) -> tuple[int, Struct | None]:
        self.keep(request)
        peer.send(self.reply(request, 0, Raw(b"\x91\x01")))
        raise ConnectionAbortedError

    # --- what it does -------------------------------------------------------------------------

    def keep(self, request: m.Request) -> tuple[int, Struct | None]:
        """Settle, cancel, reverse or acknowledge, by the rules of repetition."""
        body = decode_request_body(request.type, request.body)
        code, answer, setl_id = 0, None, ""
        now_ms = time.time_ns() // 1_000_000
        if request.msgid in self.tombstones:
            return int(ResponseCode.TOMBSTONED), None
        match body:
            case m.Settle():
                split = split_of(body.bill.total_fen)
                setl_id = f"S{len(self.stored) + 1:09d}"
                if (body.fund_pay_fen, body.cash_fen) != (split.fund_pay_fen, split.cash_fen):
                    code = int(ResponseCode.SPLIT_CHANGED)
                    answer = m.Previewed(PERSON.psn_no, split, (), 0)
                else:
                    answer = m.Settled(setl_id, PERSON.psn_no, split, 136_815, now_ms)
            case m.Cancel():
                code, answer, setl_id = self.undo_by(body.setl_id, now_ms)
            case m.Refund():
                code, answer, setl_id = self.refund(body, now_ms)
                if not body.commits:
                    return code, answer
            case m.Register() | m.Admit():
                day = dt.date(2026, 11, 21)
                answer = m.Registered(f"V{len(self.stored) + 1}", PERSON.psn_no, day, now_ms)
            case m.Reverse():
                answer = self.reverse(body.original_msgid)
            case m.PrintAck():
                answer = m.PrintAcked(self.printed[body.setl_id])
                self.printed[body.setl_id] += body.is_printed
        self.stored[request.msgid] = Stored(
            request_hash(request.type, request.body),
            request.type,
            code,
            encode_body(answer),
            setl_id,
        )
        return code, answer

    def undo_by(self, setl_id: str, now_ms: int) -> tuple[int, Struct | None, str]:
        for kept in self.stored.values():
            if kept.type == MessageType.SETTLE and kept.setl_id == setl_id:
                if kept.is_undone:
                    return int(ResponseCode.ALREADY_UNDONE), None, ""
                kept.is_undone = True
                undo = f"S{len(self.stored) + 1:09d}"
                split = split_of(2_510, -1)
                settled = m.Settled(undo, PERSON.psn_no, split, 137_815, now_ms, setl_id)
                return 0, settled, undo
        return int(ResponseCode.ORIGINAL_NOT_FOUND), None, ""

    def refund(self, body: m.Refund, now_ms: int) -> tuple[int, Struct | None, str]:
        """Give ten yuan of a bill of 25.10 back, whatever the lines are."""
        undone = next(
            (
                kept
                for kept in self.stored.values()
                if kept.type == MessageType.SETTLE and kept.setl_id == body.setl_id
            ),
            None,
        )
        if undone is None or undone.is_undone:
            code = (
                ResponseCode.ORIGINAL_NOT_FOUND if undone is None else (ResponseCode.ALREADY_UNDONE)
            )
            return int(code), None, ""
        back = split_of(1_000)
        lines = tuple(
            m.RefundedLine(line.line, "A1", "退回的药", 10_000_000, line.quantity_e4, 1_000)
            for line in body.lines
        )
        undo, anew = f"S{len(self.stored) + 1:09d}", f"S{len(self.stored) + 2:09d}"
        if not body.commits:
            undo = anew = ""
        answer = m.Refunded(
            body.setl_id, undo, anew, PERSON.psn_no, back, split_of(1_510), lines, 137_000, now_ms
        )
        undone.is_undone = body.commits
        return 0, answer, undo

    def reverse(self, msgid: str) -> m.Reversed:
        kept = self.stored.get(msgid)
        if kept is None:
            self.tombstones.add(msgid)
            return m.Reversed(m.ReverseResult.NOT_FOUND, "", "", 0)
        if kept.code != 0:
            return m.Reversed(m.ReverseResult.NOT_SETTLED, "", "", 0)
        if kept.is_undone:
            return m.Reversed(m.ReverseResult.ALREADY_UNDONE, kept.setl_id, "", 0)
        kept.is_undone = True
        return m.Reversed(m.ReverseResult.REVERSED, kept.setl_id, "S999999999", 137_815)

    def status(self, msgid: str) -> m.StatusFound:
        kept = self.stored.get(msgid)
        if kept is None:
            if msgid in self.tombstones:
                return m.StatusFound(m.StatusState.TOMBSTONED, 21, 600, "", Raw(NIL))
            return m.StatusFound(m.StatusState.NOT_SEEN, 0, 0, "", Raw(NIL))
        state = m.StatusState.SETTLED if kept.code == 0 else m.StatusState.REFUSED
        if kept.is_undone:
            state = m.StatusState.UNDONE
        return m.StatusFound(state, kept.type, kept.code, kept.setl_id, kept.body)

    def fresh_challenges(self, peer: Peer) -> tuple[m.Challenge, ...]:
        fresh = []
        while len(peer.challenges) < 4:
            number = max(peer.challenges, default=0) + 1
            value = hashlib.sha256(f"{id(peer)} {number}".encode()).digest()
            peer.challenges[number] = value
            fresh.append(m.Challenge(number, value, 120_000))
        return tuple(fresh)

    async def decide(self, peer: Peer, request: m.Request) -> tuple[int, Struct | None]:
        type_ = MessageType(request.type)
        if self.rules.get(type_):
            return await self.rules[type_].pop(0)(peer, request)
        body = decode_request_body(request.type, request.body)
        if isinstance(body, m.Echo):
            return 0, m.Echoed(body.payload)
        if isinstance(body, m.SignOn):
            return self.sign_on(peer, body)
        if not self.sign_no or request.sign_no != self.sign_no:
            return int(ResponseCode.NOT_SIGNED_ON), None
        if type_ in STORED_TYPES:
            return self.keep(request)
        return await self.look_up(peer, request.exchange, body)

    async def look_up(self, peer: Peer, exchange: int, body: Struct) -> tuple[int, Struct | None]:
        match body:
            case m.SignOff():
                self.sign_no = ""
                return 0, m.SignedOff()
            case m.CardOpen():
                return await self.open_card(peer, exchange, body)
            case m.MemberQuery():
                return 0, m.MemberFound(PERSON)
            case m.Eligibility():
                entitled = body.insutype == "310"
                reason = 0 if entitled else int(ResponseCode.COVERAGE_PAUSED)
                return 0, m.EligibilityFound(entitled, reason, dt.date(2010, 1, 1), None)
            case m.Preview():
                return self.preview(body)
            case m.Status():
                return 0, self.status(body.original_msgid)
        raise AssertionError(body)

    def sign_on(self, peer: Peer, body: m.SignOn) -> tuple[int, Struct | None]:
        if (body.operator, body.password) != (OPERATOR, PASSWORD):
            return int(ResponseCode.OPERATOR_REFUSED), None
        self.sign_ons += 1
        self.sign_no = f"sign-{self.sign_ons}"
        return 0, m.SignedOn(
            sign_no=self.sign_no,
            version=1,
            batch_no=1,
            fund_zh="示范市医疗保障基金",
            fund_en="Model City medical insurance fund",
            challenges=self.fresh_challenges(peer),
            openings=(OPENING,),
            in_flight_max=32,
            frame_size_max=262_144,
            expires_time_ms=time.time_ns() // 1_000_000 + 3_600_000,
        )

    @staticmethod
    def preview(body: m.Preview) -> tuple[int, Struct | None]:
        split = split_of(body.bill.total_fen)
        lines = tuple(m.LineSplit(1, None, 0, 0, 0, 0, line.gross_fen) for line in body.bill.lines)
        steps = (
            m.ExplanationStep(
                "made-up@2026-01-01/outpatient.bands[0]",
                f"统筹支付 30% = {split.fund_pay_fen / 100:.2f}",
                f"pool pays 30 % = {split.fund_pay_fen / 100:.2f}",
                split.fund_pay_fen,
                "hifp_pay",
            ),
        )
        return 0, m.Previewed(
            PERSON.psn_no,
            split,
            lines,
            PERSON.account_balance_fen - split.account_pay_fen,
            steps if body.wants_explanation else (),
        )

    async def open_card(
        self, peer: Peer, exchange: int, body: m.CardOpen
    ) -> tuple[int, Struct | None]:
        round_trips = 1
        answers = body.answers
        if body.outcome is m.RelayOutcome.READER_FAULT:
            return int(ResponseCode.CARD_READER_FAULT), None
        if body.opening == 0:
            challenge = bytes(range(8))
            command = bytes.fromhex("0088000008") + challenge
            peer.send(m.Relay(exchange, 1, (m.CardStep(command, (0x9000,)),), 5_000))
            relayed = await peer.relayed.get()
            answers, round_trips = relayed.answers, 2
            if relayed.outcome is not m.RelayOutcome.COMPLETED:
                return int(ResponseCode.CARD_REMOVED), None
        else:
            value = peer.challenges.pop(body.challenge, None)
            if value is None:
                return int(ResponseCode.CHALLENGE_NOT_VALID), None
            challenge = value[:8]
        if answers[-1][:-2] != hashlib.sha256(b"card key" + challenge).digest()[:8]:
            return int(ResponseCode.CARD_NOT_GENUINE), None
        return 0, m.CardOpened(
            card_session=b"session of " + PERSON.psn_no.encode(),
            session_life_ms=600_000,
            profile="social-security",
            card_number="A00000001",
            proof=m.ProofLevel.GENUINE_CARD,
            pin=m.PINState.REQUIRED,
            pin_tries=3,
            holder_name="张三" if body.wants_holder else "",
            holder_id="",
            person=PERSON,
            round_trips=round_trips,
            card_time_us=body.card_time_us,
        )

    def reply(
        self, request: m.Request, code: int, body: Raw, *, duplicate: bool = False
    ) -> m.Reply:
        return m.Reply(
            exchange=request.exchange,
            code=code,
            duplicate=duplicate,
            business_date=dt.date(2026, 11, 21),
            centre_time_ms=time.time_ns() // 1_000_000,
            list_version=0,
            detail_zh="",
            detail_en="",
            body=body,
            stages=(m.StageTime("decode", 12), m.StageTime("commit", 850)),
        )

    async def answer(self, peer: Peer, request: m.Request) -> None:
        kept = self.stored.get(request.msgid)
        try:
            if kept is not None and request.sign_no == self.sign_no:
                is_same = kept.hash == request_hash(request.type, request.body)
                code = kept.code if is_same else int(ResponseCode.MSGID_REUSED)
                body = kept.body if is_same else Raw(NIL)
                reply = self.reply(request, code, body, duplicate=is_same)
            else:
                code, struct = await self.decide(peer, request)
                reply = self.reply(request, code, encode_body(struct))
            is_signed_on = request.sign_no == self.sign_no != ""
            if self.renews_challenges and is_signed_on and request.type != MessageType.ECHO:
                reply = _with_challenges(reply, self.fresh_challenges(peer))
            peer.send(reply)
        except ConnectionAbortedError:
            return

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(CentreConnection(Limits()), writer)
        self.peers.append(peer)
        try:
            async with asyncio.TaskGroup() as tasks:
                while data := await reader.read(65_536):
                    peer.connection.receive_data(data)
                    while not isinstance(event := peer.connection.next_event(), NeedData):
                        match event:
                            case m.Request():
                                self.requests.append(event)
                                tasks.create_task(self.answer(peer, event))
                            case m.Relayed():
                                peer.relayed.put_nowait(event)
                            case m.Goodbye():
                                return
        except* (OSError, RemoteProtocolError):
            pass
        finally:
            self.peers.remove(peer)
            writer.close()

    def cut(self) -> None:
        """Abort every connection."""
        for peer in self.peers:
            peer.writer.transport.abort()


def _with_challenges(reply: m.Reply, challenges: tuple[m.Challenge, ...]) -> m.Reply:
    values = [getattr(reply, name) for name in m.Reply.__struct_fields__]
    values[m.Reply.__struct_fields__.index("challenges")] = challenges
    return m.Reply(*values)


class FakeReader:
    """A reader with a card in it whose key is known to the test's centre."""

    name = "Test Reader 00 00"

    def __init__(self, *, is_genuine: bool = True) -> None:
        self.is_genuine = is_genuine
        self.batches = 0

    async def connect(self) -> bytes:
        return ATR

    async def run_batch(self, steps: object, challenge: bytes) -> BatchAnswers:
        self.batches += 1
        answers = []
        for step in steps:
            command = bytearray(step.command)
            for span in step.spans:
                command[span.command_offset : span.command_offset + span.size] = challenge[
                    span.challenge_offset : span.challenge_offset + span.size
                ]
            answer = b""
            if command[1] == 0x88:
                key = b"card key" if self.is_genuine else b"clone key"
                answer = hashlib.sha256(key + command[5:13]).digest()[:8]
            answers.append(answer + b"\x90\x00")
        return BatchAnswers(BatchOutcome.COMPLETED, tuple(answers), 1_500)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    return directory


@pytest.fixture
async def centre(certificates: Path) -> AsyncIterator[Centre]:
    centre = Centre(certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["cardserver/1"])
    context.load_verify_locations(certificates / "ca.pem")
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server = await asyncio.start_server(centre.serve, "127.0.0.1", 0, ssl=context)
    centre.port = server.sockets[0].getsockname()[1]
    yield centre
    server.close()
    centre.cut()
    await server.wait_closed()


def config_text(certificates: Path, port: int) -> str:
    return f"""
state_file = "state.json"
[centre]
host = "127.0.0.1"
port = {port}
ca_file = "{certificates}/ca.pem"
[terminal]
institution = "{INSTITUTION}"
code = "{TERMINAL}"
certificate_file = "{certificates}/terminal.pem"
key_file = "{certificates}/terminal.key"
[limits]
reconnect_pause_ms_min = 10
reconnect_pause_ms_max = 50
[outbox]
file = "outbox.sqlite"
resolve_timeout_ms = 3000
resolve_pause_ms_min = 10
resolve_pause_ms_max = 100
"""


@pytest.fixture
def config_file(centre: Centre, certificates: Path, tmp_path: Path) -> Path:
    file = tmp_path / "terminal.toml"
    file.write_text(config_text(certificates, centre.port))
    return file


@pytest.fixture
def config(config_file: Path) -> TerminalConfig:
    return load_config(config_file)


@pytest.fixture
def fake_reader() -> FakeReader:
    return FakeReader()
