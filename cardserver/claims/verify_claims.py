"""Claims compared with their entries, their requests and the replies that were stored. Pure.

What a claim says must be what its entry posted and what the institution was answered. Not here:
reading them (`ledger/verify_chain.py`), the accumulators that they moved
(`verify_accumulators.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import DecodeError, Raw, Struct, msgpack
from msgspec.structs import asdict

from cardserver.benefits import values as benefits
from cardserver.benefits.adjudication import negated
from cardserver.claims import tables
from cardserver.claims.accounting import settlement_entry
from cardserver.funding.verify_funding import FUNDING_TABLES
from ledger.entries import EntryKind, UnbalancedEntryError
from ledger.fund_acts import ACT_MIN, DONE
from ledger.group import TOMBSTONE_TYPE
from ledger.sealing import is_expired
from ledger.verify_chain import LEDGER_TABLES, SealedGroup, SealedTable
from ledger.verify_findings import Difference, blob, key_of
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType

CLAIM = SealedTable(
    str(tables.claim.name),
    tuple(str(column.name) for column in tables.claim.columns),
    by="entry_no",
    key=("entry_no",),
    order=("entry_no",),
)
AUDIT = SealedTable(
    str(tables.audit.name),
    tuple(str(column.name) for column in tables.audit.columns),
    by="seal_no",
    key=("seal_no", "line"),
    order=("seal_no", "line"),
)
SEALED_TABLES = (*LEDGER_TABLES, CLAIM, AUDIT, *FUNDING_TABLES)
KINDS_OF_CLAIMS = frozenset(
    {EntryKind.SETTLEMENT, EntryKind.CANCELLATION, EntryKind.REVERSAL, EntryKind.REFUND}
)
_Amounts = tuple[int, int, int, int, int]
_LEFT_OUT = Raw()


class ClaimRow(NamedTuple):
    """A row of claims, its columns in the schema's order."""

    entry_no: int
    person_no: int
    institution_no: int
    terminal_no: int
    msgid: str
    operator_no: int
    type: int
    insutype: str
    med_type: str
    business_date: int
    care_date: int
    undoes: int | None
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    mutual_aid_fen: int
    cash_fen: int
    policy: str
    card_no: int
    proof: int
    exception: str
    list_version: int
    detail: bytes


class EntryRow(NamedTuple):
    """A row of entries."""

    entry_no: int
    person_no: int
    kind: int
    period: int
    business_date: int
    institution_no: int
    clearing_type: int
    undoes: int | None
    recorded_time_ms: int


class RequestRow(NamedTuple):
    """A row of stored outcomes."""

    month: int
    institution_no: int
    terminal_no: int
    msgid: str
    type: int
    request_hash: bytes
    code: int
    body: bytes
    entry_no: int | None
    business_date: int
    recorded_time_ms: int
    seal_no: int


class _Layer(benefits.Layer, frozen=True, array_like=True):
    """As stored, and as on the wire."""


class _Split(benefits.Split, frozen=True, array_like=True):
    """As stored, and as on the wire."""

    layers: tuple[_Layer, ...]


class Kept(Struct, frozen=True, array_like=True):
    """What of a claim's detail is compared; `claim_detail.py` says what there is."""

    bill: Raw
    split: _Split
    line_splits: Raw
    amounts: _Amounts
    scheme: str
    year: int
    payer_person_no: int = 0
    reason: str = ""
    layers: tuple[tuple[str, _Amounts], ...] = ()
    facts: Raw = _LEFT_OUT
    visit_no: int = 0
    checked: Raw = _LEFT_OUT
    replaces: int = 0

    def moved(self) -> Iterator[tuple[str, _Amounts]]:
        """Return what rows of accumulators were moved by."""
        yield self.scheme, self.amounts
        yield from self.layers


class _Settled(Struct, frozen=True, array_like=True):
    setl_id: str
    psn_no: str
    split: _Split
    balance_after_fen: int
    settled_time_ms: int
    cancels: str = ""


class _Refunded(Struct, frozen=True, array_like=True):
    refunds: str
    undo_setl_id: str
    setl_id: str
    psn_no: str
    given_back: _Split
    remaining: _Split | None
    lines: Raw
    balance_after_fen: int
    settled_time_ms: int


class _Reversed(Struct, frozen=True, array_like=True):
    result: int
    setl_id: str
    undo_setl_id: str
    balance_after_fen: int


