"""What a policy's rules come to for one kind of case: plain integers, looked up once a bill."""

from bisect import bisect_right
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from cardserver.benefits.circumstances import (
    Circumstances,
    applies,
    has_stays,
    is_for,
    steps,
    tables_of,
    type_of_kind,
)
from cardserver.benefits.policy_document import (
    AGE_MAX,
    LEVELS,
    REFERRALS,
    SHARES,
    AmountRow,
    Band,
    BaseShare,
    Cap,
    CareRules,
    PolicyDocument,
    RatioRow,
    Rows,
    SpecialScheme,
    SupplementaryLayer,
)
from cardserver.benefits.values import Case

WHOLE_E8 = 10**8
HALF_E8 = WHOLE_E8 // 2
NO_END_FEN = 10**18
_WHOLE_E4 = 10**4
_PHARMACY = 3
CLEARED_OUTPATIENT, CLEARED_INPATIENT, CLEARED_PHARMACY = 11, 21, 41

CaseKey = tuple[str, int, int, str, int, int, str, bool, str]


class PlanBand(Struct, frozen=True, gc=False):
    """A band: its end, and what is paid in it."""

    end_fen: int
    ratio_e8: int
    rule: str


class PlanCap(Struct, frozen=True):
    """A limit: on what is paid, or else on the in-scope amount; over which time.

    `others` are further rows of accumulators that count towards it.
    """

    amount_fen: int
    is_on_paid: bool
    per: str
    rule: str
    others: tuple[str, ...] = ()


class PlanDeductible(Struct, frozen=True):
    """What is borne first: its full amount, and what counts towards it."""

    amount_fen: int
    per: str
    rule: str
    others: tuple[str, ...] = ()
    is_anew: bool = False


class PlanLayer(Struct, frozen=True):
    """A layer above the pool.

    Attributes:
        field: Its national name.
        row: Of accumulators.
        shares: Places of the shares that it pays of, in the order in which it pays them; empty
            for one of what is left over.
        deductible: None without one.
        bands: The last without end.
        bands_per: `year`, `admission` or `bill`.
        is_above_deductible: Whether bands are measured above the deductible.
        caps: The strictest cuts.
    """

    field: str
    row: str
    shares: tuple[int, ...]
    deductible: PlanDeductible | None
    bands: tuple[PlanBand, ...]
    bands_per: str
    is_above_deductible: bool
    caps: tuple[PlanCap, ...]


class Plan(Struct, frozen=True):
    """The rules for one kind of case.

    Attributes:
        deductible: None without one.
        bands: The pool's, the last without end.
        bands_per: `year`, `admission` or `bill`.
        is_above_deductible: Whether bands are measured above the deductible.
        caps: The pool's; the strictest cuts.
        layers: Above the pool, those that are for this case.
        account_pays: Places of the shares that the personal account may pay, in the order fully
            own, over limit, pre self pay, deductible, own share.
        mutual_aid_pays: The same for the family's account.
        account_rule: Key path.
        borne_by_institution: Places of the shares that it bears.
        half_e8: What is added before a payment is cut to whole fen.
        is_cash_in_jiao: Whether cash is cut to the jiao.
        has_stays: Whether bills count as inpatient.
        clearing_type: Under which the bill is cleared.
        disease_zh: What the disease is called; empty without one.
        disease_en: The same in English.
    """

    deductible: PlanDeductible | None
    bands: tuple[PlanBand, ...]
    bands_per: str
    is_above_deductible: bool
    caps: tuple[PlanCap, ...]
    layers: tuple[PlanLayer, ...]
    account_pays: tuple[int, ...]
    mutual_aid_pays: tuple[int, ...]
    account_rule: str
    borne_by_institution: tuple[int, ...]
    half_e8: int
    is_cash_in_jiao: bool
    has_stays: bool
    clearing_type: int
    disease_zh: str
    disease_en: str


class PlanExclusion(Struct, frozen=True, gc=False):
    """That a kind of case is not covered, and why."""

    rule: str
    reason_zh: str
    reason_en: str


class ItemList(Struct, frozen=True):
    """Which items a special scheme covers: these, and those that begin so."""

    items: frozenset[str]
    beginnings: tuple[str, ...]
    must_be_filed: bool

    def covers(self, item: str, filed: Sequence[str]) -> bool:
        """Tell whether it covers an item, with what the person has filed."""
        if self.must_be_filed and item not in filed:
            return False
        return (
            not (self.items or self.beginnings)
            or item in self.items
            or item.startswith(self.beginnings)
        )


