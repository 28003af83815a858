"""What a month's flags find in a settlement. Pure.

Not here: which settlements there are, how often a person came, how old a list was
(`population_store.py`).
"""

import bisect
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from msgspec import Raw, Struct, msgpack

from cardserver.checks.rules_document import INSTITUTION_KINDS
from cardserver.review.rules_document import (
    WEEKDAYS,
    AmountFlag,
    AnyFlag,
    CardFlag,
    ChecksFlag,
    ItemFlag,
    LateFlag,
    ListFlag,
    OftenFlag,
    RefundFlag,
    TimeFlag,
)
from cardserver.review.sampling import Place, is_within, rank
from ledger.calendar import date_of
from protocol.terminal.messages import ProofLevel

_HOUR_MS = 3_600_000
_NO_DETAIL = Raw()


class Settlement(NamedTuple):
    """A settlement that stands, as flags see it.

    Attributes:
        detail: As `claims.claim_detail` stores it; empty where no flag needs it.
    """

    claim_no: int
    person_no: int
    institution_no: int
    clearing_type: int
    insutype: str
    med_type: str
    business_date: int
    care_date: int
    recorded_time_ms: int
    total_fen: int
    fund_pay_fen: int
    card_no: int
    proof: int
    list_version: int
    detail: bytes


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


class _Checked(Struct, frozen=True, array_like=True):
    warned: tuple[str, ...]
    overridden: tuple[str, ...] = ()


class Detail(Struct, frozen=True, array_like=True):
    """What of a settlement's stored detail matters here; all else is passed over.

    Attributes:
        replaces: The settlement of which this one is what remained after a refund; 0 none.
    """

    bill: _Bill | None
    split: Raw
    line_splits: Raw
    moved: Raw
    scheme: Raw
    year: Raw
    payer_person_no: Raw = _NO_DETAIL
    reason: Raw = _NO_DETAIL
    layers: Raw = _NO_DETAIL
    facts: Raw = _NO_DETAIL
    visit_no: Raw = _NO_DETAIL
    checked: _Checked | None = None
    replaces: int = 0


_NOTHING = Detail(None, Raw(), Raw(), Raw(), Raw(), Raw())
_DECODER = msgpack.Decoder(Detail)


