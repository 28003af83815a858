"""What a policy's rules come to for one kind of case: plain integers, looked up once a bill."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from cardserver.benefits.policy_document import (
    AGE_MAX,
    KINDS,
    LEVELS,
    AmountRow,
    Cap,
    CareRules,
    RatioRow,
    Rows,
    Share,
)
from cardserver.benefits.values import Case

WHOLE_E8 = 10**8
NO_END_FEN = 10**18
_WHOLE_E4 = 10**4
_SHARES: tuple[Share, ...] = (
    "fully_own",
    "over_limit",
    "pre_self_pay",
    "deductible",
    "own_share",
)

type_of_kind = dict(enumerate(KINDS, start=1))

ShareMask = tuple[int, int, int, int, int]
CaseKey = tuple[str, int, int, str, int, int]


class Circumstances(Struct, frozen=True):
    """What rows of a policy can tell apart."""

    person_type: str
    institution_kind: int
    level: int
    med_type: str
    age: int
    admission: int


class PlanBand(Struct, frozen=True, gc=False):
    """A band: its end, and what the pool pays in it."""

    end_fen: int
    ratio_e8: int
    rule: str


class PlanCap(Struct, frozen=True, gc=False):
    """A limit: on what is paid, or else on the in-scope amount; over which time."""

    amount_fen: int
    is_on_paid: bool
    per: str
    rule: str


class PlanLayer(Struct, frozen=True):
    """A supplementary layer; of what is left over, or else of the patient's own share."""

    field: str
    takes_left_over: bool
    ratio_e8: int
    cap: PlanCap | None
    rule: str


class Plan(Struct, frozen=True):
    """The rules for one kind of case.

    Attributes:
        deductible_fen: Its full amount.
        deductible_per: `year`, `admission` or `bill`.
        deductible_rule: Key path; empty without one.
        bands: The pool's, the last without end.
        bands_per: `year`, `admission` or `bill`.
        cap: The pool's.
        layers: Above the pool.
        account_mask: 1 for each share that the personal account may pay, in the order fully own,
            over limit, pre self pay, deductible, own share.
        mutual_aid_mask: The same for the family's account.
        account_rule: Key path.
    """

    deductible_fen: int
    deductible_per: str
    deductible_rule: str
    bands: tuple[PlanBand, ...]
    bands_per: str
    cap: PlanCap | None
    layers: tuple[PlanLayer, ...]
    account_mask: ShareMask
    mutual_aid_mask: ShareMask
    account_rule: str


class Plans:
    """All plans of one kind of care, each made when a case first asks for it.

    The rules have been checked. What is kept is what making it again would give: the kinds of
    cases are finite, since ages and admissions count only by the steps that the rules name.
    """

    __slots__ = (
        "_admission_max", "_age_steps", "_by_key", "_person_types", "_scheme", "needs_filings",
        "rows", "rules",
    )  # fmt: skip

    def __init__(self, scheme: str, rules: CareRules, person_types: Sequence[str]) -> None:
        rows = all_rows(rules)
        ages, admissions = steps(rows)
        ages = sorted({*ages, *_formula_ages(rows)})
        self._scheme = scheme
        self.rules = rules
        self.rows = (scheme, *(layer.field for layer in rules.layers))
        self.needs_filings = False
        self._person_types = frozenset(person_types)
        # For each age the lowest one that the rules treat alike.
        self._age_steps = tuple(ages[bisect_right(ages, age) - 1] for age in range(AGE_MAX + 1))
        self._admission_max = admissions[-1]
        self._by_key: dict[CaseKey, Plan] = {}

    def find(self, case: Case, admission: int) -> Plan | None:
        """Find the plan for a case; None where the policy does not cover it."""
        if case.age < 0:
            return None
        key = (
            case.person_type,
            case.institution_kind,
            case.institution_level,
            case.med_type,
            self._age_steps[min(case.age, AGE_MAX)],
            min(admission, self._admission_max),
        )
        plan = self._by_key.get(key)
        if plan is None:
            plan = self._make(Circumstances(*key))
            if plan is not None:
                self._by_key[key] = plan
        return plan

    def _make(self, case: Circumstances) -> Plan | None:
        kind = type_of_kind.get(case.institution_kind)
        if (
            case.person_type not in self._person_types
            or kind not in self.rules.institution_kinds
            or case.level not in LEVELS
            or case.med_type not in self.rules.med_types
            or case.admission < 1
        ):
            return None
        return _plan(self._scheme, self.rules, case)


def circumstances(
    rules: CareRules, person_types: Sequence[str], *, ages: Sequence[int], admissions: Sequence[int]
) -> Iterator[Circumstances]:
    """Go through one of each kind of case that the rules cover."""
    kinds = [number for number, kind in type_of_kind.items() if kind in rules.institution_kinds]
    for values in product(person_types, kinds, LEVELS, rules.med_types, ages, admissions):
        yield Circumstances(*values)