class Plans:
    """All plans of one kind of care, each made when a case first asks for it.

    The rules have been checked. What is kept is what making it again would give: the kinds of
    cases are finite, since ages and admissions count only by the steps that the rules name.

    Attributes:
        path: Where the rules stand in the file.
        rules: As the file says.
        has_stays: Whether bills count as inpatient.
        rows: The rows of accumulators that are looked at, the care's own first.
        needs_filings: Whether the rules ask for a person's filings.
        items: Which items are covered; None for all.
    """

    def __init__(self, name: str, path: str, document: PolicyDocument, rules: CareRules) -> None:
        rows = [row for table in tables_of(path, rules) for row in table.rows]
        rows += [*rules.excluded, *(row for layer in rules.layers for row in layer.only_for)]
        ages, admissions = steps(rows)
        ages = sorted({*ages, *_formula_ages(rows)})
        self.path = path
        self.rules = rules
        self.has_stays = has_stays(name, rules)
        self.rows = _accumulator_rows(name, rules)
        self.items: ItemList | None = None
        diseases: tuple[str, ...] = ()
        is_filed = False
        if isinstance(rules, SpecialScheme):
            diseases = rules.diseases
            is_filed = rules.items_filed
            if rules.items or is_filed:
                self.items = _item_list(rules)
        self.needs_filings = (
            bool(diseases)
            or is_filed
            or any(row.referrals is not None or row.designated is not None for row in rows)
        )
        self._document = document
        self._diseases = frozenset(diseases)
        # For each age the lowest one that the rules treat alike.
        self._age_steps = tuple(ages[bisect_right(ages, age) - 1] for age in range(AGE_MAX + 1))
        self._admission_max = admissions[-1]
        self._by_key: dict[CaseKey, Plan | PlanExclusion] = {}

    def find(self, case: Case, admission: int) -> Plan | PlanExclusion | None:
        """Find the plan for a case; None where the policy does not know such cases."""
        if case.age < 0:
            return None
        key = (
            case.person_type,
            case.institution_kind,
            case.institution_level,
            case.med_type,
            self._age_steps[min(case.age, AGE_MAX)],
            min(admission, self._admission_max),
            case.referral,
            case.is_designated,
            case.disease if self._diseases else "",
        )
        plan = self._by_key.get(key)
        if plan is None:
            plan = self._make(Circumstances(*key))
            if plan is not None:
                self._by_key[key] = plan
        return plan

    def _make(self, case: Circumstances) -> Plan | PlanExclusion | None:
        kind = type_of_kind.get(case.institution_kind)
        if (
            case.person_type not in self._document.person_types
            or kind not in self.rules.institution_kinds
            or case.level not in LEVELS
            or case.med_type not in self.rules.med_types
            or case.admission < 1
            or case.referral not in REFERRALS
            or (self._diseases and case.disease not in self._diseases)
        ):
            return None
        for index, row in enumerate(self.rules.excluded):
            if applies(row, case):
                return PlanExclusion(f"{self.path}.excluded[{index}]", row.reason_zh, row.reason_en)
        return self._plan(case)

    def _plan(self, case: Circumstances) -> Plan:
        rules, path = self.rules, self.path
        deductible = None
        if rules.deductible is not None:
            rule = rules.deductible
            deductible = _deductible(
                rule.amounts, f"{path}.deductible", case, per=rule.per,
                others=rule.counts_with, is_anew=rule.per_year_anew,
            )  # fmt: skip
        account_pays = mutual_aid_pays = _places(())
        account_rule = f"{path}.account"
        if rules.account:
            index = _index_of(rules.account_rows, case)
            account = rules.account_rows[index]
            account_pays = _places(account.pays)
            mutual_aid_pays = _places(account.mutual_aid_pays)
            if account is not rules.account:
                account_rule = f"{path}.account[{index}]"
        clearing_type = CLEARED_INPATIENT if self.has_stays else CLEARED_OUTPATIENT
        titles = [
            (disease.title_zh, disease.title_en)
            for disease in self._document.diseases
            if disease.code == case.disease
        ]
        disease_zh, disease_en = titles[0] if titles else ("", "")
        return Plan(
            deductible=deductible,
            bands=_bands(rules.bands, f"{path}.bands", case),
            bands_per=rules.bands_per,
            is_above_deductible=rules.bands_from == "deductible",
            caps=_caps(rules.caps, f"{path}.caps", case),
            layers=tuple(
                _layer(layer, f"{path}.layers[{number}]", case)
                for number, layer in enumerate(rules.layers)
                if is_for(layer.only_for, case)
            ),
            account_pays=account_pays,
            mutual_aid_pays=mutual_aid_pays,
            account_rule=account_rule,
            borne_by_institution=_places(rules.institution_bears),
            half_e8=0 if self._document.rounding == "down" else HALF_E8,
            is_cash_in_jiao=self._document.cash_rounding == "jiao",
            has_stays=self.has_stays,
            clearing_type=CLEARED_PHARMACY if case.institution_kind == _PHARMACY else clearing_type,
            disease_zh=disease_zh,
            disease_en=disease_en,
        )


