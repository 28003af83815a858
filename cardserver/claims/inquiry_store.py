"""All that is known of one msgid: outcome, claim, entry, postings, prints, and where time went.

For people who look into one request; not on any hot path. Not here: STATUS, which tells a
terminal what it may know (`claims_store.find_status`).
"""

from collections.abc import Sequence

from msgspec import Struct, msgpack

from cardserver.benefits.values import ExplanationStep, LineSplit, Moved, Split
from cardserver.claims import tables
from cardserver.claims.claim_detail import decode_detail
from cardserver.claims.values import Checked, ClaimDetail, request_key
from cardserver.registry import tables as registry
from cardserver.registry.revocation_store import list_age
from ledger.accounts import Account
from ledger.bulk_store import select
from ledger.ledger_store import (
    FIND_ENTRIES,
    FIND_POSTINGS,
    read_requests,
)
from ledger.scripts import Script
from protocol.terminal.messages import MessageType
from protocol.terminal.msgid import parse

_TERMINALS = select(registry.terminal, ("terminal_no", "code"), by=("institution_no",))
_INSTITUTION = select(registry.institution, ("institution_no", "name"), by=("code",))
_CLAIM_COLUMNS = (
    "person_no", "terminal_no", "operator_no", "insutype", "med_type", "care_date", "policy",
    "card_no", "proof", "exception", "list_version", "detail",
)  # fmt: skip
_CLAIM = select(tables.claim, _CLAIM_COLUMNS, by=("entry_no",))
_UNDOING = select(tables.claim, ("entry_no", "msgid", "type"), by=("undoes",))
_PRINTS = select(tables.print_ack, ("copy", "is_printed", "recorded_time_ms"), by=("entry_no",))
_STAGES = select(
    tables.request_stage,
    ("institution_no", "terminal_no", "recorded_time_ms", "type", "code", "stages", "trace"),
    by=("msgid",),
)
_FELT = select(
    tables.request_felt,
    ("institution_no", "terminal_no", "recorded_time_ms", "type", "code", "took_us", "sends",
     "stages"),
    by=("msgid",),
)  # fmt: skip


class Posted(Struct, frozen=True):
    """One posting in words; debit positive, credit negative."""

    account: int
    name_zh: str
    name_en: str
    owner: int
    amount_fen: int


class LineFound(Struct, frozen=True):
    """One line of the bill, and how it was divided."""

    item: str
    name: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int
    divided: LineSplit


class Printed(Struct, frozen=True):
    """One report of a printer."""

    is_printed: bool
    recorded_time_ms: int


class Timed(Struct, frozen=True):
    """One coming of the request: when it was answered, how, and its stages in microseconds.

    Attributes:
        trace: Its W3C trace id; empty where it was not kept.
    """

    recorded_time_ms: int
    type: int
    code: int
    stages: tuple[tuple[str, int], ...]
    trace: str = ""


class FeltFound(Struct, frozen=True):
    """What the terminal felt of it, as it said with a later request.

    Attributes:
        recorded_time_ms: When it said so.
        took_us: From when the cashier asked to the answer.
        sends: How often it was sent.
        stages: The terminal's own, in microseconds.
    """

    recorded_time_ms: int
    type: int
    code: int
    took_us: int
    sends: int
    stages: tuple[tuple[str, int], ...]


class ClaimFound(Struct, frozen=True):
    """The claim that a request made.

    Attributes:
        list_version: Of the revocation list that the terminal held; 0 none.
        list_age_ms: For how long that list had been overtaken by then; None without one.
        checked: What the checks at the counter found; None where that is nothing.
        mdtrt_id: The visit whose lines it settled, or reopened; empty for none.
    """

    setl_id: str
    psn_no: str
    operator_no: int
    insutype: str
    med_type: str
    care_date: int
    policy: str
    card_no: int
    proof: int
    exception: str
    list_version: int
    list_age_ms: int | None
    undoes: str
    undone_by: str
    undone_by_msgid: str
    period: int
    replaces: str
    reason: str
    scheme: str
    year: int
    moved: tuple[Moved, ...]
    split: Split
    lines: tuple[LineFound, ...]
    postings: tuple[Posted, ...]
    prints: tuple[Printed, ...]
    checked: Checked | None = None
    mdtrt_id: str = ""


class ClaimTold(Struct, frozen=True):
    """A claim decided again by the version that decided it.

    Attributes:
        result: Name of an `ExplainResult`; steps come with EXPLAINED only.
        difference: What came out otherwise.
    """

    setl_id: str
    result: str
    difference: str
    steps: tuple[ExplanationStep, ...]


class RequestFound(Struct, frozen=True):
    """What is known of one msgid of one terminal; type 0 is a tombstone, None never stored.

    Attributes:
        claim: What it made; of a refund the exact negative of the settlement refunded.
        remainder: What a refund settled anew.
        told: Its claims explained, where that was asked for.
        felt: What the terminal felt of it.
    """

    institution: str
    terminal: str
    msgid: str
    type: int | None
    code: int | None
    business_date: int | None
    recorded_time_ms: int | None
    claim: ClaimFound | None
    times: tuple[Timed, ...]
    remainder: ClaimFound | None = None
    told: tuple[ClaimTold, ...] = ()
    felt: tuple[FeltFound, ...] = ()