def steps(rows: Sequence[Rows]) -> tuple[list[int], list[int]]:
    """Tell at which ages and admission numbers the rows change, the lowest first."""
    ages = {0}
    admissions = {1}
    for row in rows:
        ages.update(age for age in (row.age_from, row.age_below) if age is not None)
        if row.admission_from is not None:
            admissions.add(row.admission_from)
        if row.admission_to is not None:
            admissions.add(row.admission_to + 1)
    last = max(admissions)
    return sorted(ages), list(range(1, last + 1))


def all_rows(rules: CareRules) -> list[Rows]:
    """Collect every row of the rules."""
    rows: list[Rows] = []
    if rules.deductible is not None:
        rows += rules.deductible.amounts
    for band in rules.bands:
        rows += band.ratios
    if rules.cap is not None:
        rows += rules.cap.amounts
    for layer in rules.layers:
        rows += layer.ratios
        if layer.cap is not None:
            rows += layer.cap.amounts
    return rows


def applies(row: Rows, case: Circumstances) -> bool:
    """Tell whether a row applies to a case."""
    return (
        (row.person_types is None or case.person_type in row.person_types)
        and (
            row.institution_kinds is None
            or type_of_kind[case.institution_kind] in row.institution_kinds
        )
        and (row.levels is None or case.level in row.levels)
        and (row.med_types is None or case.med_type in row.med_types)
        and (row.age_from is None or case.age >= row.age_from)
        and (row.age_below is None or case.age < row.age_below)
        and (row.admission_from is None or case.admission >= row.admission_from)
        and (row.admission_to is None or case.admission <= row.admission_to)
    )


def _plan(scheme: str, rules: CareRules, case: Circumstances) -> Plan:
    deductible_fen, deductible_per, deductible_rule = 0, "bill", ""
    if rules.deductible is not None:
        index = _index_of(rules.deductible.amounts, case)
        deductible_fen = int(rules.deductible.amounts[index].amount)
        deductible_per = rules.deductible.per
        deductible_rule = f"{scheme}.deductible.amounts[{index}]"
    bands = []
    for number, band in enumerate(rules.bands):
        index = _index_of(band.ratios, case)
        bands.append(
            PlanBand(
                NO_END_FEN if band.to_amount is None else int(band.to_amount),
                _ratio_e8(band.ratios, index, case),
                f"{scheme}.bands[{number}].ratios[{index}]",
            )
        )
    layers = []
    for number, layer in enumerate(rules.layers):
        index = _index_of(layer.ratios, case)
        path = f"{scheme}.layers[{number}]"
        layers.append(
            PlanLayer(
                layer.field,
                layer.base == "left_over",
                _ratio_e8(layer.ratios, index, case),
                _cap(layer.cap, f"{path}.cap", case),
                f"{path}.ratios[{index}]",
            )
        )
    account = rules.account
    return Plan(
        deductible_fen=deductible_fen,
        deductible_per=deductible_per,
        deductible_rule=deductible_rule,
        bands=tuple(bands),
        bands_per=rules.bands_per,
        cap=_cap(rules.cap, f"{scheme}.cap", case),
        layers=tuple(layers),
        account_mask=_mask(() if account is None else account.pays),
        mutual_aid_mask=_mask(() if account is None else account.mutual_aid_pays),
        account_rule=f"{scheme}.account",
    )


def _formula_ages(rows: Sequence[Rows]) -> set[int]:
    return {
        age
        for row in rows
        if isinstance(row, RatioRow) and row.by_age is not None
        for age in range(row.by_age.from_age, AGE_MAX + 1)
    }


def _cap(cap: Cap | None, path: str, case: Circumstances) -> PlanCap | None:
    if cap is None:
        return None
    index = _index_of(cap.amounts, case)
    return PlanCap(
        int(cap.amounts[index].amount),
        cap.measure == "paid",
        cap.per,
        f"{path}.amounts[{index}]",
    )


def _index_of(rows: Sequence[AmountRow | RatioRow], case: Circumstances) -> int:
    found = [index for index, row in enumerate(rows) if applies(row, case)]
    assert len(found) == 1, "the check has seen that one row applies to each case"
    return found[0]


def _ratio_e8(rows: Sequence[RatioRow], index: int, case: Circumstances) -> int:
    row = rows[index]
    if row.ratio is not None:
        return int(row.ratio) * _WHOLE_E4
    if row.by_age is not None:
        formula = row.by_age
        years = max(0, case.age - formula.from_age)
        return min(formula.base + formula.each_year * years, int(formula.most)) * _WHOLE_E4
    assert row.own_share is not None
    assert row.of_person_type is not None
    other = replace(case, person_type=row.of_person_type)
    other_e8 = _ratio_e8(rows, _index_of(rows, other), other)
    return WHOLE_E8 - row.own_share * (WHOLE_E8 - other_e8) // _WHOLE_E4


def _mask(shares: Sequence[Share]) -> ShareMask:
    first, second, third, fourth, fifth = (int(share in shares) for share in _SHARES)
    return first, second, third, fourth, fifth
