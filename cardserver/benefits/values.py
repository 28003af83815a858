"""What adjudication is given and what it gives: bills, cases, accumulators, purses, splits.

The structs that also go over the wire have the field names of the protocol's, and types of their
own. Not here: how they come about (`adjudication.py`), how a policy is written (`policy.py`).

Units: `..._fen` is a hundredth of a yuan, `..._microyuan` a millionth, `..._e4` a ten-thousandth.
Dates are integers YYYYMMDD.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum, unique

from msgspec import Struct

POOL = "hifp_pay"
LARGE_AMOUNT = "hifob_pay"


@unique
class ItemClass(IntEnum):
    """chrgitm_lv: 甲, 乙, 丙; an item that is not in the catalogue counts as C."""

    A = 1
    B = 2
    C = 3


class BillLine(Struct, frozen=True, gc=False):
    """One line of a bill, with what the catalogue says of its item on the day of care.

    Attributes:
        item: The catalogue's code.
        item_class: An `ItemClass`.
        self_pay_ratio_e4: The patient's own share of a class B item before all else.
        price_limit_microyuan: The highest unit price in scope, or None.
        price_microyuan: Unit price.
        quantity_e4: Quantity.
        gross_fen: Price times quantity, rounded half up.
        is_covered: Whether the person was insured on the day of the line; where not, it is the
            patient's own.
    """

    item: str
    item_class: int
    self_pay_ratio_e4: int
    price_limit_microyuan: int | None
    price_microyuan: int
    quantity_e4: int
    gross_fen: int
    is_covered: bool = True


class Case(Struct, frozen=True, gc=False):
    """Who is treated where, by what a policy may tell apart.

    Attributes:
        insutype: 310 employees, 390 residents ...
        med_type: 11 outpatient, 14 chronic disease, 21 inpatient, 41 pharmacy ...
        person_type: 11 active, 12 retired, 14 resident.
        age: In full years on the day of care.
        institution_kind: 1 hospital, 2 community centre, 3 pharmacy.
        institution_level: 1 to 3; 0 none.
        region: GB/T 2260 code of the insured place.
        care_date: The day whose rules apply.
        referral: How the patient came to an institution away from home or above the first one:
            `local`, `referred`, `unreferred` or `emergency`.
        disease: Code of the registered chronic or special disease that the care is for.
        is_designated: Whether the institution is the person's designated one, or their insurance
            needs none.
        filed_items: Items of special schemes that the person has filed.
    """

    insutype: str
    med_type: str
    person_type: str
    age: int
    institution_kind: int
    institution_level: int
    region: str
    care_date: int
    referral: str = "local"
    disease: str = ""
    is_designated: bool = True
    filed_items: tuple[str, ...] = ()


class Accumulated(Struct, frozen=True, gc=False):
    """What a person has used; of a year and scheme, of a stay, or moved by one bill.

    Attributes:
        deductible_fen: Deductible borne; of a layer's, what its own deductible took.
        in_scope_fen: In-scope amount; of a layer's, what entered it.
        pool_fen: Paid by the pooled fund; of a layer's, what it paid.
        large_amount_fen: Paid by the large-amount scheme; of a layer's, 0.
        admissions: Inpatient stays; of a layer's, 0.
    """

    deductible_fen: int
    in_scope_fen: int
    pool_fen: int
    large_amount_fen: int
    admissions: int


NOTHING_USED = Accumulated(0, 0, 0, 0, 0)
NOTHING_BEFORE: Mapping[str, Accumulated] = {}


class Moved(Struct, frozen=True, gc=False):
    """What a bill adds to one row of accumulators.

    Attributes:
        scheme: `outpatient`, `inpatient`, a special scheme's name, or a supplementary layer's row,
            which is named by its field (`hifob_pay`) unless the policy names it otherwise.
        amounts: What is added.
    """

    scheme: str
    amounts: Accumulated


class Stay(Struct, frozen=True):
    """An inpatient stay that goes on; `stay_of` makes one of what its settlements moved.

    Attributes:
        admission: The stay's number in the year of its first settlement.
        moved: What its earlier settlements, and those of the stays that it continues by transfer,
            moved of the care's own row, in whatever year.
        layers: What they moved of the layers' rows.
        earlier_years: What of `moved` was moved in other years than the bill's own: in those
            before, and in a later one where an earlier year is settled again.
    """

    admission: int
    moved: Accumulated
    layers: tuple[Moved, ...] = ()
    earlier_years: Accumulated = NOTHING_USED


class Purses(Struct, frozen=True, gc=False):
    """What the patient has besides cash.

    Attributes:
        account_fen: Balance of the personal account.
        mutual_aid_fen: What the family's account may give.
        uses_account: Whether they are to be used for this bill.
    """

    account_fen: int
    mutual_aid_fen: int
    uses_account: bool


NO_PURSES = Purses(0, 0, uses_account=False)


class Layer(Struct, frozen=True, gc=False):
    """What one layer pays; `field` is its national name."""

    field: str
    paid_fen: int


class Split(Struct, frozen=True):
    """How a bill is divided; every sum adds up to the fen.

    Attributes:
        total_fen: medfee_sumamt.
        fully_own_fen: fulamt_ownpay_amt, class C and uncatalogued.
        over_limit_fen: overlmt_selfpay, above the price limit.
        pre_self_pay_fen: preselfpay_amt, the share of class B.
        in_scope_fen: inscp_scp_amt.
        deductible_fen: act_pay_dedc.
        layers: The policy's layers in their order, the pool first, also where one pays nothing.
        fund_pay_fen: fund_pay_sumamt, their sum.
        hospital_part_fen: hosp_part_amt.
        person_part_fen: psn_part_amt.
        account_pay_fen: acct_pay, of the personal account.
        mutual_aid_fen: acct_mulaid_pay, of the family's account.
        cash_fen: psn_cash_pay.
    """

    total_fen: int
    fully_own_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    deductible_fen: int
    layers: tuple[Layer, ...]
    fund_pay_fen: int
    hospital_part_fen: int
    person_part_fen: int
    account_pay_fen: int
    mutual_aid_fen: int
    cash_fen: int


class LineSplit(Struct, frozen=True, gc=False):
    """How one line is divided.

    Attributes:
        item_class: An `ItemClass`.
        price_limit_microyuan: The limit that the catalogue gives, or None.
        self_pay_ratio_e4: The share that was applied: 0 for class A, 10000 for class C.
        fully_own_fen: As in Split, and so are the others.
    """

    item_class: int
    price_limit_microyuan: int | None
    self_pay_ratio_e4: int
    fully_own_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int


class ExplanationStep(Struct, frozen=True, gc=False):
    """One step of the calculation.

    Attributes:
        rule: Policy identity and key path, or the catalogue's item.
        text_zh: The step in Chinese, with its figures.
        text_en: The same in English.
        amount_fen: What the step gave.
        field: The field of Split, or the national name of the layer, that it adds to; empty for
            an intermediate figure.
    """

    rule: str
    text_zh: str
    text_en: str
    amount_fen: int
    field: str


class Adjudication(Struct, frozen=True):
    """A bill decided.

    Attributes:
        split: The bill's division.
        line_splits: The lines', in their order.
        explanation: Every step; empty unless asked for.
        moved: What this bill adds to the year's accumulators: the care's own first, then one for
            each supplementary layer that something entered.
        scheme: The kind of care.
        year: Of the day of care.
        policy: Identity of the policy that decided.
        clearing_type: Under which the bill is cleared: 41 of a pharmacy, else 21 with a stay, 11
            without.
    """

    split: Split
    line_splits: tuple[LineSplit, ...]
    explanation: tuple[ExplanationStep, ...]
    moved: tuple[Moved, ...]
    scheme: str
    year: int
    policy: str
    clearing_type: int


@unique
class BillRefusalReason(StrEnum):
    """Why a bill cannot be adjudicated; named as the response codes."""

    POLICY_NOT_FOUND = "POLICY_NOT_FOUND"
    BILL_INVALID = "BILL_INVALID"
    TOTAL_MISMATCH = "TOTAL_MISMATCH"
    CARE_EXCLUDED = "CARE_EXCLUDED"


class BillRefusal(Struct, frozen=True):
    """A bill that cannot be adjudicated, and what the cashier should know."""

    reason: BillRefusalReason
    detail_zh: str
    detail_en: str


def added(before: Accumulated, moved: Accumulated) -> Accumulated:
    """Add what a bill moved."""
    return Accumulated(
        before.deductible_fen + moved.deductible_fen,
        before.in_scope_fen + moved.in_scope_fen,
        before.pool_fen + moved.pool_fen,
        before.large_amount_fen + moved.large_amount_fen,
        before.admissions + moved.admissions,
    )


def given_back(moved: Iterable[Moved]) -> tuple[Moved, ...]:
    """Give the exact negative of what a bill moved, as a cancel has it."""
    return tuple(
        Moved(
            one.scheme,
            Accumulated(
                -one.amounts.deductible_fen,
                -one.amounts.in_scope_fen,
                -one.amounts.pool_fen,
                -one.amounts.large_amount_fen,
                -one.amounts.admissions,
            ),
        )
        for one in moved
    )


def stay_of(
    admission: int,
    settlements: Iterable[tuple[Moved, ...]],
    *,
    earlier: Iterable[tuple[Moved, ...]] = (),
) -> Stay:
    """Make a stay of what each of its settlements moved, undone ones and their undoing included.

    Args:
        admission: The stay's number in the year of its first settlement.
        settlements: Their `Adjudication.moved`, those of the stays that it continues included.
        earlier: The same of those settlements that moved other years' accumulators than the bill
            will; they are not among `settlements`.
    """
    before = NOTHING_USED
    layers: dict[str, Accumulated] = {}
    for moved in earlier:
        before = added(before, moved[0].amounts)
        _add_layers(layers, moved)
    own = before
    for moved in settlements:
        own = added(own, moved[0].amounts)
        _add_layers(layers, moved)
    rows = tuple(Moved(*item) for item in layers.items())
    return Stay(admission, own, rows, before)


def _add_layers(layers: dict[str, Accumulated], moved: tuple[Moved, ...]) -> None:
    for one in moved[1:]:
        layers[one.scheme] = added(layers.get(one.scheme, NOTHING_USED), one.amounts)


def yuan(amount_fen: int) -> str:
    """Write an amount in yuan with two decimals."""
    sign = "-" if amount_fen < 0 else ""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{rest:02d}"
