"""A policy file's shape: closed structs, one a table of the TOML.

Not here: what must hold between the parts (`policy_check.py`), what a case makes of them
(`plan.py`), reading a file (`policy.py`).
"""

import datetime as dt
import re
from typing import Literal

from msgspec import Struct

Kind = Literal["hospital", "community", "pharmacy"]
KINDS: tuple[Kind, ...] = ("hospital", "community", "pharmacy")  # as numbered from 1
Referral = Literal["local", "referred", "unreferred", "emergency"]
REFERRALS: tuple[Referral, ...] = ("local", "referred", "unreferred", "emergency")
LEVELS = (0, 1, 2, 3)
AGE_MAX = 130

Per = Literal["year", "admission", "bill"]
BandsFrom = Literal["zero", "deductible"]
CareKind = Literal["outpatient", "inpatient"]
Share = Literal["fully_own", "over_limit", "pre_self_pay", "deductible", "own_share"]
BaseShare = Literal["over_limit", "pre_self_pay", "deductible", "own_share"]
SHARES: tuple[Share, ...] = (
    "fully_own", "over_limit", "pre_self_pay", "deductible", "own_share",
)  # fmt: skip
SupplementField = Literal[
    "hifob_pay", "cvlserv_pay", "hifes_pay", "hifmi_pay", "maf_pay", "oth_pay"
]

_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?%", re.ASCII)
_RATIO_E4_MAX = 10_000


class AmountFen(int):
    """An amount, written in yuan: `1800`, `1800.5` or `"1800.50"`."""

    __slots__ = ()


class RatioE4(int):
    """A ratio, written as a percentage: `"87.5%"`."""

    __slots__ = ()


