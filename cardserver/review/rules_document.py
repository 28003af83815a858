"""A review rules file's shape: how much is sampled, what is flagged, who signs, which articles.

Not here: what must hold beyond the shape (`rule_file.py`), what the flags find (`flagging.py`).
"""

import re
from typing import Literal, TypeAlias

from msgspec import Struct

from cardserver.checks.rules_document import AmountFen, InstitutionKind, decode_number

Weekday = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
]  # fmt: skip
WEEKDAYS: tuple[Weekday, ...] = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip

_SHARE = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))? ?%", re.ASCII)
_WHOLE_E4 = 10_000


class ShareE4(int):
    """A share in ten-thousandths, written as `"5%"` or `"0.25%"`."""

    __slots__ = ()


class Stratum(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is sampled of some institutions and clearing types; what is left out is all.

    Attributes:
        share: Of the settlements of each institution and clearing type.
        minimum: But at least so many, or all where there are fewer.
        clearing_types: Any of these: 11, 21, 41 ...
        institution_kinds: Any of these.
        levels: Any of these institution levels; 0 is an institution without one.
        institutions: Any of these codes.
    """

    share: ShareE4
    minimum: int
    clearing_types: tuple[str, ...] | None = None
    institution_kinds: tuple[InstitutionKind, ...] | None = None
    levels: tuple[int, ...] | None = None
    institutions: tuple[str, ...] | None = None


class Sampling(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is sampled.

    Attributes:
        share: Where no stratum says otherwise.
        minimum: As `share`.
        strata: The first one that an institution and clearing type meet holds.
    """

    share: ShareE4
    minimum: int
    strata: tuple[Stratum, ...] = ()


class Signing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who signs.

    Attributes:
        second_audit_above: Where the fund paid more than this, two auditors sign.
    """

    second_audit_above: AmountFen


class Times(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long what may take.

    Attributes:
        appeal_days: An institution may appeal until so many days after the day of the decision.
        hold_hours: Whoever takes a case has it for so long.
    """

    appeal_days: int
    hold_hours: int


class Article(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provision (条款) that a deduction may name.

    Attributes:
        code: What reviewers type.
        title_zh: What it says, in Chinese.
        title_en: The same in English.
        source: Where it stands.
    """

    code: str
    title_zh: str
    title_en: str
    source: str = ""


class Flag(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What every flag says; the conditions that are left out are none.

    Attributes:
        name: Lower-case letters, digits and hyphens; unique in the file.
        reason_zh: What the reviewer reads, in Chinese.
        reason_en: The same in English.
        clearing_types: Any of these.
        insutypes: Any of these insurances.
        med_types: Any of these kinds of care.
        institution_kinds: Any of these.
        levels: Any of these institution levels.
        fund_from: Where the fund paid this or more.
        share: Of those that are found only so many, drawn at random.
    """

    name: str
    reason_zh: str
    reason_en: str
    clearing_types: tuple[str, ...] | None = None
    insutypes: tuple[str, ...] | None = None
    med_types: tuple[str, ...] | None = None
    institution_kinds: tuple[InstitutionKind, ...] | None = None
    levels: tuple[int, ...] | None = None
    fund_from: AmountFen | None = None
    share: ShareE4 | None = None


class AmountFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="amount"):
    """More money than a limit.

    Attributes:
        measure: What the fund paid, or the bill's total.
        above: The limit.
    """

    measure: Literal["fund", "total"] = "fund"
    above: AmountFen


class ChecksFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="checks"):
    """Something that the checks at the counter found.

    Attributes:
        found: A warning, a refusal that a supervisor let pass, or either.
        rules: Any of these rules of the checks; left out, any.
    """

    found: Literal["warned", "overridden", "any"] = "any"
    rules: tuple[str, ...] | None = None


class CardFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="card"):
    """A card was not there, or could not prove itself.

    Attributes:
        how: `absent`: by a named exception. `unverified`: a card that can't prove itself.
    """

    how: Literal["absent", "unverified", "either"] = "either"


class ListFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="list"):
    """The terminal's revocation list had been overtaken for longer than a limit.

    Attributes:
        hours_above: The limit; a terminal without any list counts as beyond it.
    """

    hours_above: int


class RefundFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="refund"):
    """What remained after a refund.

    Attributes:
        days_from: The refund came so many days after the settlement, or later.
    """

    days_from: int = 0


class TimeFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="time"):
    """Settled on certain days or at certain hours, by the fund's clock.

    Attributes:
        weekdays: On any of these.
        hours: From the one hour to before the other, as [22, 6]; both conditions hold together.
    """

    weekdays: tuple[Weekday, ...] | None = None
    hours: tuple[int, int] | None = None


class LateFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="late"):
    """Settled long after the day of care.

    Attributes:
        days_above: More days than this.
    """

    days_above: int


class OftenFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="often"):
    """More settlements of one person in the month than a limit; those after it are found.

    Attributes:
        where: Counted anywhere, or at each institution.
        most: The limit.
    """

    where: Literal["anywhere", "institution"] = "anywhere"
    most: int


class ItemFlag(Flag, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="item"):
    """Certain items in the bill.

    Attributes:
        codes: Any of these items, or of those that begin with one of `prefixes`.
        prefixes: As `codes`.
        above: They cost more than this in the bill.
    """

    codes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    above: AmountFen = AmountFen(0)


AnyFlag: TypeAlias = (
    AmountFlag
    | ChecksFlag
    | CardFlag
    | ListFlag
    | RefundFlag
    | TimeFlag
    | LateFlag
    | OftenFlag
    | ItemFlag
)


class ReviewDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A review rules file.

    Attributes:
        name: Lower-case letters, digits and hyphens; the same in every version.
        title_zh: For people, in Chinese.
        title_en: For people, in English.
        begins: The first month reviewed by it, YYYY-MM.
    """

    name: str
    title_zh: str
    title_en: str
    begins: str
    sampling: Sampling
    signing: Signing
    times: Times
    articles: tuple[Article, ...]
    flags: tuple[AnyFlag, ...] = ()


def decode_value(type_: type, value: object) -> object:
    """Decode `ShareE4` and `AmountFen`, as msgspec's `dec_hook`."""
    if type_ is not ShareE4:
        return decode_number(type_, value)
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    share_e4 = -1 if match is None else int(match[1] + (match[2] or "").ljust(2, "0"))
    if not 0 <= share_e4 <= _WHOLE_E4:
        raise ValueError(f'{value!r} is not a share from "0%" to "100%", as "5%" or "0.25%"')
    return ShareE4(share_e4)