def inquire(msgid: str) -> Script[tuple[RequestFound, ...]]:
    """Find all that is known of a msgid, at whichever terminals of its institution.

    Raises:
        RemoteProtocolError: It is no msgid.
    """
    institution_code = parse(msgid).institution
    institutions = yield _INSTITUTION([(institution_code,)])
    if not institutions:
        return ()
    institution_no = institutions[0][1]
    terminals = {row[1]: row[2] for row in (yield _TERMINALS([(institution_no,)]))}
    stored = yield from read_requests(
        [request_key(institution_no, terminal_no, msgid) for terminal_no in terminals]
    )
    times: dict[int, list[Timed]] = {}
    for row in (yield _STAGES([(msgid,)])):
        _, owner_no, terminal_no, time_ms, type_, code, stages, trace = row
        if owner_no == institution_no:
            timed = Timed(time_ms, type_, code, _pairs(stages), bytes(trace).hex())
            times.setdefault(terminal_no, []).append(timed)
    felt: dict[int, list[FeltFound]] = {}
    for row in (yield _FELT([(msgid,)])):
        _, owner_no, terminal_no, time_ms, type_, code, took_us, sends, stages = row
        if owner_no == institution_no:
            one = FeltFound(time_ms, type_, code, took_us, sends, _pairs(stages))
            felt.setdefault(terminal_no, []).append(one)
    found: list[RequestFound] = []
    for terminal_no, code in sorted(terminals.items()):
        request = stored.get(request_key(institution_no, terminal_no, msgid))
        if request is None and terminal_no not in times:
            continue
        claim = None
        remainder = None
        if request is not None and request.entry_no is not None:
            at_ms = request.recorded_time_ms
            claim = yield from _claim(request.entry_no, at_ms=at_ms)
            if request.type == MessageType.REFUND and claim is not None:
                # What remained was settled next, in the same group and slot.
                rest = yield from _claim(request.entry_no + 1, at_ms=at_ms)
                remainder = rest if rest is not None and rest.replaces == claim.undoes else None
        found.append(
            RequestFound(
                institution=institution_code,
                terminal=code,
                msgid=msgid,
                type=None if request is None else request.type,
                code=None if request is None else request.code,
                business_date=None if request is None else request.business_date,
                recorded_time_ms=None if request is None else request.recorded_time_ms,
                claim=claim,
                times=tuple(
                    sorted(times.get(terminal_no, ()), key=lambda one: one.recorded_time_ms)
                ),
                remainder=remainder,
                felt=tuple(sorted(felt.get(terminal_no, ()), key=lambda one: one.recorded_time_ms)),
            )
        )
    return tuple(found)


def _pairs(stages: bytes) -> tuple[tuple[str, int], ...]:
    return msgpack.decode(stages, type=tuple[tuple[str, int], ...])


def _claim(entry_no: int, *, at_ms: int) -> Script[ClaimFound | None]:
    rows = yield _CLAIM([(entry_no,)])
    if not rows:
        return None
    (
        _, person_no, _, operator_no, insutype, med_type, care_date, policy, card_no, proof,
        exception, list_version, detail,
    ) = rows[0]  # fmt: skip
    ((_, _, _, _, _, undoes, period, _, _),) = yield FIND_ENTRIES([(entry_no,)])
    kept = decode_detail(detail)
    undoing = yield _UNDOING([(entry_no,)])
    postings = yield FIND_POSTINGS([(entry_no,)])
    prints = yield _PRINTS([(entry_no,)])
    age_ms = (yield from list_age(list_version, at_ms=at_ms)) if list_version else None
    return ClaimFound(
        setl_id=str(entry_no),
        psn_no=str(person_no),
        operator_no=operator_no,
        insutype=insutype,
        med_type=med_type,
        care_date=care_date,
        policy=policy,
        card_no=card_no,
        proof=proof,
        exception=exception,
        list_version=list_version,
        list_age_ms=age_ms,
        undoes=str(undoes or ""),
        undone_by=str(undoing[0][1]) if undoing else "",
        undone_by_msgid=undoing[0][2] if undoing else "",
        period=period,
        replaces=str(kept.replaces or ""),
        mdtrt_id=str(kept.visit_no or ""),
        reason=kept.reason,
        scheme=kept.scheme,
        year=kept.year,
        moved=kept.moved,
        split=kept.split,
        lines=_lines(kept),
        postings=_postings(postings),
        prints=tuple(
            Printed(bool(is_printed), time_ms) for _, _, is_printed, time_ms in sorted(prints)
        ),
        checked=kept.checked,
    )


def _lines(kept: ClaimDetail) -> tuple[LineFound, ...]:
    if kept.bill is None:
        return ()
    return tuple(
        LineFound(
            line.item, line.name, line.price_microyuan, line.quantity_e4, line.gross_fen, divided
        )
        for line, divided in zip(kept.bill.lines, kept.line_splits, strict=True)
    )


def _postings(rows: Sequence[tuple[int, ...]]) -> tuple[Posted, ...]:
    names = {account.value: account for account in Account}
    return tuple(
        Posted(account, names[account].name_zh, names[account].name_en, owner, amount_fen)
        for _, _, account, owner, amount_fen in sorted(rows)
    )
