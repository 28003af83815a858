"""Reading a bill from a file, JSON or TOML, whose keys are the national names.

For trying a policy out: the centre itself gets its bills over the wire. The format is described in
README.md.
"""

import datetime as dt
import json
import re
import tomllib
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from cardserver.benefits.mistakes import mistake_of
from cardserver.benefits.policy import Policy
from cardserver.benefits.policy_document import KINDS, Kind, Referral, SupplementField
from cardserver.benefits.values import (
    NOTHING_USED,
    Accumulated,
    BillLine,
    Case,
    Moved,
    Purses,
    Stay,
)

_DIGITS = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?")
_CLASSES = {"1": 1, "2": 2, "3": 3, "01": 1, "02": 2, "03": 3}
_FLAGS = {True: True, False: False, "1": True, "0": False}
_HALF_E8 = 10**8 // 2
_E4_MAX = 10_000
# Rows that policies have by themselves: a person may hold some that this policy does not look at.
_ROWS_OF_ALL = frozenset({"outpatient", "inpatient", *get_args(SupplementField)})


class BillFileError(Exception):
    """A bill file is not one; says the path of the mistake and a sentence."""


class Fen(int):
    """Written in yuan."""

    __slots__ = ()


class MicroYuan(int):
    """Written in yuan."""

    __slots__ = ()


class QuantityE4(int):
    """Written in units."""

    __slots__ = ()


class FractionE4(int):
    """Written as a fraction of one: `0.05`."""

    __slots__ = ()


class ItemClassNumber(int):
    """Written 1, 2, 3, or 01, 02, 03."""

    __slots__ = ()


class Flag(int):
    """Written true or false, or "1" or "0"."""

    __slots__ = ()