_KEPT = msgpack.Decoder(Kept)
_SETTLED = msgpack.Decoder(_Settled)
_REVERSED = msgpack.Decoder(_Reversed)
_REFUNDED = msgpack.Decoder(_Refunded)
# What a decoder raises for bytes that were changed; a text that is none is its own kind.
_UNREADABLE = (DecodeError, UnicodeDecodeError)


def decode_kept(claim: ClaimRow) -> Kept | None:
    """Read what a claim's detail says; None where it can't be read."""
    try:
        return _KEPT.decode(blob(claim.detail))
    except _UNREADABLE:
        return None


def originals_of(groups: Iterable[SealedGroup]) -> set[int]:
    """Return the numbers of the claims that these groups' claims undo."""
    place = CLAIM.columns.index("undoes")
    return {
        row[place]
        for group in groups
        for row in group.rows.get(CLAIM.name, ())
        if row[place] is not None
    }


def check_group(
    group: SealedGroup, kept: Mapping[int, Kept | None], originals: Mapping[int, ClaimRow]
) -> Iterator[Difference]:
    """Compare a group's claims with all that was written with them.

    Args:
        group: Its rows.
        kept: What its claims' details say, by number.
        originals: The claims that its claims undo.
    """
    entries = {row[0]: EntryRow(*row) for row in group.rows.get("entry", ())}
    claims = {row[0]: ClaimRow(*row) for row in group.rows.get(CLAIM.name, ())}
    requests = [RequestRow(*row) for row in group.rows.get("request", ())]
    postings: dict[int, list[tuple[int, int, int]]] = {}
    for number, _, account, owner, amount_fen in group.rows.get("posting", ()):
        postings.setdefault(number, []).append((account, owner, amount_fen))
    for number, entry in entries.items():
        if entry.kind in KINDS_OF_CLAIMS and number not in claims:
            key = key_of(entry_no=number)
            yield Difference(CLAIM.name, key, "row", "no such row", "a claim of this entry")
    for number, claim in claims.items():
        name = partial(key_of, entry_no=number)
        entry_or_none = entries.get(number)
        if entry_or_none is None:
            yield Difference(CLAIM.name, name(), "entry", "no such entry", "an entry")
            continue
        yield from _compare(CLAIM.name, name, _claim_by_entry(claim, entry_or_none))
        detail = kept[number]
        if detail is None:
            yield Difference(CLAIM.name, name(), "detail", "not to be read", "a claim's detail")
            continue
        yield from _check_detail(claim, detail)
        yield from _check_postings(claim, detail, postings.get(number, []))
        if claim.undoes is not None:
            yield from _check_undoing(claim, detail, originals.get(claim.undoes))
    yield from _check_requests(requests, entries, claims, kept)


_Facts = Iterable[tuple[str, object, object]]


_Named = Callable[[], str]
"""Names a row, when it has to be named: of a million rows hardly one has."""


def _compare(table: str, name: _Named, facts: _Facts) -> list[Difference]:
    return [
        Difference(table, name(), what, str(stored), str(recomputed))
        for what, stored, recomputed in facts
        if stored != recomputed
    ]


def _claim_by_entry(claim: ClaimRow, entry: EntryRow) -> _Facts:
    return (
        ("person_no", claim.person_no, entry.person_no),
        ("institution_no", claim.institution_no, entry.institution_no),
        ("business_date", claim.business_date, entry.business_date),
        ("undoes", claim.undoes, entry.undoes),
        ("med_type", claim.med_type, str(entry.clearing_type)),
    )


def _check_detail(claim: ClaimRow, detail: Kept) -> Iterator[Difference]:
    """Compare a claim's columns with its detail, and the detail's sums with each other."""
    split, key = detail.split, partial(key_of, entry_no=claim.entry_no)
    person_fen = split.account_pay_fen + split.mutual_aid_fen + split.cash_fen
    yield from _compare(
        CLAIM.name,
        key,
        (
            ("total_fen", claim.total_fen, split.total_fen),
            ("fund_pay_fen", claim.fund_pay_fen, split.fund_pay_fen),
            ("account_pay_fen", claim.account_pay_fen, split.account_pay_fen),
            ("mutual_aid_fen", claim.mutual_aid_fen, split.mutual_aid_fen),
            ("cash_fen", claim.cash_fen, split.cash_fen),
            (
                "detail: total",
                split.total_fen,
                split.fully_own_fen
                + split.over_limit_fen
                + split.pre_self_pay_fen
                + split.in_scope_fen,
            ),
            (
                "detail: who pays",
                split.total_fen,
                split.fund_pay_fen + split.person_part_fen + split.hospital_part_fen,
            ),
            ("detail: the person's part", split.person_part_fen, person_fen),
            (
                "detail: layers",
                split.fund_pay_fen,
                sum(layer.paid_fen for layer in split.layers),
            ),
        ),
    )


