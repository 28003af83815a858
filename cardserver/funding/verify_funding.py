"""Contributions and the entries of runs compared with what was posted. Pure.

What a row says must be what its entry moved. Not here: reading them (`ledger/verify_chain.py`).
"""

from collections.abc import Iterator, Sequence

from cardserver.funding import tables
from ledger.accounts import Account
from ledger.bulk_store import Row
from ledger.entries import EntryKind
from ledger.verify_chain import SealedGroup, SealedTable
from ledger.verify_findings import Difference, key_of

CONTRIBUTION = SealedTable(
    str(tables.contribution.name),
    tuple(str(column.name) for column in tables.contribution.columns),
    by="entry_no",
    key=("person_no", "month", "employer_no", "insutype", "file_no"),
    order=("entry_no", "person_no", "month", "employer_no"),
)
FUNDING_ENTRY = SealedTable(
    str(tables.funding_entry.name),
    tuple(str(column.name) for column in tables.funding_entry.columns),
    by="entry_no",
    key=("entry_no",),
    order=("entry_no",),
)
FUNDING_TABLES = (CONTRIBUTION, FUNDING_ENTRY)
_KINDS_OF_RUNS = frozenset({EntryKind.ALLOTMENT, EntryKind.INTEREST})
_INSUTYPE = CONTRIBUTION.columns.index("insutype")
_ENTRY_NO = CONTRIBUTION.columns.index("entry_no")
_POOL_MOVED = CONTRIBUTION.columns.index("pool_moved_fen")
_ACCOUNT_MOVED = CONTRIBUTION.columns.index("account_moved_fen")
_COUNT, _AMOUNT = (FUNDING_ENTRY.columns.index(one) for one in ("persons_count", "amount_fen"))


def check_funding(group: SealedGroup) -> Iterator[Difference]:
    """Compare a group's rows of funding with their entries' postings."""
    kinds = {row[0]: row[2] for row in group.rows.get("entry", ())}
    if kinds.keys() and not _KINDS_OF_RUNS.isdisjoint(kinds.values()):
        yield from _check_runs(group, kinds)
    contributions = group.rows.get(CONTRIBUTION.name, ())
    if contributions or EntryKind.CONTRIBUTION in kinds.values():
        yield from _check_contributions(group, kinds, contributions)


def _check_runs(group: SealedGroup, kinds: dict[int, int]) -> Iterator[Difference]:
    about = {row[0]: row for row in group.rows.get(FUNDING_ENTRY.name, ())}
    for number, kind in kinds.items():
        if kind in _KINDS_OF_RUNS and number not in about:
            key = key_of(entry_no=number)
            yield Difference(FUNDING_ENTRY.name, key, "row", "no such row", "what it is about")
    credited: dict[int, list[int]] = {number: [] for number in about}
    for number, _, account, _, amount_fen in group.rows.get("posting", ()):
        if number in credited and account == Account.PERSONAL_ACCOUNT:
            credited[number].append(-amount_fen)
    for number, row in about.items():
        key = key_of(entry_no=number)
        if kinds.get(number) not in _KINDS_OF_RUNS:
            yield Difference(FUNDING_ENTRY.name, key, "entry", "no such entry", "an entry of a run")
        found = (len(credited[number]), sum(credited[number]))
        if (row[_COUNT], row[_AMOUNT]) != found:
            yield Difference(
                FUNDING_ENTRY.name, key, "persons_count, amount_fen",
                f"{row[_COUNT]}, {row[_AMOUNT]}", ", ".join(map(str, found)),
            )  # fmt: skip


def _check_contributions(
    group: SealedGroup, kinds: dict[int, int], contributions: Sequence[Row]
) -> Iterator[Difference]:
    wanted: dict[int, dict[tuple[int, int], int]] = {
        number: {} for number, kind in kinds.items() if kind == EntryKind.CONTRIBUTION
    }
    for row in contributions:
        moved = wanted.get(row[_ENTRY_NO])
        if moved is None or not str(row[_INSUTYPE]).isdecimal():
            key, what = CONTRIBUTION.name_row(row), f"{row[_ENTRY_NO]}, {row[_INSUTYPE]}"
            yield Difference(CONTRIBUTION.name, key, "entry_no, insutype", what, "an entry of it")
            continue
        insurance = int(row[_INSUTYPE])
        pool_fen, account_fen = row[_POOL_MOVED], row[_ACCOUNT_MOVED]
        for place, fen in (
            ((Account.FISCAL_DEPOSIT.value, insurance), pool_fen + account_fen),
            ((Account.CONTRIBUTIONS.value, insurance), -pool_fen),
            ((Account.PERSONAL_ACCOUNT.value, row[0]), -account_fen),
        ):
            moved[place] = moved.get(place, 0) + fen
    found: dict[int, dict[tuple[int, int], int]] = {number: {} for number in wanted}
    for number, _, account, owner, amount_fen in group.rows.get("posting", ()):
        if number in found:
            found[number][account, owner] = found[number].get((account, owner), 0) + amount_fen
    for number, moved in wanted.items():
        moved_at_all = {place: fen for place, fen in moved.items() if fen}
        if moved_at_all != found[number]:
            places = sorted(
                place
                for place in moved_at_all.keys() | found[number].keys()
                if moved_at_all.get(place) != found[number].get(place)
            )
            yield Difference(
                "posting", key_of(entry_no=number, account=places[0][0], owner=places[0][1]),
                "amount_fen", str(found[number].get(places[0], 0)),
                str(moved_at_all.get(places[0], 0)),
            )  # fmt: skip
