"""A client written from `protocol/README.md` alone has a whole day at a real centre."""

import ast
import hashlib
import itertools
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card.population_cards import find_card, iterate_cards
from simulators.card.simulated_card import SimulatedCard
from simulators.card.social_security_card import RootKeys, print_card
from simulators.raw_terminal import Credentials
from tests.cardserver.desk import Desk
from tests.protocol import foreign_client as foreign
from tests.protocol.foreign_client import ForeignClient, pack, read, unpack

ROOT = Path(__file__).parents[2]
SPECIFICATION = (ROOT / "protocol" / "README.md").read_text(encoding="utf-8")
VECTORS = re.findall(
    r"^### (.*)\n((?:(?!###).*\n)*?)\n```json\n((?:.*\n)*?)```\n\n```hex\n((?:.*\n)*?)```\n"
    r"(?:\nRequest hash: `(.*)`)?",
    SPECIFICATION,
    re.MULTILINE,
)
REFUSED = re.findall(r"^\| `([0-9a-f]+)` \| (\d{3}) \|$", SPECIFICATION, re.MULTILINE)
CODES = {
    name: int(number)
    for number, name in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", SPECIFICATION, re.MULTILINE)
}
TABLES = {
    name: re.findall(r"^\| \d+ \| `(\w+)` \|", table, re.MULTILINE)
    for name, table in re.findall(
        r"^### (\w+)\n((?:(?!#).*\n)*?\| # \| name \|.*\n(?:\|.*\n)*)", SPECIFICATION, re.MULTILINE
    )
}
"""By struct, the names of its fields."""
APPROVED = CODES["APPROVED"]
EXCEPTION_NAME = "reader-broken"  # the desk's centre allows it
_numbers = itertools.count()


class Counter:
    """A terminal of its own at the desk's centre, which may connect more than once."""

    def __init__(self, desk: Desk, credentials: Credentials) -> None:
        self.desk = desk
        self.credentials = credentials
        self.msgids = foreign.Msgids(credentials.institution)

    def connect(self, *, like: ForeignClient | None = None, **tls: Any) -> ForeignClient:
        """Connect; `like` another connection of this terminal, under its sign-on."""
        files = {
            "certificate_file": self.credentials.certificate_file,
            "key_file": self.credentials.key_file,
        }
        return ForeignClient(
            ("127.0.0.1", self.desk.centre.port),
            foreign.tls_context(self.desk.city.authority_file, **(files | tls)),
            self.credentials.terminal,
            self.msgids,
            None if like is None else (like.operator, like.signed_on),
        )


@pytest.fixture
async def counter(desk: Desk) -> Counter:
    return Counter(desk, await desk.enrol(f"FOREIGN{next(_numbers)}"))


@pytest.fixture
def client(counter: Counter) -> Iterator[ForeignClient]:
    """Signed on."""
    with counter.connect() as client:
        assert client.sign_on("c001", counter.desk.password).code == APPROVED
        yield client


@pytest.fixture
def holder(desk: Desk) -> tuple[str, str, str]:
    """The exception instead of a card, with a person in force."""
    return EXCEPTION_NAME, "02", desk.card_data().holder_number


def bill_of(desk: Desk, *prices_fen: int) -> list[Any]:
    lines = [
        [item.item, item.name, price_fen * 10_000, 10_000, price_fen]
        for item, price_fen in zip(desk.items, prices_fen, strict=False)
    ]
    return ["310", "11", sum(prices_fen), True, f"{next(_numbers):020}", lines]


def preview(
    client: ForeignClient,
    bill: Sequence[Any],
    exception: Sequence[str] | None,
    card_session: bytes = b"",
) -> Any:
    reply = client.ask(foreign.PREVIEW, [bill, exception], card_session)
    assert reply.code == APPROVED
    shown = read("Previewed", reply.body)
    foreign.check_split(shown.split)
    return shown


def settle(
    client: ForeignClient, bill: Sequence[Any], exception: Sequence[str]
) -> tuple[foreign.Attempt, Any]:
    shown = preview(client, bill, exception)
    attempt = client.settle_attempt(bill, shown.split, exception)
    reply = client.perform(attempt)
    assert reply.code == APPROVED
    return attempt, reply