def _check_postings(
    claim: ClaimRow, detail: Kept, found: Sequence[tuple[int, int, int]]
) -> Iterator[Difference]:
    """Compare an entry's postings with those that the claim's split makes."""
    try:
        wanted = settlement_entry(
            detail.split,
            person_no=claim.person_no,
            payer_person_no=detail.payer_person_no,
            institution_no=claim.institution_no,
            insutype=claim.insutype,
            clearing_type=0,  # of the entry's head, not of its postings
        ).postings
    except (UnbalancedEntryError, ValueError) as error:
        key = key_of(entry_no=claim.entry_no)
        yield Difference(CLAIM.name, key, "detail", str(error), "a split that can be posted")
        return
    if list(wanted) == list(found):
        return
    for line in range(max(len(wanted), len(found))):
        stored = found[line] if line < len(found) else None
        recomputed = tuple(wanted[line]) if line < len(wanted) else None
        if stored != recomputed:
            yield Difference(
                "posting",
                key_of(entry_no=claim.entry_no, line=line + 1),
                "account, owner, amount_fen",
                "no such row" if stored is None else ", ".join(map(str, stored)),
                "no such row" if recomputed is None else ", ".join(map(str, recomputed)),
            )


def _check_undoing(
    claim: ClaimRow, detail: Kept, original: ClaimRow | None
) -> Iterator[Difference]:
    key = partial(key_of, entry_no=claim.entry_no)
    undone = None if original is None else decode_kept(original)
    if original is None or undone is None:
        yield Difference(CLAIM.name, key(), "undoes", str(claim.undoes), "a claim that can be read")
        return
    given_back = [(row, tuple(-one for one in amounts)) for row, amounts in undone.moved()]
    yield from _compare(
        CLAIM.name,
        key,
        (
            ("person_no", claim.person_no, original.person_no),
            ("insutype", claim.insutype, original.insutype),
            ("med_type", claim.med_type, original.med_type),
            ("care_date", claim.care_date, original.care_date),
            ("policy", claim.policy, original.policy),
            ("detail: split", _words(detail.split), _words(negated(undone.split))),
            ("detail: moved", list(detail.moved()), given_back),
            ("detail: year", detail.year, undone.year),
            ("detail: payer", detail.payer_person_no, undone.payer_person_no),
        ),
    )


def _check_requests(
    requests: Sequence[RequestRow],
    entries: Mapping[int, EntryRow],
    claims: Mapping[int, ClaimRow],
    kept: Mapping[int, Kept | None],
) -> Iterator[Difference]:
    asked = {(one.institution_no, one.terminal_no, one.msgid) for one in requests if one.entry_no}
    for claim in claims.values():
        key = (claim.institution_no, claim.terminal_no, claim.msgid)
        if key not in asked:
            yield Difference(
                "request",
                key_of(institution_no=key[0], terminal_no=key[1], msgid=key[2]),
                "row", "no such row", f"the outcome of claim {claim.entry_no}",
            )  # fmt: skip
    for request in requests:
        key_text = partial(
            key_of,
            month=request.month,
            institution_no=request.institution_no,
            terminal_no=request.terminal_no,
            msgid=request.msgid,
        )
        if request.type >= ACT_MIN:
            yield from _compare(
                "request", key_text, _act(request, entries.get(request.entry_no or 0))
            )
            continue
        if request.entry_no is None:
            is_tombstone = request.type == TOMBSTONE_TYPE
            yield from _compare(
                "request",
                key_text,
                (
                    ("month", str(request.month), request.msgid[12:18]),
                    (
                        "code of a tombstone",
                        request.code == ResponseCode.TOMBSTONED,
                        is_tombstone,
                    ),
                ),
            )
            continue
        entry = entries.get(request.entry_no)
        if entry is None:
            yield Difference("request", key_text(), "entry_no", str(request.entry_no), "an entry")
            continue
        yield from _compare("request", key_text, _request_by_entry(request, entry))
        claim_or_none, detail = claims.get(request.entry_no), kept.get(request.entry_no)
        if claim_or_none is not None and detail is not None:
            facts = _reply_by_claim(request, claim_or_none, detail, kept)
            yield from _compare("request", key_text, facts)


