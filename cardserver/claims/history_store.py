"""What a person bought lately: the settlements that stand, as the checks at the counter see them.

One descent of an index for a person, however many claims there are in all. Not here: what the
checks make of it (`checking.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

import datetime as dt
from collections.abc import Iterator, Mapping

from msgspec import Raw, Struct, msgpack

from cardserver.checks.values import CheckedLine, CheckedPlace, Occasion
from cardserver.claims.values import Claim
from cardserver.registry.values import InstitutionKind
from ledger.bulk_store import Row, Statement
from ledger.calendar import day_number
from ledger.months import FIRST_NUMBERS, Span, numbers_of
from ledger.scripts import Script

CLAIMS_MAX = 400
"""Of a person's claims, undone ones among them, the newest are looked at and no more: a patient on
dialysis has some 160 bills a year."""
LINES_MAX = 20_000

_COLUMNS = (
    "c.entry_no, c.undoes, e.recorded_time_ms, c.care_date, c.insutype, c.med_type,"
    " c.institution_no, c.card_no, c.total_fen, c.fund_pay_fen, c.kept"
)
# What undoes a claim comes after it on the same person: whoever sees the one sees the other.
_CLAIMS = (
    "SELECT t.entry_no, t.undoes, t.business_date, t.care_date, t.insutype, t.med_type,"
    " t.institution_no, t.card_no, t.total_fen, t.fund_pay_fen,"
    " CASE WHEN t.undoes IS NULL THEN t.detail END AS kept"
    " FROM claim t WHERE t.person_no = {person_no} AND t.business_date >= {first_day}{within}"
    f" ORDER BY t.business_date DESC, t.entry_no DESC LIMIT {CLAIMS_MAX}"
)
_KEY_COUNT = 2
# By month as PostgreSQL keeps them: those from $1 on, and those of before numbers had months.
_WITHIN = " AND ({0}entry_no >= $1 OR {0}entry_no < $2)"
_LATELY = _CLAIMS.format(
    person_no="k.person_no", first_day="k.first_day", within=_WITHIN.format("t.")
)
# OFFSET 0 keeps the inner query whole, so that it is an index's descent for each row.
_POSTGRESQL = (
    f"SELECT k.person_no, k.first_day, {_COLUMNS}"
    " FROM unnest($3::bigint[], $4::integer[]) AS k(person_no, first_day)"
    f" CROSS JOIN LATERAL ({_LATELY}) c"
    " CROSS JOIN LATERAL (SELECT recorded_time_ms FROM entry"
    f" WHERE entry_no = c.entry_no{_WITHIN.format('')} OFFSET 0) e"
)
_SQLITE = (
    f"SELECT ?1, ?2, {_COLUMNS}"
    f" FROM ({_CLAIMS.format(person_no='?1', first_day='?2', within='')}) c"
    " JOIN entry e ON e.entry_no = c.entry_no"
)


def _since(row: Row) -> Span:
    """Return the first number that a claim of the day may have, and the first of any month.

    A group at midnight may be in a slot of the month before.
    """
    month = row[1] // 100
    earlier = month - 89 if month % 100 == 1 else month - 1
    return numbers_of(earlier)[0], FIRST_NUMBERS[1]


_FIND_HISTORY = Statement(
    "select a person's latest claims",
    postgresql=_POSTGRESQL,
    sqlite=_SQLITE,
    has_result=True,
    key_count=_KEY_COUNT,
    span_of=_since,
)


_LEFT_OUT = Raw()


class _Line(Struct, frozen=True, array_like=True, gc=False):
    item: str
    name: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int


class _Bill(Struct, frozen=True, array_like=True):
    insutype: str
    med_type: str
    total_fen: int
    uses_account: bool
    invoice: str
    lines: tuple[_Line, ...]
    admitted: dt.date | None = None
    discharged: dt.date | None = None
    disease: str = ""
    mdtrt_id: str = ""


class _Case(Struct, frozen=True, array_like=True):
    insutype: str
    med_type: str
    person_type: str
    age: int
    institution_kind: int
    institution_level: int


class _Facts(Struct, frozen=True, array_like=True):
    case: _Case


class _Detail(Struct, frozen=True, array_like=True):
    """What of a stored detail matters here; all else is passed over."""

    bill: _Bill | None
    split: Raw
    line_splits: Raw
    moved: Raw
    scheme: Raw
    year: Raw
    payer_person_no: Raw
    reason: Raw
    layers: Raw = _LEFT_OUT
    facts: _Facts | None = None
    visit_no: Raw = _LEFT_OUT
    checked: Raw = _LEFT_OUT
    replaces: int = 0


_DECODER = msgpack.Decoder(_Detail)


def read_history(first_days: Mapping[int, int]) -> Script[dict[int, list[Occasion]]]:
    """Read persons' settlements that stand, newest first, from a business day on for each."""
    found: dict[int, list[Row]] = {person_no: [] for person_no in first_days}
    for row in (yield _FIND_HISTORY(sorted(first_days.items()))):
        found[row[0]].append(row[_KEY_COUNT:])
    return {person_no: list(_standing(rows)) for person_no, rows in found.items()}


