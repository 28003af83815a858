"""What a policy's rows can tell apart, and which of them apply.

Not here: what they come to for a case (`plan.py`), whether they leave gaps (`policy_rows.py`).
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from msgspec import Struct

from cardserver.benefits.policy_document import (
    KINDS,
    LEVELS,
    REFERRALS,
    CareRules,
    Rows,
    SpecialScheme,
)

type_of_kind = dict(enumerate(KINDS, start=1))


class Circumstances(Struct, frozen=True):
    """What rows of a policy can tell apart."""

    person_type: str
    institution_kind: int
    level: int
    med_type: str
    age: int
    admission: int
    referral: str
    designated: bool
    disease: str


class RowTable(NamedTuple):
    """A table of rows, of which one applies to each case, and for whom it is; empty, for all."""

    path: str
    rows: Sequence[Rows]
    only_for: Sequence[Rows] = ()


def has_stays(name: str, rules: CareRules) -> bool:
    """Tell whether a kind of care has stays, admissions and discharges."""
    return rules.care == "inpatient" if isinstance(rules, SpecialScheme) else name == "inpatient"


def circumstances(
    rules: CareRules, person_types: Sequence[str], rows: Sequence[Rows]
) -> Iterator[Circumstances]:
    """Go through one of each kind of case that the rules cover and some rows tell apart."""
    kinds = [number for number, kind in type_of_kind.items() if kind in rules.institution_kinds]
    diseases = (isinstance(rules, SpecialScheme) and rules.diseases) or ("",)
    ages, admissions = steps(rows)

    def asked(key: str) -> int | None:
        """Tell up to where values are gone through: all, where a row asks for them."""
        return None if any(getattr(row, key) is not None for row in rows) else 1

    for values in product(
        person_types[: asked("person_types")],
        kinds[: asked("institution_kinds")],
        LEVELS[: asked("levels")],
        rules.med_types[: asked("med_types")],
        ages,
        admissions,
        REFERRALS[: asked("referrals")],
        (True, False)[: asked("designated")],
        diseases[: asked("diseases")],
    ):
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


def tables_of(path: str, rules: CareRules) -> Iterator[RowTable]:
    """Go through every table of rows of which one applies to each case."""
    if rules.deductible is not None:
        yield RowTable(f"{path}.deductible.amounts", rules.deductible.amounts)
    for index, band in enumerate(rules.bands):
        yield RowTable(f"{path}.bands[{index}].ratios", band.ratios)
    for index, cap in enumerate(rules.caps):
        yield RowTable(f"{path}.caps[{index}].amounts", cap.amounts)
    if rules.account:
        yield RowTable(f"{path}.account", rules.account_rows)
    for index, layer in enumerate(rules.layers):
        here, whom = f"{path}.layers[{index}]", layer.only_for
        if layer.ratios:
            yield RowTable(f"{here}.ratios", layer.ratios, whom)
        for number, band in enumerate(layer.bands):
            yield RowTable(f"{here}.bands[{number}].ratios", band.ratios, whom)
        if layer.deductible is not None:
            yield RowTable(f"{here}.deductible.amounts", layer.deductible.amounts, whom)
        for number, cap in enumerate(layer.caps):
            yield RowTable(f"{here}.caps[{number}].amounts", cap.amounts, whom)


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
        and (row.referrals is None or case.referral in row.referrals)
        and (row.designated is None or case.designated == row.designated)
        and (row.diseases is None or case.disease in row.diseases)
    )


def is_for(only_for: Sequence[Rows], case: Circumstances) -> bool:
    """Tell whether a layer is for a case."""
    return not only_for or any(applies(row, case) for row in only_for)