def _request_by_entry(request: RequestRow, entry: EntryRow) -> _Facts:
    return (
        ("month", str(request.month), request.msgid[12:18]),
        ("code", request.code, int(ResponseCode.APPROVED)),
        ("institution_no", request.institution_no, entry.institution_no),
        ("business_date", request.business_date, entry.business_date),
        ("recorded_time_ms", request.recorded_time_ms, entry.recorded_time_ms),
    )


def _act(request: RequestRow, entry: EntryRow | None) -> _Facts:
    """Compare an outcome of the fund's own acts with its first entry, if it has any."""
    facts: list[tuple[str, object, object]] = [
        ("institution_no", request.institution_no, 0),
        ("terminal_no", request.terminal_no, 0),
        ("msgid", request.msgid.partition("-")[0], str(request.type)),
        ("code", request.code, DONE),
    ]
    if request.entry_no is not None:
        found = None if entry is None else (entry.business_date, entry.recorded_time_ms)
        facts.append(
            ("entry_no", (request.business_date, request.recorded_time_ms), found or "an entry")
        )
    return facts


def _reply_by_claim(
    request: RequestRow, claim: ClaimRow, detail: Kept, kept: Mapping[int, Kept | None]
) -> _Facts:
    facts: list[tuple[str, object, object]] = [
        ("type", request.type, claim.type),
        ("terminal_no", request.terminal_no, claim.terminal_no),
        ("msgid", request.msgid, claim.msgid),
    ]
    body = blob(request.body)
    if is_expired(body):
        return facts  # its hash is sealed
    try:
        if request.type in {MessageType.SETTLE, MessageType.CANCEL}:
            settled = _SETTLED.decode(body)
            facts += [
                ("body: setl_id", settled.setl_id, str(claim.entry_no)),
                ("body: psn_no", settled.psn_no, str(claim.person_no)),
                ("body: split", settled.split, detail.split),
                ("body: settled_time_ms", settled.settled_time_ms, request.recorded_time_ms),
                ("body: cancels", settled.cancels, str(claim.undoes or "")),
            ]
        elif request.type == MessageType.REVERSE:
            reversed_ = _REVERSED.decode(body)
            facts += [
                ("body: setl_id", reversed_.setl_id, str(claim.undoes or "")),
                ("body: undo_setl_id", reversed_.undo_setl_id, str(claim.entry_no)),
            ]
        elif request.type == MessageType.REFUND:
            rest = kept.get(claim.entry_no + 1)  # what remained is settled next
            if rest is not None and rest.replaces != claim.undoes:
                rest = None
            facts += _refunded_facts(_REFUNDED.decode(body), request, claim, detail, rest)
    except _UNREADABLE:
        facts.append(("body", "not to be read", "the reply that the claim makes"))
    return facts


def _refunded_facts(
    reply: _Refunded, request: RequestRow, claim: ClaimRow, undoing: Kept, rest: Kept | None
) -> _Facts:
    """Compare what a refund was answered with what it undid and what remained."""
    remaining = None if rest is None else rest.split
    given_back = _words(negated(undoing.split))
    if remaining is not None:
        given_back = _difference(given_back, _words(remaining))
    return (
        ("body: refunds", reply.refunds, str(claim.undoes)),
        ("body: undo_setl_id", reply.undo_setl_id, str(claim.entry_no)),
        ("body: setl_id", reply.setl_id, "" if rest is None else str(claim.entry_no + 1)),
        ("body: psn_no", reply.psn_no, str(claim.person_no)),
        ("body: given_back", _by_layer(_words(reply.given_back)), _by_layer(given_back)),
        ("body: remaining", reply.remaining, remaining),
        ("body: settled_time_ms", reply.settled_time_ms, request.recorded_time_ms),
    )


def _difference(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """Subtract amount by amount, and layer by layer."""
    left = {
        name: amount - taken
        for name, amount in before.items()
        if isinstance(amount, int) and isinstance(taken := after[name], int)
    }
    layers, taken_layers = _by_layer(before)["layers"], _by_layer(after)["layers"]
    assert isinstance(layers, dict)
    assert isinstance(taken_layers, dict)
    names = {**layers, **taken_layers}
    paid = [(name, layers.get(name, 0) - taken_layers.get(name, 0)) for name in names]
    return {**left, "layers": paid}


def _by_layer(words: dict[str, object]) -> dict[str, object]:
    layers = words["layers"]
    return {**words, "layers": dict(layers) if isinstance(layers, list) else {}}


def _words(split: benefits.Split) -> dict[str, object]:
    """Return a split's amounts by name, whatever type it has."""
    return {**asdict(split), "layers": [(one.field, one.paid_fen) for one in split.layers]}