def status(client: ForeignClient, attempt: foreign.Attempt) -> Any:
    reply = client.ask(foreign.STATUS, [client.terminal, attempt.msgid])
    assert reply.code == APPROVED
    return read("StatusFound", reply.body)


def amounts(split: Any) -> list[int]:
    return [value for value in vars(split).values() if isinstance(value, int)] + [
        layer.paid_fen for layer in split.layers
    ]


# --- by the page alone -------------------------------------------------------------------------


def test_the_client_is_nobodys_but_its_own() -> None:
    tree = ast.parse(Path(foreign.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}  # fmt: skip
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize(("heading", "prose", "text", "frame", "hashed"), VECTORS)
def test_it_speaks_the_vectors(
    heading: str, prose: str, text: str, frame: str, hashed: str
) -> None:
    def unhex(pairs: dict[str, str]) -> bytes:
        return bytes.fromhex(pairs["bin"])

    data = bytes.fromhex(frame)
    message = json.loads(text, object_hook=unhex)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert unpack(data[4:]) == message
    assert ("Decode only" in prose) or pack(message) == data[4:]
    if hashed:
        body = foreign.elements(data[4:])[12]
        assert foreign.Attempt(message[2], message[3], body).request_hash().hex() == hashed
    if heading.startswith(("Reply", "Relay:", "Goodbye")):
        found = read(heading.split(maxsplit=1)[0].rstrip(":"), data[4:])
        if match := re.match(r"Reply with ([A-Z]\w+)", heading):
            body = read(match[1], found.body) if match[1] in foreign.STRUCTS else None
            assert body is not None or unpack(found.body) == []


def test_it_names_what_the_page_names() -> None:
    for name, fields in foreign.STRUCTS.items():
        known = [field.rstrip("?").partition(":")[0] for field in fields.split()]
        assert known == TABLES[name][: len(known)], name  # what was appended since is ignored
    replies = re.findall(
        r"^\| \d+ \| [A-Z_]+ \|.*\| `(\w+)` \| (?:yes|no) \|$", SPECIFICATION, re.MULTILINE
    )
    assert len(replies) > 30
    assert {name for name in replies if TABLES.get(name)} <= set(foreign.STRUCTS)


def test_there_are_vectors_of_every_kind() -> None:
    assert len(VECTORS) > 30
    assert len(REFUSED) > 10


@pytest.mark.parametrize(("frame", "code"), REFUSED)
def test_the_centre_refuses_what_the_page_says_it_refuses(
    counter: Counter, frame: str, code: str
) -> None:
    with counter.connect() as client:
        client.send_bytes(bytes.fromhex(frame))
        with pytest.raises(foreign.GoodbyeError) as said:
            client.wait(0)
        assert said.value.code == int(code)


@pytest.mark.parametrize("value", [
    0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, -1, -32, -33, -128, -129, -(1 << 31) - 1,
    "", "张三" * 20, "a" * 70_000, b"", b"a" * 300, b"a" * 70_000, [None] * 16, [[True]] * 70_000,
])  # fmt: skip
def test_values_come_back(value: object) -> None:
    assert unpack(pack(value)) == value
    for end in {0, len(pack(value)) // 2, len(pack(value)) - 1}:
        with pytest.raises(ValueError, match="cut off"):
            unpack(pack(value)[:end])


# --- the session ---------------------------------------------------------------------------------


def test_a_day_at_the_counter(counter: Counter, holder: tuple[str, str, str]) -> None:
    desk = counter.desk
    with counter.connect() as client:
        assert read("Echoed", client.echo(b"before sign-on").body).payload == b"before sign-on"
        reply = client.sign_on("c001", desk.password, wants_stages=True)
        assert (reply.code, client.signed_on.version) == (APPROVED, 1)
        assert client.echo(b"").stages[0].microseconds >= 0

        reply = client.ask(foreign.MEMBER_QUERY, holder[1:])
        person = read("MemberFound", reply.body).person
        reply = client.ask(foreign.ELIGIBILITY, [person.psn_no, "310", "11", None])
        assert read("EligibilityFound", reply.body).is_entitled

        bill = bill_of(desk, 1234, 5678)
        attempt, reply = settle(client, bill, holder)
        settled = read("Settled", reply.body)
        foreign.check_split(settled.split)
        assert (settled.psn_no, settled.split.total_fen) == (person.psn_no, 1234 + 5678)
        assert settled.cancels == ""

        repeated = client.perform(attempt)
        assert (reply.duplicate, repeated.duplicate) == (False, True)
        assert repeated.body == reply.body
        found = status(client, attempt)
        assert (found.state, found.type, found.code) == (2, foreign.SETTLE, APPROVED)
        assert (found.setl_id, found.body) == (settled.setl_id, reply.body)

        for copies in (0, 1):
            reply = client.ask(foreign.PRINT_ACK, [settled.setl_id, True])
            assert read("PrintAcked", reply.body).copies == copies
        body = [client.terminal, attempt.msgid, "patient has left"]
        assert client.ask(foreign.REVERSE, body).code == CODES["ALREADY_PRINTED"]

        cancel = client.attempt(foreign.CANCEL, [settled.setl_id, "开错药"])
        undone = read("Settled", client.perform(cancel).body)
        foreign.check_split(undone.split)
        assert undone.cancels == settled.setl_id
        assert amounts(undone.split) == [-amount for amount in amounts(settled.split)]
        assert undone.balance_after_fen == person.account_balance_fen
        assert client.perform(cancel).duplicate
        assert client.ask(foreign.CANCEL, [settled.setl_id, ""]).code == CODES["ALREADY_UNDONE"]
        assert status(client, attempt).state == 4

        assert client.sign_off().code == APPROVED
        reply = client.ask(foreign.MEMBER_QUERY, holder[1:])
        assert reply.code == CODES["NOT_SIGNED_ON"]
        assert unpack(reply.body) is None
        client.goodbye()


def test_a_visit_by_the_page_alone(
    client: ForeignClient, holder: tuple[str, str, str], desk: Desk
) -> None:
    body = ["310", "11", None, "MZ-1", "0301", "", "上呼吸道感染", "", False, holder]
    register = client.attempt(foreign.REGISTER, body)
    reply = client.perform(register)
    opened = read("Registered", reply.body)
    assert client.perform(register).duplicate
    first, second = desk.items[:2]
    price = 4_520_000  # yuan 4.52
    taken = [
        ["F1", opened.begins, first.item, first.name, price, 50_000, 2260],
        ["F2", opened.begins, second.item, second.name, price, 10_000, 452],
        ["R1", opened.begins, first.item, first.name, price, -20_000, -904, "F1"],
    ]
    lines = client.attempt(foreign.LINES, [opened.mdtrt_id, taken])
    reply = client.perform(lines)
    found = read("LinesTaken", reply.body)
    assert (found.visit.state, found.visit.unsettled_fen) == (1, 2260 + 452 - 904)
    assert len(found.line_splits) == 3
    assert client.perform(lines).body == reply.body

    body = [opened.mdtrt_id, ["F2"], "录入错误"]
    changed = read("VisitChanged", client.ask(foreign.LINES_CANCEL, body).body)
    assert changed.visit.unsettled_count == 1
    bill = ["310", "11", changed.visit.unsettled_fen, True, "", [], None, None, "", opened.mdtrt_id]
    _attempt, reply = settle(client, bill, holder)
    settled = read("Settled", reply.body)
    assert settled.split.total_fen == 2260 - 904
    seen = read(
        "VisitFound", client.ask(foreign.VISIT_QUERY, [opened.mdtrt_id, "", None, 0, 9]).body
    )
    assert [(line.line.number, line.state, line.left_e4) for line in seen.lines] == [
        ("F1", 2, 30_000), ("F2", 3, 0), ("R1", 2, 0),
    ]  # fmt: skip
    assert [one.setl_id for one in seen.settlements] == [settled.setl_id]

    visit_cancel = [opened.mdtrt_id, "重复登记"]
    refused = client.ask(foreign.VISIT_CANCEL, visit_cancel)
    assert refused.code == CODES["SETTLED_ALREADY"]
    assert client.ask(foreign.CANCEL, [settled.setl_id, ""]).code == APPROVED
    changed = read("VisitChanged", client.ask(foreign.VISIT_CANCEL, visit_cancel).body)
    assert changed.visit.state == 4
    assert client.ask(foreign.LINES, [opened.mdtrt_id, taken]).code == CODES["VISIT_NOT_OPEN"]


def test_a_day_is_reconciled_by_the_page_alone(
    client: ForeignClient, holder: tuple[str, str, str], desk: Desk
) -> None:
    attempt, reply = settle(client, bill_of(desk, 1234, 5678), holder)
    settled = read("Settled", reply.body)
    split = settled.split
    sums = [
        split.total_fen, split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen,
        split.cash_fen,
    ]  # fmt: skip
    total = [settled.clearing_type, False, 1, *sums]
    body = client.ask(foreign.RECONCILE, [reply.business_date, 1, [total]]).body
    found = read("Reconciled", body)
    assert (found.outcome, found.wants_detail, found.open_count) == (0, False, 0)
    assert [list(vars(one.centre).values()) for one in found.compared] == [total]

    # As if the reply had been lost.
    found = read("Reconciled", client.ask(foreign.RECONCILE, [reply.business_date, 1, []]).body)
    assert (found.outcome, found.wants_detail) == (1, True)
    body = client.ask(foreign.RECONCILE_DETAIL, [found.reconcile_id, None, [], True]).body
    detailed = read("ReconcileDetailed", body)
    (missed,) = detailed.differences
    assert (missed.kind, missed.institution, detailed.next_after) == (1, None, None)
    assert list(vars(missed.centre).values()) == [
        attempt.msgid, client.terminal, False, settled.setl_id, settled.clearing_type, *sums, 1
    ]  # fmt: skip


def test_a_sign_on_holds_on_another_connection(counter: Counter, client: ForeignClient) -> None:
    card = counter.desk.card()
    with counter.connect(like=client) as second:
        exchanges = [second.send(second.attempt(foreign.ECHO, [b"a" * 4096])) for _ in range(4)]
        assert [second.wait(exchange).code for exchange in exchanges] == [APPROVED] * 4
        assert len(second._challenges) == 4
        assert second.open_card(card.atr, card.transmit).code == APPROVED
        # Another sign-on is another one: it ends alone, and renews no challenge that lives.
        assert second.sign_on("c001", counter.desk.password).code == APPROVED
        assert len(second._challenges) == 4
        assert second.sign_off().code == APPROVED
    card.reset()
    assert client.open_card(card.atr, card.transmit).code == APPROVED


def test_a_sign_on_is_the_terminals_and_the_operators(
    desk: Desk, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    client.operator = "c002"
    assert client.ask(foreign.MEMBER_QUERY, holder[1:]).code == CODES["OPERATOR_MISMATCH"]
    client.operator = "c001"
    card = desk.card()
    opened = read("CardOpened", client.open_card(card.atr, card.transmit).body)
    reply = client.ask(foreign.MEMBER_QUERY, ["03", opened.card_number])
    assert read("MemberFound", reply.body).person.psn_no == opened.person.psn_no


def test_replies_are_matched_by_exchange(client: ForeignClient) -> None:
    attempts = [client.attempt(foreign.ECHO, [bytes([n])]) for n in range(4)]
    exchanges = [client.send(attempt) for attempt in attempts]
    replies = [client.wait(exchange) for exchange in reversed(exchanges)]
    assert [unpack(reply.body) for reply in reversed(replies)] == [[bytes([n])] for n in range(4)]


def test_who_is_not_let_in_is_told_why(counter: Counter) -> None:
    with counter.connect(alpn="") as client, pytest.raises(foreign.GoodbyeError) as said:
        client.echo(b"")
    assert said.value.code == CODES["UNSUPPORTED_VERSION"]
    with (
        counter.connect(certificate_file=None) as client,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        client.wait(0)
    with counter.connect() as client:
        assert client.sign_on("c001", "wrong").code == CODES["OPERATOR_REFUSED"]


async def test_a_replaced_certificate_is_told_so(desk: Desk, counter: Counter) -> None:
    await desk.enrol(counter.credentials.terminal)
    with counter.connect() as client, pytest.raises(foreign.GoodbyeError) as said:
        client.wait(0)
    assert said.value.code == CODES["CERTIFICATE_REPLACED"]


def test_a_request_alone_is_refused(counter: Counter, client: ForeignClient) -> None:
    assert client.ask(99, []).code == CODES["UNKNOWN_MESSAGE_TYPE"]
    assert client.ask(foreign.ECHO, ["not a bin"]).code == CODES["INVALID_FIELD"]
    client.terminal = "ANOTHER"
    assert client.echo(b"").code == CODES["TERMINAL_MISMATCH"]
    client.terminal = counter.credentials.terminal
    attempt = client.attempt(foreign.ECHO, [b""])
    for msgid in ("", "X" * 12 + attempt.msgid[12:], attempt.msgid[:12] + "20260230" + "0" * 10):
        reply = client.perform(attempt._replace(msgid=msgid))
        assert reply.code == CODES["INVALID_MSGID"]
    reply = client.ask(foreign.STATUS, ["NOBODY", attempt.msgid])
    assert reply.code == CODES["INVALID_FIELD"]
    reply = client.ask(foreign.STATUS, [client.terminal, "X" * 12 + attempt.msgid[12:]])
    assert reply.code == CODES["INVALID_MSGID"]
    assert client.ask(foreign.PRINT_ACK, ["1", True]).code == CODES["ORIGINAL_NOT_FOUND"]
    assert client.ask(foreign.ELIGIBILITY, ["", "310", "11"]).code == 320
    assert client.echo(b"").code == APPROVED


# --- attempts ------------------------------------------------------------------------------------


def test_a_lost_reply_is_asked_for(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    bill = bill_of(counter.desk, 1500)
    attempt = client.settle_attempt(bill, preview(client, bill, holder).split, holder)
    with counter.connect(like=client) as lost:
        lost.send(attempt)
        deadline = time.monotonic() + 30
        while (found := status(client, attempt)).state in (0, 1):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert (found.state, found.code) == (2, APPROVED)
    reply = client.perform(attempt)
    assert (reply.code, reply.duplicate, reply.body) == (APPROVED, True, found.body)
    assert read("Settled", found.body).setl_id == found.setl_id


def test_the_same_msgid_with_another_body_is_refused(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    attempt, _reply = settle(client, bill_of(counter.desk, 900), holder)
    other, _reply = settle(client, bill_of(counter.desk, 901), holder)
    assert other.request_hash() != attempt.request_hash()
    reply = client.perform(other._replace(msgid=attempt.msgid))
    assert reply.code == CODES["MSGID_REUSED"]
    assert status(client, attempt).state == 2


def test_a_doubtful_settlement_is_reversed(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    attempt, reply = settle(client, bill_of(counter.desk, 1000), holder)
    settled = read("Settled", reply.body)
    reverse = client.attempt(foreign.REVERSE, [client.terminal, attempt.msgid, "no reply"])
    first = client.perform(reverse)
    done = read("Reversed", first.body)
    assert (done.result, done.setl_id) == (1, settled.setl_id)
    assert done.undo_setl_id not in ("", settled.setl_id)
    assert client.perform(reverse).body == first.body
    again = client.ask(foreign.REVERSE, [client.terminal, attempt.msgid, "no reply"])
    assert read("Reversed", again.body).result == 2
    assert client.perform(attempt).body == reply.body


def test_a_reversal_may_overtake_its_original(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    bill = bill_of(counter.desk, 1000)
    attempt = client.settle_attempt(bill, preview(client, bill, holder).split, holder)
    assert status(client, attempt).state == 0
    reply = client.ask(foreign.REVERSE, [client.terminal, attempt.msgid, "no reply"])
    assert read("Reversed", reply.body).result == 3
    assert status(client, attempt).state == 5
    assert client.perform(attempt).code == CODES["TOMBSTONED"]


def test_another_split_than_the_one_shown_comes_back(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    bill = bill_of(counter.desk, 1000)
    shown = preview(client, bill, holder)
    shown.split.cash_fen += 1
    attempt = client.settle_attempt(bill, shown.split, holder)
    reply = client.perform(attempt)
    assert reply.code == CODES["SPLIT_CHANGED"]
    assert (status(client, attempt).state, status(client, attempt).body) == (3, reply.body)
    changed = read("Previewed", reply.body)
    foreign.check_split(changed.split)
    again = client.settle_attempt(bill, changed.split, holder)
    assert client.perform(again).code == APPROVED


def test_neither_card_nor_a_named_exception(
    counter: Counter, client: ForeignClient, holder: tuple[str, str, str]
) -> None:
    bill = bill_of(counter.desk, 1000)
    reply = client.ask(foreign.PREVIEW, [bill])
    assert reply.code == CODES["CARD_SESSION_REQUIRED"]
    reply = client.ask(foreign.PREVIEW, [bill, ("no-such", *holder[1:])])
    assert reply.code == CODES["EXCEPTION_NOT_ALLOWED"]
    reply = client.ask(foreign.PREVIEW, [bill_of(counter.desk, 20_001), holder])
    assert reply.code == CODES["EXCEPTION_NOT_ALLOWED"]


# --- cards ---------------------------------------------------------------------------------------


def card_of(desk: Desk, version: str) -> tuple[SimulatedCard, str]:
    """A valid card of a version of the card specification, and its holder's name."""
    row = next(
        row
        for row in iterate_cards(desk.city.population)
        if (row["state"], row["version"]) == ("1", version) and int(row["ends"]) > 20270101
        and Algorithm(int(row["algorithm"])) is not Algorithm.SSF33
    )  # fmt: skip
    data = find_card(desk.city.population, row["card_no"])
    return print_card(data, RootKeys.read(desk.city.keys, data.algorithm)), data.holder_name


@pytest.mark.parametrize(("version", "round_trips"), [("2.00", 1), ("3.00", 2)])
def test_a_card_is_opened(
    desk: Desk, client: ForeignClient, version: str, round_trips: int
) -> None:
    card, holder_name = card_of(desk, version)
    reply = client.open_card(card.atr, card.transmit, reader="window 1")
    assert reply.code == APPROVED
    opened = read("CardOpened", reply.body)
    assert (opened.round_trips, opened.holder_name, opened.proof) == (round_trips, holder_name, 2)
    assert opened.person.name == holder_name
    assert opened.card_time_us > 0


def test_a_card_pays(counter: Counter, client: ForeignClient) -> None:
    card = counter.desk.card()
    opened = read("CardOpened", client.open_card(card.atr, card.transmit).body)
    reply = client.ask(foreign.ELIGIBILITY, ["", "310", "11"], opened.card_session)
    assert read("EligibilityFound", reply.body).is_entitled
    bill = bill_of(counter.desk, 1000)
    shown = preview(client, bill, None, opened.card_session)
    attempt = client.settle_attempt(bill, shown.split)
    reply = client.perform(attempt, opened.card_session)
    settled = read("Settled", reply.body)
    assert (settled.psn_no, settled.split) == (opened.person.psn_no, shown.split)
    assert settled.balance_after_fen == shown.balance_after_fen
    # The attempt's repetition needs no session.
    assert client.perform(attempt).body == reply.body


def test_challenges_do_not_run_out(desk: Desk, client: ForeignClient) -> None:
    card = desk.card()
    for _ in range(6):
        card.reset()
        assert client.open_card(card.atr, card.transmit).code == APPROVED
    # Taken and never named to the centre, they stay taken: one Relay does it all then.
    client._challenges.clear()
    card.reset()
    reply = client.open_card(card.atr, card.transmit)
    assert (reply.code, read("CardOpened", reply.body).round_trips) == (APPROVED, 1)


def removed_after(count: int, transmit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def send(command: bytes) -> bytes:
        nonlocal count
        count -= 1
        if count < 0:
            raise foreign.CardRemovedError
        return transmit(command)

    return send


def test_an_exchange_that_has_ended_may_still_be_answered(
    desk: Desk, client: ForeignClient
) -> None:
    client.time_left_ms = 1000
    card = desk.card()
    body = ["", card.atr, 0, 0, foreign.COMPLETED, [], False, 0]
    exchange = client.send(client.attempt(foreign.CARD_OPEN, body))
    relay = read("Relay", client.receive_payload(time.monotonic() + 10))
    assert (relay.exchange, relay.sequence) == (exchange, 1)
    assert client.wait(exchange).code == CODES["CARD_READER_FAULT"]
    late = [foreign.RELAYED, exchange, relay.sequence, foreign.COMPLETED, [], 0]
    client.send_payload(pack(late))
    client.time_left_ms = 10_000
    assert client.echo(b"").code == APPROVED


def test_a_card_that_does_not_open(desk: Desk, client: ForeignClient) -> None:
    card, _holder_name = card_of(desk, "3.00")
    reply = client.open_card(card.atr, removed_after(3, card.transmit))
    assert reply.code == CODES["CARD_REMOVED"]
    reply = client.open_card(card.atr, lambda _command: b"\x6f\x00")
    assert reply.code == CODES["CARD_UNEXPECTED_STATUS"]

    def fail(_command: bytes) -> bytes:
        raise OSError("the reader was unplugged")

    assert client.open_card(card.atr, fail).code == CODES["CARD_READER_FAULT"]
    reply = client.open_card(b"\x3b\x00", lambda _command: b"\x6a\x82")
    assert reply.code == CODES["CARD_UNKNOWN"]
    card.reset()
    assert client.open_card(card.atr, card.transmit).code == APPROVED


def test_lists_are_downloaded_by_the_page_alone(desk: Desk, client: ForeignClient) -> None:
    newest = {one.name: one.version for one in client.signed_on.lists}
    assert set(newest) == {"revocations", "catalogue", "mapping", "parameters"}
    version, items = client.download("catalogue", size_max=9_000)
    assert version == newest["catalogue"]
    assert len({(row.item, row.begins) for row in items}) == len(items) == 4_000
    assert client.download("catalogue", version) == (version, [])
    version, revocations = client.download("revocations")
    assert version >= newest["revocations"] > 0
    card, data = desk.card(), desk.card_data()
    assert card.atr[-8:] == data.historical[5:]
    named = b"card\0social_security_card\0" + data.region.encode() + b"\0" + card.atr[-8:]
    subject = hashlib.sha256(named).digest()[:16]
    assert subject not in {row.subject for row in revocations if row.reason}
    (parameters,) = client.download("parameters")[1]
    assert {one.code: one.retry for one in parameters.codes}[CODES["BUSY"]] == "SAME_MSGID"
    with pytest.raises(ValueError, match="refused with 105"):
        client.download("nothing")


def test_a_batch_is_run_as_the_page_says() -> None:
    sent = []
    answers = {
        "00b2012c12": "6c04", "00b2012c04": "6103",
        "00c0000003": "aabb6101", "00c0000001": "cc9000",
        "0388000001ff": "6c08", "0388000001ff08": "6110", "03c0000010": "019000",
        "00a4040001220a": "6c02", "00a40400012202": "9000", "0084000008": "6f00",
    }  # fmt: skip

    def transmit(command: bytes) -> bytes:
        sent.append(command.hex())
        return bytes.fromhex(answers[command.hex()])

    def step(command: str, spans: Sequence[Any] = (), condition: Any = None) -> Any:
        body = [bytes.fromhex(command), [0x9000], spans, condition]
        return read("CardStep", pack(body))

    steps = [
        step("00b2012c12"),
        step("038800000100", [[5, 1, 1]]),
        step("00a4040001220a", (), [0, 1, b"\xbb\xcc"]),
        step("ffffffffff", (), [0, 1, b"\xbb\xcd"]),
        step("ffffffffff", (), [0, 2, b"\xcc\x90"]),
        step("ffffffffff", (), [3, 0, b""]),
        step("0084000008"),
        step("ffffffffff"),
    ]
    ran = foreign.run_batch(transmit, steps, b"\x00\xff")
    assert sent == list(answers)
    assert ran.outcome == foreign.UNEXPECTED_STATUS
    assert [answer.hex() for answer in ran.answers] == [
        "aabbcc9000", "019000", "9000", "", "", "", "6f00"
    ]  # fmt: skip
    for unsound in (step("00b2012c12", (), [0, 0, b""]), step("00b2012c12", [[4, 0, 2]])):
        assert foreign.run_batch(transmit, [unsound], b"\x00\xff") == (foreign.READER_FAULT, [], 0)
