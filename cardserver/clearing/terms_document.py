"""The terms of clearing as a file: deposits, caps, accounts, signatures; and what must hold in it.

Amounts are yuan, shares are percents, both as text or whole numbers. Not here: reading one and
finding what applies (`terms.py`).
"""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from cardserver.benefits.mistakes import Mistake

INSTITUTIONS_MAX = 100_000
CLEARING_TYPES = (11, 21, 41)
NAME_SIZE_MAX = 70
"""Of an account's holder: ISO 20022 allows 140 characters, banks that read 70 are many."""

_CODE = re.compile(r"[A-Za-z0-9]{1,12}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,34}", re.ASCII)
_BANK = re.compile(r"\d{12}", re.ASCII)
_INSUTYPE = re.compile(r"\d{3}", re.ASCII)
_YUAN = re.compile(r"(\d{1,12})(?:\.(\d{1,2}))?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HUNDRED_E4 = 10_000


class AmountFen(int):
    """An amount, written in yuan: `1200000` or `"1200000.50"`."""

    __slots__ = ()


class ShareE4(int):
    """A share, written in percent: `5` or `"2.5"`."""

    __slots__ = ()


class Holder(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who holds an account, and where.

    Attributes:
        name: As the bank knows the holder.
        account: Its number.
        bank: The bank's number in the national payment system (CNAPS, 12 digits).
    """

    name: str
    account: str
    bank: str


class InstitutionTerms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is agreed with one institution.

    Attributes:
        code: Its code.
        deposit_percent: Its deposit, where it is not everyone's.
        account: Where it is paid; without one it can be cleared, not paid.
    """

    code: str
    deposit_percent: ShareE4 | None = None
    account: Holder | None = None


class CapTerms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cap on total of one institution and clearing type.

    Attributes:
        institution: Its code.
        clearing_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        per: Counted by month, or from January on.
        amount: Up to here all is paid.
        above_percent: The share of what lies above that the fund still pays.
    """

    institution: str
    clearing_type: int
    per: Literal["month", "year"]
    amount: AmountFen
    above_percent: ShareE4 = ShareE4(0)


class TermsDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of terms.

    Attributes:
        begins: The first day of the first month that it holds for.
        sources: Where the terms come from.
        deposit_percent: Everyone's deposit (质量保证金).
        personal_accounts_insutype: The insurance that personal accounts belong to.
        applications_required: Whether only what an institution has applied for is cleared.
        two_signatures_above: From payment runs above this on, two people sign.
        payer: The fund's own account.
        institutions: Of those with terms of their own, or an account.
        caps: One an institution and clearing type at most.
    """

    begins: dt.date
    sources: tuple[str, ...]
    deposit_percent: ShareE4
    two_signatures_above: AmountFen
    payer: Holder
    personal_accounts_insutype: str = "310"
    applications_required: bool = False
    institutions: tuple[InstitutionTerms, ...] = ()
    caps: tuple[CapTerms, ...] = ()


def decode_number(type_: type, value: object) -> object:
    """Read an amount or a share for `msgspec.convert`."""
    if type_ is AmountFen:
        return AmountFen(_decimal(_YUAN, value, "an amount in yuan, with two decimals at most"))
    if type_ is ShareE4:
        return ShareE4(_decimal(_PERCENT, value, "a percentage, with two decimals at most"))
    raise TypeError(f"no number of type {type_}")


def _decimal(pattern: re.Pattern[str], value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not {what}")  # noqa: TRY004 - msgspec tells its path
    match = pattern.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not {what}")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def mistakes_of(document: TermsDocument) -> Iterator[Mistake]:
    """Find every mistake beyond the shape."""
    if document.begins.day != 1:
        yield Mistake("$.begins", f"{document.begins} is not the first day of a month")
    if not document.sources or not all(source.strip() for source in document.sources):
        yield Mistake("$.sources", "name at least one source: terms come from somewhere")
    if _INSUTYPE.fullmatch(document.personal_accounts_insutype) is None:
        yield Mistake("$.personal_accounts_insutype", "an insurance is three digits, as 310")
    yield from _share("$.deposit_percent", document.deposit_percent)
    yield from _holder("$.payer", document.payer)
    if len(document.institutions) > INSTITUTIONS_MAX or len(document.caps) > INSTITUTIONS_MAX:
        yield Mistake("$", f"more than {INSTITUTIONS_MAX} institutions or caps")
    yield from _institutions(document)
    yield from _caps(document)


def _institutions(document: TermsDocument) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    accounts: dict[tuple[str, str], int] = {}
    for index, one in enumerate(document.institutions):
        path = f"$.institutions[{index}]"
        yield from _code(f"{path}.code", one.code)
        first = seen.setdefault(one.code, index)
        if first != index:
            yield Mistake(f"{path}.code", f"$.institutions[{first}] has the code {one.code} too")
        if one.deposit_percent is not None:
            yield from _share(f"{path}.deposit_percent", one.deposit_percent)
        if one.account is None:
            continue
        yield from _holder(f"{path}.account", one.account)
        where = (one.account.bank, one.account.account)
        first = accounts.setdefault(where, index)
        if first != index:
            yield Mistake(f"{path}.account.account", f"it is $.institutions[{first}]'s account too")
        if where == (document.payer.bank, document.payer.account):
            yield Mistake(f"{path}.account.account", "it is the payer's own account")


def _caps(document: TermsDocument) -> Iterator[Mistake]:
    seen: dict[tuple[str, int], int] = {}
    for index, cap in enumerate(document.caps):
        path = f"$.caps[{index}]"
        yield from _code(f"{path}.institution", cap.institution)
        if cap.clearing_type not in CLEARING_TYPES:
            yield Mistake(f"{path}.clearing_type", f"{cap.clearing_type} is none of 11, 21, 41")
        yield from _share(f"{path}.above_percent", cap.above_percent)
        first = seen.setdefault((cap.institution, cap.clearing_type), index)
        if first != index:
            yield Mistake(path, f"$.caps[{first}] caps the same institution and clearing type")


def _code(path: str, code: str) -> Iterator[Mistake]:
    if _CODE.fullmatch(code) is None:
        yield Mistake(path, f"{code!r} is not an institution's code")


def _share(path: str, share_e4: int) -> Iterator[Mistake]:
    if share_e4 > _HUNDRED_E4:
        yield Mistake(path, "it is more than all of it: 100 percent")


def _holder(path: str, holder: Holder) -> Iterator[Mistake]:
    if not holder.name.strip() or len(holder.name) > NAME_SIZE_MAX:
        yield Mistake(f"{path}.name", f"a name has 1 to {NAME_SIZE_MAX} characters")
    elif _CONTROL.search(holder.name):
        yield Mistake(f"{path}.name", "it is one line, without control characters")
    if _ACCOUNT.fullmatch(holder.account) is None:
        yield Mistake(f"{path}.account", "a number has 1 to 34 digits or letters, and no spaces")
    if _BANK.fullmatch(holder.bank) is None:
        yield Mistake(f"{path}.bank", "a bank's number in the payment system has 12 digits")