def note_in_history(
    history: dict[int, list[Occasion]], number: int, claim: Claim, time_ms: int
) -> None:
    """Let the group's later decisions see what one of them settled or undid."""
    past = history.get(claim.presented.person_no)
    if past is None:
        return
    if claim.undoes is not None:
        past[:] = [one for one in past if one.claim_no != claim.undoes]
        return
    bill, facts, split = claim.detail.bill, claim.detail.facts, claim.detail.split
    assert bill is not None, "what undoes nothing is a settlement, and has its bill"
    assert facts is not None, "and what decided it"
    case = facts.case
    past.insert(
        0,
        Occasion(
            claim_no=number,
            time_ms=time_ms,
            day=claim.care_date,
            insutype=claim.insutype,
            med_type=claim.med_type,
            place=CheckedPlace(
                claim.attempt.institution_no, case.institution_kind, case.institution_level
            ),
            is_card_present=claim.presented.card_no != 0 and not claim.detail.replaces,
            lines=tuple(
                [
                    CheckedLine(one.item, one.quantity_e4, one.gross_fen, one.name)
                    for one in bill.lines
                ]
            ),
            total_fen=split.total_fen,
            fund_pay_fen=split.fund_pay_fen,
            admitted=_day(bill.admitted),
            discharged=_day(bill.discharged),
            visit=bill.mdtrt_id,
        ),
    )


def _standing(rows: list[Row]) -> Iterator[Occasion]:
    """Leave out what was undone and what undid it; newest first."""
    undone = {undoes for _, undoes, *_ in rows if undoes is not None}
    lines_count = 0
    for row in sorted(rows, key=_time_and_number, reverse=True):
        if row[0] in undone or row[1] is not None:
            continue
        occasion = occasion_of(row)
        lines_count += len(occasion.lines)
        if lines_count > LINES_MAX:
            return
        yield occasion


def _time_and_number(row: Row) -> tuple[int, int]:
    return row[2], row[0]


def occasion_of(row: Row) -> Occasion:
    """Make a settlement of a row of `_COLUMNS`."""
    (
        claim_no, _, time_ms, day, insutype, med_type, institution_no, card_no, total_fen,
        fund_pay_fen, detail,
    ) = row  # fmt: skip
    kept = _DECODER.decode(detail)
    bill = kept.bill
    assert bill is not None, "what undoes nothing is a settlement, and has its bill"
    # A claim of the time before facts were kept is taken for a hospital's without a level.
    kind, level = InstitutionKind.HOSPITAL.value, 0
    if kept.facts is not None:
        case = kept.facts.case
        kind, level = case.institution_kind, case.institution_level
    return Occasion(
        claim_no=claim_no,
        time_ms=time_ms,
        day=day,
        insutype=insutype,
        med_type=med_type,
        place=CheckedPlace(institution_no, kind, level),
        # What remains after a refund is settled when the refund is, without the patient.
        is_card_present=card_no != 0 and not kept.replaces,
        lines=tuple(
            [CheckedLine(one.item, one.quantity_e4, one.gross_fen, one.name) for one in bill.lines]
        ),
        total_fen=total_fen,
        fund_pay_fen=fund_pay_fen,
        admitted=_day(bill.admitted),
        discharged=_day(bill.discharged),
        visit=bill.mdtrt_id,
    )


def _day(date: dt.date | None) -> int:
    return 0 if date is None else day_number(date)