def _accumulator_rows(name: str, rules: CareRules) -> tuple[str, ...]:
    caps = [*rules.caps, *(cap for layer in rules.layers for cap in layer.caps)]
    others = [other for cap in caps for other in cap.counts_with]
    if rules.deductible is not None:
        others += rules.deductible.counts_with
    return tuple(dict.fromkeys([name, *(layer.row for layer in rules.layers), *others]))


def _item_list(rules: SpecialScheme) -> ItemList:
    return ItemList(
        frozenset(item for item in rules.items if not item.endswith("*")),
        tuple(item[:-1] for item in rules.items if item.endswith("*")),
        rules.items_filed,
    )


def _formula_ages(rows: Sequence[Rows]) -> set[int]:
    return {
        age
        for row in rows
        if isinstance(row, RatioRow) and row.by_age is not None
        for age in range(row.by_age.from_age, AGE_MAX + 1)
    }


def _deductible(
    rows: Sequence[AmountRow],
    path: str,
    case: Circumstances,
    *,
    per: str,
    others: tuple[str, ...] = (),
    is_anew: bool = False,
) -> PlanDeductible:
    index = _index_of(rows, case)
    return PlanDeductible(int(rows[index].amount), per, f"{path}.amounts[{index}]", others, is_anew)


def _bands(bands: Sequence[Band], path: str, case: Circumstances) -> tuple[PlanBand, ...]:
    found = []
    for number, band in enumerate(bands):
        index = _index_of(band.ratios, case)
        end_fen = NO_END_FEN if band.to_amount is None else int(band.to_amount)
        ratio_e8 = _ratio_e8(band.ratios, index, case)
        found.append(PlanBand(end_fen, ratio_e8, f"{path}[{number}].ratios[{index}]"))
    return tuple(found)


def _caps(caps: Sequence[Cap], path: str, case: Circumstances) -> tuple[PlanCap, ...]:
    found = []
    for number, cap in enumerate(caps):
        index = _index_of(cap.amounts, case)
        found.append(
            PlanCap(
                int(cap.amounts[index].amount),
                cap.measure == "paid",
                cap.per,
                f"{path}[{number}].amounts[{index}]",
                cap.counts_with,
            )
        )
    return tuple(found)


def _layer(layer: SupplementaryLayer, path: str, case: Circumstances) -> PlanLayer:
    if layer.bands:
        bands = _bands(layer.bands, f"{path}.bands", case)
    else:
        index = _index_of(layer.ratios, case)
        ratio_e8 = _ratio_e8(layer.ratios, index, case)
        bands = (PlanBand(NO_END_FEN, ratio_e8, f"{path}.ratios[{index}]"),)
    deductible = None
    if layer.deductible is not None:
        rule = layer.deductible
        deductible = _deductible(rule.amounts, f"{path}.deductible", case, per=rule.per)
    shares: tuple[BaseShare, ...] = ()
    if layer.base == "own_share":
        shares = ("own_share",)
    elif layer.base != "left_over":
        shares = layer.base
    return PlanLayer(
        layer.field,
        layer.row,
        # What is nearest to the funds is paid first.
        tuple(reversed(_places(shares))),
        deductible,
        bands,
        layer.bands_per,
        layer.bands_from == "deductible",
        _caps(layer.caps, f"{path}.caps", case),
    )


def _index_of(rows: Sequence[Rows], case: Circumstances) -> int:
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


def _places(shares: Sequence[str]) -> tuple[int, ...]:
    return tuple(place for place, share in enumerate(SHARES) if share in shares)
