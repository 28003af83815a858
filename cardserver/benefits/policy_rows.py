"""What must hold in a policy's tables of rows: one row for each case, and no row that lies idle.

Not here: what must hold between the tables (`policy_check.py`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.plan import (
    Circumstances,
    applies,
    circumstances,
    steps,
    type_of_kind,
)
from cardserver.benefits.policy_document import (
    AGE_MAX,
    LEVELS,
    CareRules,
    RatioRow,
    Rows,
)

_ADMISSION_MAX = 20  # a stay with a rule of its own; more is a slip of the pen
_ROWS_MAX = 200  # in a table; each case is compared with each row when a policy is loaded


def mistakes_of_tables(
    path: str, scheme: str, rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    """Find the mistakes in all tables of one kind of care."""
    tables = list(_tables(path, rules))
    found = [
        mistake
        for table_path, rows in tables
        for index, row in enumerate(rows)
        for mistake in _row(f"{table_path}[{index}]", row, scheme, rules, person_types)
    ]
    if found:
        yield from found
        return
    for table_path, rows in tables:
        if len(rows) > _ROWS_MAX:
            yield Mistake(table_path, f"it has {len(rows)} rows; {_ROWS_MAX} is the limit")
            continue
        yield from _one_row_a_case(table_path, rows, rules, person_types)
        yield from _own_share_chains(table_path, rows)


def list_mistakes(path: str, values: Sequence[str | int]) -> Iterator[Mistake]:
    """Find what is wrong with a list of different values."""
    if not values:
        yield Mistake(path, "the list is empty")
    yield from repetitions(path, values)


def repetitions(path: str, values: Sequence[str | int]) -> Iterator[Mistake]:
    """Find values that are named more than once."""
    for value, count in Counter(values).items():
        if count > 1:
            yield Mistake(path, f"{value!r} is named {count} times")


def _tables(path: str, rules: CareRules) -> Iterator[tuple[str, Sequence[Rows]]]:
    if rules.deductible is not None:
        yield f"{path}.deductible.amounts", rules.deductible.amounts
    for index, band in enumerate(rules.bands):
        yield f"{path}.bands[{index}].ratios", band.ratios
    if rules.cap is not None:
        yield f"{path}.cap.amounts", rules.cap.amounts
    for index, layer in enumerate(rules.layers):
        yield f"{path}.layers[{index}].ratios", layer.ratios
        if layer.cap is not None:
            yield f"{path}.layers[{index}].cap.amounts", layer.cap.amounts


def _row(
    path: str, row: Rows, scheme: str, rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    conditions: tuple[tuple[str, Sequence[str | int] | None, Sequence[str | int]], ...] = (
        ("person_types", row.person_types, person_types),
        ("institution_kinds", row.institution_kinds, rules.institution_kinds),
        ("levels", row.levels, LEVELS),
        ("med_types", row.med_types, rules.med_types),
    )
    for key, values, known in conditions:
        if values is not None:
            yield from list_mistakes(f"{path}.{key}", values)
            yield from _unknown(f"{path}.{key}", values, known)
    yield from _ages(path, row)
    yield from _admissions(path, row, scheme)
    if isinstance(row, RatioRow):
        yield from _ratio_row(path, row, person_types)


def _unknown(
    path: str, values: Sequence[str | int], known: Sequence[str | int]
) -> Iterator[Mistake]:
    for index, value in enumerate(values):
        if value not in known:
            these = ", ".join(str(each) for each in known)
            yield Mistake(f"{path}[{index}]", f"{value!r} is not among those covered: {these}")


def _ages(path: str, row: Rows) -> Iterator[Mistake]:
    for key, age in (("age_from", row.age_from), ("age_below", row.age_below)):
        if age is not None and not 0 <= age <= AGE_MAX:
            yield Mistake(f"{path}.{key}", f"{age} is not an age from 0 to {AGE_MAX}")
    if row.age_from is not None and row.age_below is not None and row.age_below <= row.age_from:
        yield Mistake(
            f"{path}.age_below", f"ages from {row.age_from} and below {row.age_below} are reversed"
        )


def _admissions(path: str, row: Rows, scheme: str) -> Iterator[Mistake]:
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


def _own_share_chains(path: str, rows: Sequence[Rows]) -> Iterator[Mistake]:
    chained = {
        person_type
        for row in rows
        if isinstance(row, RatioRow) and row.own_share is not None
        for person_type in row.person_types or (row.of_person_type,)
    }
    for index, row in enumerate(rows):
        if not isinstance(row, RatioRow):
            continue
        if row.own_share is not None and row.of_person_type in chained:
            yield Mistake(
                f"{path}[{index}].of_person_type",
                f"person type {row.of_person_type!r} has an own share of another's itself; "
                "name a person type whose rows say a ratio",
            )


def _words(case: Circumstances) -> str:
    return (
        f"person type {case.person_type}, {type_of_kind[case.institution_kind]} of level "
        f"{case.level}, med_type {case.med_type}, age {case.age}, admission {case.admission}"
    )
