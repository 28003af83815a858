"""What of review stands in the way of clearing a month.

A month is ready when its review was opened and sampled, every case is decided, and what follows of
settlements undone has been done. An appeal that is open does not hold up the month: the deduction
stands until the appeal succeeds, and what it gives back is cleared with a later month.
"""

from enum import Enum, unique

from msgspec import Struct

from cardserver.review.months_store import find_month
from cardserver.review.values import UNDECIDED
from ledger.bulk_store import plain
from ledger.database_store import Database

_STATES = ", ".join(str(int(state)) for state in sorted(UNDECIDED))
_OPEN_TEXT = (
    "SELECT institution_no, clearing_type, count(*), sum(fund_pay_fen) FROM review_case"  # noqa: S608
    f" WHERE month = {{month}} AND state IN ({_STATES})"
    " GROUP BY institution_no, clearing_type ORDER BY institution_no, clearing_type"
)
_OPEN = plain(
    "cases that are not decided",
    postgresql=_OPEN_TEXT.format(month="$1::integer"),
    sqlite=_OPEN_TEXT.format(month="?"),
)
_UNDONE_TEXT = (
    "SELECT c.institution_no, c.clearing_type, count(*), sum(c.deduction_fen) FROM review_case c"
    " WHERE c.deduction_fen > 0 AND EXISTS (SELECT 1 FROM claim u WHERE u.undoes = c.claim_no)"
    " GROUP BY c.institution_no, c.clearing_type ORDER BY c.institution_no, c.clearing_type"
)
_UNDONE = plain("deductions of settlements undone", postgresql=_UNDONE_TEXT, sqlite=_UNDONE_TEXT)


@unique
class Hindrance(Enum):
    """Why a month can't be cleared yet, in Chinese and English."""

    NOT_OPENED = "审核尚未启动", "the month's review was not opened"
    NOT_SAMPLED = "尚未抽样", "the month's sample was not drawn"
    UNDECIDED = "有案件未审结", "cases are not decided"
    TO_FOLLOW = (
        "已撤销结算的扣款尚未退回，请执行 review follow",
        "deductions of settlements undone are to be given back: run `review follow`",
    )

    @property
    def text_zh(self) -> str:
        """What it says, in Chinese."""
        return self.value[0]

    @property
    def text_en(self) -> str:
        """The same in English."""
        return self.value[1]


class Undecided(Struct, frozen=True):
    """Something that stands in the way.

    Attributes:
        institution_no: Whose cases; 0 the month as a whole.
        clearing_type: Of which type; 0 all.
        cases: How many; 0 of the month as a whole.
        amount_fen: What the fund paid on them; of TO_FOLLOW, what is to be given back.
    """

    why: Hindrance
    institution_no: int = 0
    clearing_type: int = 0
    cases: int = 0
    amount_fen: int = 0


async def undecided(database: Database, month: int) -> list[Undecided]:
    """List what stands in the way of clearing a month; empty: it is ready."""
    opened = await find_month(database, month)
    if opened is None:
        return [Undecided(Hindrance.NOT_OPENED)]
    found: list[Undecided] = []
    if not opened.sampled_time_ms:
        found.append(Undecided(Hindrance.NOT_SAMPLED))
    for why, query in (
        (Hindrance.UNDECIDED, _OPEN([(month,)])),
        (Hindrance.TO_FOLLOW, _UNDONE()),
    ):
        rows = await database.fetch(query)
        found += [
            Undecided(why, institution_no, clearing_type, cases, int(amount_fen))
            for institution_no, clearing_type, cases, amount_fen in rows
        ]
    return found