class Rows(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """To which cases a row of a table applies; what is left out is no condition.

    Attributes:
        person_types: Any of these.
        institution_kinds: Any of these.
        levels: Any of these institution levels; 0 is an institution without one.
        med_types: Any of these.
        age_from: This age or older.
        age_below: Younger than this.
        admission_from: This stay of the year or a later one; the first is 1.
        admission_to: This stay of the year or an earlier one.
        referrals: The patient came in any of these ways.
        designated: The institution is the person's designated one, or is not.
        diseases: The care is for any of these; in a special scheme only.
    """

    person_types: tuple[str, ...] | None = None
    institution_kinds: tuple[Kind, ...] | None = None
    levels: tuple[int, ...] | None = None
    med_types: tuple[str, ...] | None = None
    age_from: int | None = None
    age_below: int | None = None
    admission_from: int | None = None
    admission_to: int | None = None
    referrals: tuple[Referral, ...] | None = None
    designated: bool | None = None
    diseases: tuple[str, ...] | None = None


class Exclusion(Rows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cases that are not covered at all, and what the cashier is told."""

    reason_zh: str
    reason_en: str


class AmountRow(Rows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An amount for some cases."""

    amount: AmountFen


class AgeFormula(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ratio that grows with age: base, and each_year for every year above from_age.

    Attributes:
        base: At from_age and below.
        from_age: Where it starts to grow.
        each_year: What each further year adds.
        most: What it does not exceed.
    """

    base: RatioE4
    from_age: int
    each_year: RatioE4
    most: RatioE4


class RatioRow(Rows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the fund pays in some cases; exactly one of ratio, by_age and own_share.

    Attributes:
        ratio: The fund's share.
        by_age: The fund's share as a formula of age.
        own_share: The patient's share, as a share of what a person of of_person_type bears.
        of_person_type: With own_share.
    """

    ratio: RatioE4 | None = None
    by_age: AgeFormula | None = None
    own_share: RatioE4 | None = None
    of_person_type: str | None = None


class Deductible(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the patient bears first.

    Attributes:
        per: `year`: what was borne in the year, wherever, counts towards the amount of this case.
            `admission`: anew for each stay. `bill`: anew for each bill.
        amounts: The amount.
        counts_with: Other kinds of care whose deductible of the year counts towards this too.
        per_year_anew: Whether a stay that goes on in the next year bears it again.
    """

    per: Per
    amounts: tuple[AmountRow, ...]
    counts_with: tuple[str, ...] = ()
    per_year_anew: bool = False


class LayerDeductible(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a supplementary layer's base stays the patient's first.

    Attributes:
        per: `year`: what the layer's row took in the year counts, of whatever kind of care.
        amounts: The amount.
    """

    per: Per
    amounts: tuple[AmountRow, ...]


class Band(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename={"from_amount": "from", "to_amount": "to"},
):
    """A ratio for a stretch of the cumulative in-scope amount, measured from zero.

    Attributes:
        from_amount: Where it starts: the `to` of the band before, 0 for the first.
        to_amount: Where it ends; left out for the last.
        ratios: What the pool pays.
    """

    from_amount: AmountFen
    to_amount: AmountFen | None = None
    ratios: tuple[RatioRow, ...]


class Cap(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit on what a layer pays; what is left over in scope moves to the next layer.

    Attributes:
        measure: `paid`: on what it pays. `in_scope`: on the cumulative in-scope amount, from zero;
            of a layer that pays of shares, on what entered it.
        per: Over which time.
        amounts: The limit.
        counts_with: Other kinds of care, or a layer's other rows, whose amounts of the year count
            towards it too.
    """

    measure: Literal["paid", "in_scope"]
    per: Per
    amounts: tuple[AmountRow, ...]
    counts_with: tuple[str, ...] = ()


class SupplementaryLayer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A layer above the pool.

    Attributes:
        field: Its national name.
        base: `left_over`: the in-scope amount that the layers before left over by their caps.
            Otherwise one or several shares, as far as they are still the patient's.
        ratios: What it pays; or else bands.
        bands: What it pays by stretches of what entered it.
        bands_per: Over which time the bands' amount is cumulated.
        bands_from: Whether bands are measured with the layer's deductible or above it.
        deductible: Left out, there is none.
        caps: Its limits; the strictest cuts.
        only_for: For whom it is; left out, for everybody.
        accumulator: The row in which it counts; left out, that of its field.
    """

    field: SupplementField
    base: Literal["left_over", "own_share"] | tuple[BaseShare, ...]
    ratios: tuple[RatioRow, ...] = ()
    bands: tuple[Band, ...] = ()
    bands_per: Per = "year"
    bands_from: BandsFrom = "zero"
    deductible: LayerDeductible | None = None
    caps: tuple[Cap, ...] = ()
    only_for: tuple[Rows, ...] = ()
    accumulator: str = ""

    @property
    def row(self) -> str:
        """The row of accumulators in which it counts."""
        return self.accumulator or self.field


class Account(Rows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which of the patient's shares the personal and the family's account may pay."""

    pays: tuple[Share, ...]
    mutual_aid_pays: tuple[Share, ...] = ()


class CareRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules of one kind of care.

    Attributes:
        med_types: Which medical types these are.
        institution_kinds: Where it may take place.
        excluded: Cases that are not covered at all.
        deductible: Left out, there is none.
        bands: What the pool pays.
        bands_per: Over which time the bands' in-scope amount is cumulated.
        bands_from: Whether bands are measured with the deductible or above it.
        caps: The pool's limits; the strictest cuts.
        layers: What pays above the pool, in this order.
        account: What the accounts may pay, one table or rows; left out, nothing.
        institution_bears: Shares that are the institution's, neither the fund's nor the patient's.
        stay_across_years: A stay that goes on in the next year is settled by its last day's rules
            and year (`discharge`, the default), or at the year's end and then on (`year_end`).
        entitled_by: A stay is covered as its first day is (`admission`, the default), or each of
            its days for itself.
        transfers: Whether a stay that continues another by transfer is one with it (`one_stay`,
            the default): the higher level's deductible is topped up, nothing is given back.
    """

    med_types: tuple[str, ...]
    institution_kinds: tuple[Kind, ...]
    excluded: tuple[Exclusion, ...] = ()
    deductible: Deductible | None = None
    bands: tuple[Band, ...]
    bands_per: Per = "year"
    bands_from: BandsFrom = "zero"
    caps: tuple[Cap, ...] = ()
    layers: tuple[SupplementaryLayer, ...] = ()
    account: Account | tuple[Account, ...] = ()
    institution_bears: tuple[Literal["over_limit"], ...] = ()
    stay_across_years: Literal["discharge", "year_end"] | None = None
    entitled_by: Literal["admission", "day"] | None = None
    transfers: Literal["one_stay", "new_stay"] | None = None

    @property
    def account_rows(self) -> tuple[Account, ...]:
        """What the accounts may pay, as rows."""
        return (self.account,) if isinstance(self.account, Account) else self.account


class SpecialScheme(CareRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Care with rules and limits of its own: chronic diseases, special drugs, maternity ...

    Attributes:
        name: Of its row of accumulators.
        title_zh: For people, in Chinese.
        title_en: For people, in English.
        care: As which kind of care its bills count.
        diseases: For which of the policy's diseases, each registered for the person; left out, the
            scheme asks for none.
        items: Which items it covers, a final `*` standing for any ending; what else a bill has is
            the patient's own. Left out, all.
        items_filed: Whether it covers an item only where the person has it filed.
    """

    name: str
    title_zh: str
    title_en: str
    care: CareKind = "outpatient"
    diseases: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    items_filed: bool = False


class Disease(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chronic or special disease that a person can have registered (病种)."""

    code: str
    title_zh: str
    title_en: str


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where rules come from.

    Attributes:
        title: Of the document.
        supports: Which rules it lays down.
        standing: How well we know it.
        url: Where it can be read.
    """

    title: str
    supports: str
    standing: Literal["verified", "recollection"]
    url: str = ""


class PolicyDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy file.

    Attributes:
        name: Lower-case letters, digits and hyphens; the same in every version.
        title_zh: For people, in Chinese.
        title_en: For people, in English.
        regions: GB/T 2260 codes; a province's or city's covers the places under it.
        insutypes: Which insurances.
        person_types: Whom it knows; others are refused.
        begins: First day of care that it applies to.
        ends: Last day; left out, until a later version of the same name begins.
        rounding: How a band's payment becomes whole fen: half away from zero, or down.
        cash_rounding: To what the patient's cash is rounded: the fen, or down to the jiao, whose
            rest the institution bears.
        sources: Where the rules come from.
        diseases: What special schemes may name.
        outpatient: Rules of outpatient care and pharmacies.
        inpatient: Rules of inpatient care.
        special: Further schemes.
    """

    name: str
    title_zh: str
    title_en: str
    regions: tuple[str, ...]
    insutypes: tuple[str, ...]
    person_types: tuple[str, ...]
    begins: dt.date
    ends: dt.date | None = None
    rounding: Literal["half_away_from_zero", "down"] = "half_away_from_zero"
    cash_rounding: Literal["fen", "jiao"] = "fen"
    sources: tuple[Source, ...]
    diseases: tuple[Disease, ...] = ()
    outpatient: CareRules | None = None
    inpatient: CareRules | None = None
    special: tuple[SpecialScheme, ...] = ()

    def care(self) -> dict[str, tuple[str, CareRules]]:
        """Give each kind of care by name, with the path at which its rules stand."""
        found: dict[str, tuple[str, CareRules]] = {}
        if self.outpatient is not None:
            found["outpatient"] = ("outpatient", self.outpatient)
        if self.inpatient is not None:
            found["inpatient"] = ("inpatient", self.inpatient)
        for index, scheme in enumerate(self.special):
            found[scheme.name] = (f"special[{index}]", scheme)
        return found


def decode_amount(type_: type, value: object) -> object:
    """Decode `AmountFen` and `RatioE4`, as msgspec's `dec_hook`."""
    if type_ is AmountFen:
        return _amount_fen(value)
    if type_ is RatioE4:
        return _ratio_e4(value)
    raise TypeError(f"no such value in a policy: {type_}")


def _amount_fen(value: object) -> AmountFen:
    match = None
    if isinstance(value, int | str) and not isinstance(value, bool):
        match = _YUAN.fullmatch(str(value).replace("_", ""))  # TOML groups digits by it
    if match is None:
        raise ValueError(
            f"{value!r} is not an amount in yuan, from 0 with at most two decimals, as 1800 or 0.50"
        )
    return AmountFen(int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")))


def _ratio_e4(value: object) -> RatioE4:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is not a percentage with at most two decimals, as "87.5%"')
    ratio_e4 = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
    if ratio_e4 > _RATIO_E4_MAX:
        raise ValueError(f"a ratio of {value} is above 100%")
    return RatioE4(ratio_e4)
