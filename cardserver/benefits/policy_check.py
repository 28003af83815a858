"""What must hold in a policy beyond its shape: every mistake with its path and a sentence."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cardserver.benefits.plan import (
    Circumstances,
    all_rows,
    applies,
    circumstances,
    steps,
    type_of_kind,
)
from cardserver.benefits.policy_document import (
    AGE_MAX,
    LEVELS,
    AmountRow,
    Band,
    Cap,
    CareRules,
    PolicyDocument,
    RatioRow,
    Rows,
    SupplementaryLayer,
)
from cardserver.benefits.values import LARGE_AMOUNT, Scheme

_ADMISSION_MAX = 20  # a stay with a rule of its own; more is a slip of the pen
_KINDS_OF_CASES_MAX = 20_000
_MED_TYPES: dict[Scheme, tuple[str, ...]] = {"outpatient": ("11", "41"), "inpatient": ("21",)}
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME_SIZE_MAX = 40
_REGION = re.compile(r"\d{6}")


class Mistake(NamedTuple):
    """A mistake in a policy: where it is, and what is wrong."""

    path: str
    sentence: str


def mistakes_of(document: PolicyDocument) -> Iterator[Mistake]:
    """Find every mistake."""
    yield from _head(document)
    schemes: tuple[tuple[Scheme, CareRules | None], ...] = (
        ("outpatient", document.outpatient),
        ("inpatient", document.inpatient),
    )
    for scheme, rules in schemes:
        if rules is not None:
            yield from _care_rules(scheme, rules, document.person_types)


def _head(document: PolicyDocument) -> Iterator[Mistake]:
    if _NAME.fullmatch(document.name) is None or len(document.name) > _NAME_SIZE_MAX:
        yield Mistake(
            "$.name",
            f"{document.name!r} is not a name of lower-case letters, digits and hyphens, "
            f"{_NAME_SIZE_MAX} at most",
        )
    for index, region in enumerate(document.regions):
        if _REGION.fullmatch(region) is None:
            yield Mistake(
                f"$.regions[{index}]", f"{region!r} is not a GB/T 2260 code of six digits"
            )
    lists = {
        "regions": document.regions,
        "insutypes": document.insutypes,
        "person_types": document.person_types,
    }
    for key, values in lists.items():
        yield from _list_mistakes(f"$.{key}", values)
    if document.ends is not None and document.ends < document.begins:
        yield Mistake(
            "$.ends", f"it ends on {document.ends}, before it begins on {document.begins}"
        )
    if not document.sources:
        yield Mistake("$.sources", "name at least one source: rules come from somewhere")
    if document.outpatient is None and document.inpatient is None:
        yield Mistake("$", "there are rules neither for outpatient nor for inpatient care")


def _care_rules(scheme: Scheme, rules: CareRules, person_types: Sequence[str]) -> Iterator[Mistake]:
    path = f"$.{scheme}"
    yield from _list_mistakes(f"{path}.med_types", rules.med_types)
    for index, med_type in enumerate(rules.med_types):
        if med_type not in _MED_TYPES[scheme]:
            known = ", ".join(_MED_TYPES[scheme])
            yield Mistake(
                f"{path}.med_types[{index}]",
                f"{med_type!r} is not a medical type of {scheme} care, which has {known}",
            )
    yield from _list_mistakes(f"{path}.institution_kinds", rules.institution_kinds)
    if scheme == "outpatient" and rules.bands_per == "admission":
        yield Mistake(f"{path}.bands_per", "outpatient care has no admissions")
    if rules.account is not None:
        yield from _repeated(f"{path}.account.pays", rules.account.pays)
        yield from _repeated(f"{path}.account.mutual_aid_pays", rules.account.mutual_aid_pays)
    if scheme == "outpatient" and rules.deductible and rules.deductible.per == "admission":
        yield Mistake(f"{path}.deductible.per", "outpatient care has no admissions")
    yield from _bands(path, rules.bands)
    if rules.cap is not None:
        yield from _cap(f"{path}.cap", rules.cap, scheme)
    yield from _layers(path, rules.layers, scheme)
    yield from _all_tables(path, scheme, rules, person_types)


def _bands(path: str, bands: Sequence[Band]) -> Iterator[Mistake]:
    if not bands:
        yield Mistake(f"{path}.bands", "there must be at least one band")
        return
    expected = 0
    for index, band in enumerate(bands):
        here = f"{path}.bands[{index}]"
        start = int(band.from_amount)
        if index == 0 and start != 0:
            yield Mistake(
                f"{here}.from", "the first band starts at 0; the deductible comes by itself"
            )
        elif start < expected:
            yield Mistake(
                f"{here}.from",
                f"it starts at {_yuan(start)} and overlaps the band before, "
                f"which ends at {_yuan(expected)}",
            )
        elif index and start > expected:
            yield Mistake(
                f"{here}.from",
                f"there is a gap from {_yuan(expected)}, where the band before ends, "
                f"to {_yuan(start)}",
            )
        is_last = index == len(bands) - 1
        if band.to_amount is None:
            if not is_last:
                yield Mistake(f"{here}.to", "only the last band may go without an end")
                return
            continue
        if band.to_amount <= start:
            yield Mistake(
                f"{here}.to",
                f"it ends at {_yuan(band.to_amount)}, not after its start {_yuan(start)}",
            )
        if is_last:
            yield Mistake(
                f"{here}.to", "the last band has no end; say with a cap how far the pool pays"
            )
        expected = int(band.to_amount)


def _cap(path: str, cap: Cap, scheme: Scheme) -> Iterator[Mistake]:
    if scheme == "outpatient" and cap.per == "admission":
        yield Mistake(f"{path}.per", "outpatient care has no admissions")


def _layers(path: str, layers: Sequence[SupplementaryLayer], scheme: Scheme) -> Iterator[Mistake]:
    yield from _repeated(f"{path}.layers", [layer.field for layer in layers])
    seen_own_share = False
    for index, layer in enumerate(layers):
        here = f"{path}.layers[{index}]"
        if layer.base == "own_share":
            seen_own_share = True
        elif seen_own_share:
            yield Mistake(
                f"{here}.base",
                "a layer of what is left over cannot follow one that already paid from it "
                "as the patient's own share",
            )
        if layer.cap is None:
            continue
        yield from _cap(f"{here}.cap", layer.cap, scheme)
        if layer.base == "own_share" and layer.cap.measure == "in_scope":
            yield Mistake(
                f"{here}.cap.measure", "a layer of the own share can only be capped by what it paid"
            )
        if layer.cap.measure == "paid" and layer.field != LARGE_AMOUNT and layer.cap.per != "bill":
            yield Mistake(
                f"{here}.cap.per",
                f"what {layer.field} paid before is not among the accumulators; cap it per bill",
            )


def _all_tables(
    path: str, scheme: Scheme, rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    ratio_tables = [
        (f"{path}.bands[{i}].ratios", band.ratios) for i, band in enumerate(rules.bands)
    ]
    amount_tables: list[tuple[str, tuple[AmountRow, ...]]] = []
    if rules.deductible is not None:
        amount_tables.append((f"{path}.deductible.amounts", rules.deductible.amounts))
    if rules.cap is not None:
        amount_tables.append((f"{path}.cap.amounts", rules.cap.amounts))
    for index, layer in enumerate(rules.layers):
        ratio_tables.append((f"{path}.layers[{index}].ratios", layer.ratios))
        if layer.cap is not None:
            amount_tables.append((f"{path}.layers[{index}].cap.amounts", layer.cap.amounts))
    tables: list[tuple[str, Sequence[Rows]]] = [*ratio_tables, *amount_tables]
    has_row_mistakes = False
    for table_path, rows in tables:
        for index, row in enumerate(rows):
            for mistake in _row(f"{table_path}[{index}]", row, scheme, rules, person_types):
                has_row_mistakes = True
                yield mistake
    for table_path, ratio_rows in ratio_tables:
        for index, ratio_row in enumerate(ratio_rows):
            for mistake in _ratio_row(f"{table_path}[{index}]", ratio_row, person_types):
                has_row_mistakes = True
                yield mistake
    if has_row_mistakes:
        return
    ages, admissions = steps(all_rows(rules))
    kinds_of_cases = (
        len(person_types) * len(rules.institution_kinds) * len(LEVELS) * len(rules.med_types)
    ) * (len(ages) * len(admissions))
    if kinds_of_cases > _KINDS_OF_CASES_MAX:
        yield Mistake(
            path,
            f"it tells {kinds_of_cases} kinds of cases apart; {_KINDS_OF_CASES_MAX} is the limit",
        )
        return
    for table_path, rows in tables:
        yield from _one_row_a_case(table_path, rows, rules, person_types)
    for table_path, ratio_rows in ratio_tables:
        yield from _own_share_chains(table_path, ratio_rows)


def _row(
    path: str, row: Rows, scheme: Scheme, rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    conditions: tuple[tuple[str, Sequence[str | int] | None, Sequence[str | int]], ...] = (
        ("person_types", row.person_types, person_types),
        ("institution_kinds", row.institution_kinds, rules.institution_kinds),
        ("levels", row.levels, LEVELS),
        ("med_types", row.med_types, rules.med_types),
    )
    for key, values, known in conditions:
        if values is None:
            continue
        yield from _list_mistakes(f"{path}.{key}", values)
        for index, value in enumerate(values):
            if value not in known:
                these = ", ".join(str(each) for each in known)
                yield Mistake(
                    f"{path}.{key}[{index}]", f"{value!r} is not among those covered: {these}"
                )
    for key, age in (("age_from", row.age_from), ("age_below", row.age_below)):
        if age is not None and not 0 <= age <= AGE_MAX:
            yield Mistake(f"{path}.{key}", f"{age} is not an age from 0 to {AGE_MAX}")
    if row.age_from is not None and row.age_below is not None and row.age_below <= row.age_from:
        yield Mistake(
            f"{path}.age_below", f"ages from {row.age_from} and below {row.age_below} are reversed"
        )
    first, last = row.admission_from, row.admission_to
    for key, admission in (("admission_from", first), ("admission_to", last)):
        if admission is None:
            continue
        if scheme == "outpatient":
            yield Mistake(f"{path}.{key}", "outpatient care has no admissions")
        if not 1 <= admission <= _ADMISSION_MAX:
            yield Mistake(
                f"{path}.{key}", f"{admission} is not a number from 1 to {_ADMISSION_MAX}"
            )
    if first is not None and last is not None and last < first:
        yield Mistake(f"{path}.admission_to", f"admissions {first} to {last} are reversed")


def _ratio_row(path: str, row: RatioRow, person_types: Sequence[str]) -> Iterator[Mistake]:
    given = [
        key
        for key, value in (
            ("ratio", row.ratio),
            ("by_age", row.by_age),
            ("own_share", row.own_share),
        )
        if value is not None
    ]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        yield Mistake(path, f"a row has one of ratio, by_age and own_share; this has {got}")
    if (row.own_share is None) != (row.of_person_type is None):
        yield Mistake(path, "own_share and of_person_type belong together")
    if row.of_person_type is not None and row.of_person_type not in person_types:
        yield Mistake(
            f"{path}.of_person_type",
            f"{row.of_person_type!r} is not among the policy's person types",
        )
    formula = row.by_age
    if formula is not None:
        if not 0 <= formula.from_age <= AGE_MAX:
            yield Mistake(
                f"{path}.by_age.from_age", f"{formula.from_age} is not an age from 0 to {AGE_MAX}"
            )
        if formula.most < formula.base:
            yield Mistake(f"{path}.by_age.most", "the most is below the base")


def _one_row_a_case(
    path: str, rows: Sequence[Rows], rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    ages, admissions = steps(rows)
    used = set()
    for case in circumstances(rules, person_types, ages=ages, admissions=admissions):
        found = [index for index, row in enumerate(rows) if applies(row, case)]
        used.update(found)
        if not found:
            yield Mistake(path, f"there is a gap: no row applies to {_words(case)}")
            return
        if len(found) > 1:
            yield Mistake(
                f"{path}[{found[1]}]", f"it overlaps row [{found[0]}]: both apply to {_words(case)}"
            )
            return
    for index in range(len(rows)):
        if index not in used:
            yield Mistake(f"{path}[{index}]", "it can never apply")


def _own_share_chains(path: str, rows: Sequence[RatioRow]) -> Iterator[Mistake]:
    chained = {
        person_type
        for row in rows
        if row.own_share is not None
        for person_type in row.person_types or (row.of_person_type,)
    }
    for index, row in enumerate(rows):
        if row.own_share is not None and row.of_person_type in chained:
            yield Mistake(
                f"{path}[{index}].of_person_type",
                f"person type {row.of_person_type!r} has an own share of another's itself; "
                "name a person type whose rows say a ratio",
            )


def _list_mistakes(path: str, values: Sequence[str | int]) -> Iterator[Mistake]:
    if not values:
        yield Mistake(path, "the list is empty")
    yield from _repeated(path, values)


def _repeated(path: str, values: Sequence[str | int]) -> Iterator[Mistake]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Mistake(path, f"{value!r} is named {count} times")


def _words(case: Circumstances) -> str:
    return (
        f"person type {case.person_type}, {type_of_kind[case.institution_kind]} of level "
        f"{case.level}, med_type {case.med_type}, age {case.age}, admission {case.admission}"
    )


def _yuan(amount_fen: int) -> str:
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"
