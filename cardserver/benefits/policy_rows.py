"""What must hold in a policy's tables of rows: one row for each case, and no row that lies idle.

Not here: what must hold between the tables (`policy_check.py`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from cardserver.benefits.circumstances import (
    Circumstances,
    RowTable,
    applies,
    circumstances,
    is_for,
    tables_of,
    type_of_kind,
)
from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.policy_document import (
    AGE_MAX,
    LEVELS,
    REFERRALS,
    CareRules,
    RatioRow,
    Rows,
    SpecialScheme,
)

_ADMISSION_MAX = 20  # a stay with a rule of its own; more is a slip of the pen
_ROWS_MAX = 200  # in a table; each case is compared with each row when a policy is loaded
_CASES_MAX = 100_000  # that a table tells apart; each is tried when a policy is loaded


def mistakes_of_tables(
    path: str, rules: CareRules, person_types: Sequence[str], *, has_stays: bool
) -> Iterator[Mistake]:
    """Find the mistakes in all tables of one kind of care."""
    tables = list(tables_of(path, rules))
    further = [RowTable(f"{path}.excluded", rules.excluded)]
    further += [
        RowTable(f"{path}.layers[{index}].only_for", layer.only_for)
        for index, layer in enumerate(rules.layers)
    ]
    found = [
        mistake
        for table in [*tables, *further]
        for index, row in enumerate(table.rows)
        for mistake in _row(f"{table.path}[{index}]", row, rules, person_types, has_stays=has_stays)
    ]
    if found:
        yield from found
        return
    for table in tables:
        if len(table.rows) > _ROWS_MAX:
            yield Mistake(table.path, f"it has {len(table.rows)} rows; {_ROWS_MAX} is the limit")
            continue
        yield from _one_row_a_case(table, rules, person_types)
        yield from _own_share_chains(table.path, table.rows)
    for table in further:
        yield from _idle_rows(table, rules, person_types)


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


def _row(
    path: str, row: Rows, rules: CareRules, person_types: Sequence[str], *, has_stays: bool
) -> Iterator[Mistake]:
    diseases = rules.diseases if isinstance(rules, SpecialScheme) else ()
    conditions: tuple[tuple[str, Sequence[str | int] | None, Sequence[str | int]], ...] = (
        ("person_types", row.person_types, person_types),
        ("institution_kinds", row.institution_kinds, rules.institution_kinds),
        ("levels", row.levels, LEVELS),
        ("med_types", row.med_types, rules.med_types),
        ("referrals", row.referrals, REFERRALS),
        ("diseases", row.diseases, diseases),
    )
    for key, values, known in conditions:
        if values is not None:
            yield from list_mistakes(f"{path}.{key}", values)
            yield from _unknown(f"{path}.{key}", values, known)
    yield from _ages(path, row)
    yield from _admissions(path, row, has_stays=has_stays)
    if isinstance(row, RatioRow):
        yield from _ratio_row(path, row, person_types)


def _unknown(
    path: str, values: Sequence[str | int], known: Sequence[str | int]
) -> Iterator[Mistake]:
    for index, value in enumerate(values):
        if value not in known:
            these = ", ".join(str(each) for each in known) or "none"
            yield Mistake(f"{path}[{index}]", f"{value!r} is not among those covered: {these}")


def _ages(path: str, row: Rows) -> Iterator[Mistake]:
    for key, age in (("age_from", row.age_from), ("age_below", row.age_below)):
        if age is not None and not 0 <= age <= AGE_MAX:
            yield Mistake(f"{path}.{key}", f"{age} is not an age from 0 to {AGE_MAX}")
    if row.age_from is not None and row.age_below is not None and row.age_below <= row.age_from:
        yield Mistake(
            f"{path}.age_below", f"ages from {row.age_from} and below {row.age_below} are reversed"
        )


def _admissions(path: str, row: Rows, *, has_stays: bool) -> Iterator[Mistake]:
    first, last = row.admission_from, row.admission_to
    for key, admission in (("admission_from", first), ("admission_to", last)):
        if admission is None:
            continue
        if not has_stays:
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
    table: RowTable, rules: CareRules, person_types: Sequence[str]
) -> Iterator[Mistake]:
    path, rows = table.path, table.rows
    used = set()
    asked = [*rows, *table.only_for, *rules.excluded]
    for number, case in enumerate(circumstances(rules, person_types, asked)):
        if number == _CASES_MAX:
            yield Mistake(path, f"its rows tell more than {_CASES_MAX} cases apart")
            return
        if not is_for(table.only_for, case) or any(applies(row, case) for row in rules.excluded):
            continue
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
        yield from _no_other(f"{path}[{found[0]}]", rows[found[0]], rows, case)
    for index in range(len(rows)):
        if index not in used:
            yield Mistake(f"{path}[{index}]", "it can never apply")


def _no_other(path: str, row: Rows, rows: Sequence[Rows], case: Circumstances) -> Iterator[Mistake]:
    """Find a share of another's share where no one row says what the other bears."""
    if not isinstance(row, RatioRow) or row.of_person_type is None:
        return
    other = replace(case, person_type=row.of_person_type)
    count = sum(applies(each, other) for each in rows)
    if count != 1:
        yield Mistake(
            f"{path}.of_person_type", f"{count} rows apply to that person: {_words(other)}"
        )


def _idle_rows(table: RowTable, rules: CareRules, person_types: Sequence[str]) -> Iterator[Mistake]:
    """Find conditions that no case meets."""
    if len(table.rows) > _ROWS_MAX:
        yield Mistake(table.path, f"it has {len(table.rows)} rows; {_ROWS_MAX} is the limit")
        return
    for index, row in enumerate(table.rows):
        if not any(applies(row, case) for case in circumstances(rules, person_types, [row])):
            yield Mistake(f"{table.path}[{index}]", "it can never apply")


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
    words = (
        f"person type {case.person_type}, {type_of_kind[case.institution_kind]} of level "
        f"{case.level}, med_type {case.med_type}, age {case.age}, admission {case.admission}"
    )
    if case.referral != "local":
        words += f", {case.referral}"
    if not case.designated:
        words += ", not the designated institution"
    return f"{words}, disease {case.disease}" if case.disease else words