class ListAges(NamedTuple):
    """When each version of the revocation list was made, ascending."""

    versions: Sequence[int]
    made_times_ms: Sequence[int]

    def overtaken_ms(self, version: int, at_ms: int) -> int:
        """Return for how long a version had been overtaken at a moment; 0 while it was newest."""
        index = bisect.bisect_right(self.versions, version)
        if index == len(self.versions):
            return 0
        return max(0, at_ms - self.made_times_ms[index])


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What flags need beside the settlements.

    Attributes:
        places: By institution number.
        list_ages: When the revocation list changed.
        too_often: By flag, the settlements beyond its limit.
        refunded_days: Of settlements that were refunded, the business day, by number.
    """

    seed: bytes
    timezone: dt.tzinfo
    places: Mapping[int, Place]
    list_ages: ListAges
    too_often: Mapping[str, frozenset[int]]
    refunded_days: Mapping[int, int] = field(default_factory=dict)


def needs_detail(flags: Sequence[AnyFlag]) -> bool:
    """Tell whether one of the flags looks into what is stored of a settlement."""
    return any(isinstance(flag, ChecksFlag | RefundFlag | ItemFlag) for flag in flags)


def look_into(settlement: Settlement) -> Detail:
    """Read what of its stored detail matters to flags; nothing where none was read."""
    return _DECODER.decode(settlement.detail) if settlement.detail else _NOTHING


def flags_of(
    settlement: Settlement, detail: Detail, flags: Sequence[AnyFlag], knowledge: Knowledge
) -> tuple[str, ...]:
    """Name the flags that find something in a settlement, in their order."""
    return tuple(
        flag.name
        for flag in flags
        if _applies(flag, settlement, knowledge)
        and _finds(flag, settlement, detail, knowledge)
        and (
            flag.share is None
            or is_within(flag.share, rank(knowledge.seed, settlement.claim_no, flag=flag.name))
        )
    )


def _applies(flag: AnyFlag, settlement: Settlement, knowledge: Knowledge) -> bool:
    if flag.fund_from is not None and settlement.fund_pay_fen < flag.fund_from:
        return False
    if flag.clearing_types is not None and str(settlement.clearing_type) not in flag.clearing_types:
        return False
    if flag.insutypes is not None and settlement.insutype not in flag.insutypes:
        return False
    if flag.med_types is not None and settlement.med_type not in flag.med_types:
        return False
    return is_at(flag, knowledge.places.get(settlement.institution_no))


def is_at(flag: AnyFlag, place: Place | None) -> bool:
    """Tell whether a flag is about an institution."""
    if place is None:
        return flag.institution_kinds is None and flag.levels is None
    kinds = flag.institution_kinds
    return (kinds is None or INSTITUTION_KINDS[place.kind - 1] in kinds) and (
        flag.levels is None or place.level in flag.levels
    )


def _finds(flag: AnyFlag, settlement: Settlement, detail: Detail, knowledge: Knowledge) -> bool:
    match flag:
        case AmountFlag():
            is_fund = flag.measure == "fund"
            measured_fen = settlement.fund_pay_fen if is_fund else settlement.total_fen
            return measured_fen > flag.above
        case ChecksFlag():
            return _was_checked(flag, detail.checked)
        case CardFlag():
            is_absent = settlement.card_no == 0
            is_unverified = settlement.proof == ProofLevel.UNVERIFIED_CARD
            return (flag.how != "unverified" and is_absent) or (
                flag.how != "absent" and is_unverified
            )
        case ListFlag():
            age_ms = knowledge.list_ages.overtaken_ms(
                settlement.list_version, settlement.recorded_time_ms
            )
            return age_ms > flag.hours_above * _HOUR_MS
        case RefundFlag():
            day = knowledge.refunded_days.get(detail.replaces, settlement.business_date)
            return detail.replaces != 0 and _days(day, settlement.business_date) >= flag.days_from
        case TimeFlag():
            return _is_at_time(flag, settlement.recorded_time_ms, knowledge.timezone)
        case LateFlag():
            return _days(settlement.care_date, settlement.business_date) > flag.days_above
        case OftenFlag():
            return settlement.claim_no in knowledge.too_often.get(flag.name, ())
        case ItemFlag():
            return _costs_more(flag, detail.bill)
        case _:
            assert_never(flag)


def _was_checked(flag: ChecksFlag, checked: _Checked | None) -> bool:
    if checked is None:
        return False
    found = (checked.warned if flag.found != "overridden" else ()) + (
        checked.overridden if flag.found != "warned" else ()
    )
    # A rule is kept with its version: `name@YYYY-MM-DD#hash/rule`.
    return any(flag.rules is None or one.rpartition("/")[2] in flag.rules for one in found)


def _is_at_time(flag: TimeFlag, time_ms: int, timezone: dt.tzinfo) -> bool:
    moment = dt.datetime.fromtimestamp(time_ms / 1000, timezone)
    if flag.weekdays is not None and WEEKDAYS[moment.weekday()] not in flag.weekdays:
        return False
    if flag.hours is None:
        return True
    first, end = flag.hours
    if first < end:
        return first <= moment.hour < end
    return moment.hour >= first or moment.hour < end


def _costs_more(flag: ItemFlag, bill: _Bill | None) -> bool:
    if bill is None:
        return False
    found = [
        line.gross_fen
        for line in bill.lines
        if line.item in flag.codes or line.item.startswith(flag.prefixes)
    ]
    return bool(found) and sum(found) > flag.above


def _days(earlier: int, later: int) -> int:
    return (date_of(later) - date_of(earlier)).days