class _Line(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line; `det_item_fee_sumamt` left out is price times quantity."""

    med_list_codg: str
    pric: MicroYuan
    cnt: QuantityE4
    chrgitm_lv: ItemClassNumber
    selfpay_prop: FractionE4 = FractionE4(0)
    pric_uplmt_amt: MicroYuan | None = None
    det_item_fee_sumamt: Fen | None = None
    is_covered: Flag = Flag(1)


class _Used(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was used before."""

    act_pay_dedc: Fen = Fen(0)
    inscp_scp_amt: Fen = Fen(0)
    hifp_pay: Fen = Fen(0)
    hifob_pay: Fen = Fen(0)
    admissions: int = 0


class _Stay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stay that goes on: its number, and what it moved before, by row."""

    admission: int
    moved: dict[str, _Used]
    earlier_years: _Used | None = None


class _BillDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file; `insuplc_admdvs` left out is the policy's own place."""

    insutype: str
    med_type: str
    psn_type: str
    age: int
    medins_kind: Kind
    medins_lv: Literal[0, 1, 2, 3]
    care_date: dt.date
    lines: tuple[_Line, ...]
    insuplc_admdvs: str = ""
    medfee_sumamt: Fen | None = None
    acct_used_flag: Flag = Flag(0)
    balc: Fen = Fen(0)
    acct_mulaid_balc: Fen = Fen(0)
    accumulated: dict[str, _Used] = {}
    stay: _Stay | None = None
    refer_type: Referral = "local"
    dise_codg: str = ""
    is_designated: Flag = Flag(1)
    filed_items: tuple[str, ...] = ()


class BillFile(Struct, frozen=True):
    """A bill as `adjudicate` takes it; `total_fen` and `stay` as there."""

    case: Case
    lines: tuple[BillLine, ...]
    used: dict[str, Accumulated]
    purses: Purses
    total_fen: int | None
    stay: Stay | None


def load_bill(text: str, form: Literal["json", "toml"], policy: Policy) -> BillFile:
    """Read a bill that is to be divided by a policy.

    Raises:
        BillFileError: With the path of the mistake.
    """
    try:
        # Fractions stay text: an amount such as 0.10 must not pass through binary fractions.
        if form == "json":
            content: object = json.loads(text, parse_float=str, object_pairs_hook=_once)
        else:
            content = tomllib.loads(text, parse_float=str)
        document = msgspec.convert(content, _BillDocument, dec_hook=_decode)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise BillFileError(f"$: this is not {form.upper()}: {error}") from error
    except msgspec.ValidationError as error:
        mistake = mistake_of(str(error))
        raise BillFileError(f"{mistake.path}: {mistake.sentence}") from error
    date = document.care_date
    own_row = policy.care_of(document.med_type, document.dise_codg)
    _check_rows("$.accumulated", document.accumulated, policy)
    if document.stay is not None:
        _check_rows("$.stay.moved", document.stay.moved, policy)
    case = Case(
        insutype=document.insutype,
        med_type=document.med_type,
        person_type=document.psn_type,
        age=document.age,
        institution_kind=KINDS.index(document.medins_kind) + 1,
        institution_level=document.medins_lv,
        region=document.insuplc_admdvs,
        care_date=date.year * 10_000 + date.month * 100 + date.day,
        referral=document.refer_type,
        disease=document.dise_codg,
        is_designated=bool(document.is_designated),
        filed_items=document.filed_items,
    )
    return BillFile(
        case,
        tuple(_bill_line(line) for line in document.lines),
        {row: _accumulated(used) for row, used in document.accumulated.items()},
        Purses(
            int(document.balc),
            int(document.acct_mulaid_balc),
            uses_account=bool(document.acct_used_flag),
        ),
        None if document.medfee_sumamt is None else int(document.medfee_sumamt),
        None if document.stay is None else _stay(document.stay, own_row=own_row),
    )


def _bill_line(line: _Line) -> BillLine:
    price, quantity = int(line.pric), int(line.cnt)
    gross = line.det_item_fee_sumamt
    return BillLine(
        item=line.med_list_codg,
        item_class=int(line.chrgitm_lv),
        self_pay_ratio_e4=int(line.selfpay_prop),
        price_limit_microyuan=None if line.pric_uplmt_amt is None else int(line.pric_uplmt_amt),
        price_microyuan=price,
        quantity_e4=quantity,
        gross_fen=(price * quantity + _HALF_E8) // 10**8 if gross is None else int(gross),
        is_covered=bool(line.is_covered),
    )


def _stay(stay: _Stay, *, own_row: str | None) -> Stay:
    rows = {row: _accumulated(used) for row, used in stay.moved.items()}
    own = rows.pop(own_row or "", NOTHING_USED)
    earlier = NOTHING_USED if stay.earlier_years is None else _accumulated(stay.earlier_years)
    return Stay(stay.admission, own, tuple(Moved(*item) for item in rows.items()), earlier)


def _check_rows(path: str, given: Iterable[str], policy: Policy) -> None:
    """Refuse a row that neither the policy nor any other has: misspelt, it counts for nothing."""
    known = {row for plans in policy.plans.values() for row in plans.rows}
    for row in given:
        if row not in known and row not in _ROWS_OF_ALL:
            these = ", ".join(sorted(known))
            raise BillFileError(f"{path}.{row}: no such row; the policy has {these}")


def _accumulated(used: _Used) -> Accumulated:
    return Accumulated(
        int(used.act_pay_dedc),
        int(used.inscp_scp_amt),
        int(used.hifp_pay),
        int(used.hifob_pay),
        used.admissions,
    )


def _decode(type_: type, value: object) -> object:
    if type_ is Fen:
        return Fen(_scaled(value, 2, "an amount in yuan"))
    if type_ is MicroYuan:
        return MicroYuan(_scaled(value, 6, "a price in yuan"))
    if type_ is QuantityE4:
        return QuantityE4(_scaled(value, 4, "a quantity"))
    if type_ is FractionE4:
        fraction_e4 = _scaled(value, 4, "a fraction of one")
        if fraction_e4 > _E4_MAX:
            raise ValueError(f"{value} is above one")
        return FractionE4(fraction_e4)
    if type_ is ItemClassNumber and str(value) in _CLASSES:
        return ItemClassNumber(_CLASSES[str(value)])
    if type_ is Flag and isinstance(value, bool | str) and value in _FLAGS:
        return Flag(_FLAGS[value])
    raise ValueError(f"{value!r} is not among the values allowed")


def _scaled(value: object, places: int, what: str) -> int:
    match = None
    if isinstance(value, int | str) and not isinstance(value, bool):
        match = _DIGITS.fullmatch(str(value).replace("_", ""))  # TOML groups digits by it
    if match is None or len(match[2] or "") > places:
        raise ValueError(f"{value!r} is not {what}, from 0 with at most {places} decimals")
    return int(match[1] + (match[2] or "").ljust(places, "0"))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = [key for key in content if [name for name, _ in pairs].count(key) > 1]
        raise BillFileError(f"$: {', '.join(twice)} stands twice in one object")
    return content
