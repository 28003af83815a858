"""Who gains and who loses by a draft: sums over replayed claims, tables, and files of them.

Not here: how claims are decided again (`replay.py`), the picture (`replay_plot.py`).
"""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from msgspec import Struct, field, json

from cardserver.benefits.values import yuan
from cardserver.claims.replay import Difference, PersonReplayed, Unreplayed

K = TypeVar("K")

# Gains are told apart by these amounts, in fen: 0.01, 100, 1,000, 10,000, 50,000 yuan.
_STEPS_FEN = (1, 10_000, 100_000, 1_000_000, 5_000_000)
_EDGES_FEN = (*(-step + 1 for step in reversed(_STEPS_FEN)), *_STEPS_FEN)
_MONTH, _SCHEME, _PERSON_TYPE = 0, 1, 2  # places in a cell's key
REPORT_FILE = "report.json"
PLOT_FILE = "replay.png"

# month, scheme, person type, institution's kind, level and number
CellKey = tuple[int, str, str, int, int, int]
PersonRow = tuple[int, str, int, int, int, int]  # number, type, claims, total, before, after


class Cell(Struct):
    """Sums of settlements that are alike."""

    claim_count: int = 0
    total_fen: int = 0
    before_fen: int = 0
    after_fen: int = 0

    def add(self, other: "Cell") -> None:
        """Add another's sums."""
        self.claim_count += other.claim_count
        self.total_fen += other.total_fen
        self.before_fen += other.before_fen
        self.after_fen += other.after_fen


class Tally(Struct):
    """Sums over replayed claims; those of several parts can be put together.

    Attributes:
        cells: Of settlements, by what can be told apart.
        layers: What each layer paid, before and after.
        persons: By person type and band of gain: how many, and what they gain together.
        claim_count: Claims looked at, undone ones and undoings included.
        undone_count: Settlements that were undone since, which count for nothing.
        uncovered_count: Settlements for which no draft has rules.
        asking_count: Settlements for which the draft asks for filings nobody looked up then.
        refused_count: Settlements that the draft refuses, so that the patient pays all.
        unreplayed_count: Settlements that could not be decided again.
        control_count: Settlements that were compared.
        difference_count: Of these, how many differ.
    """

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    layers: dict[str, list[int]] = field(default_factory=dict)
    persons: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    claim_count: int = 0
    undone_count: int = 0
    uncovered_count: int = 0
    asking_count: int = 0
    refused_count: int = 0
    unreplayed_count: int = 0
    control_count: int = 0
    difference_count: int = 0

    def take(self, person: PersonReplayed) -> PersonRow | None:
        """Add one person's claims; return the person's own sums, if any claim was replayed."""
        own = Cell()
        person_type = ""
        for claim in person.claims:
            case, before = claim.case, claim.before
            person_type = case.person_type
            key = (
                claim.month, claim.scheme, person_type, case.institution_kind,
                case.institution_level, claim.institution_no,
            )  # fmt: skip
            one = Cell(1, before.total_fen, before.fund_pay_fen, claim.fund_after_fen)
            self.cells.setdefault(key, Cell()).add(one)
            own.add(one)
            for layer in before.layers:
                self.layers.setdefault(layer.field, [0, 0])[0] += layer.paid_fen
            for layer in claim.paid_after:
                self.layers.setdefault(layer.field, [0, 0])[1] += layer.paid_fen
            self.uncovered_count += not claim.is_covered
            self.asking_count += claim.asks_filings
        self.undone_count += person.undone_count
        self.refused_count += len(person.refused)
        self.unreplayed_count += len(person.unreplayed)
        self.control_count += person.control_count
        self.difference_count += len(person.differences)
        if not own.claim_count:
            return None
        gain_fen = own.after_fen - own.before_fen
        band = self.persons.setdefault((person_type, band_of(gain_fen)), [0, 0])
        band[0] += 1
        band[1] += gain_fen
        return (
            person.person_no, person_type, own.claim_count, own.total_fen, own.before_fen,
            own.after_fen,
        )  # fmt: skip

    def add(self, other: "Tally") -> None:
        """Add another's sums."""
        for key, cell in other.cells.items():
            self.cells.setdefault(key, Cell()).add(cell)
        _add_pairs(self.layers, other.layers)
        _add_pairs(self.persons, other.persons)
        for name in self.__struct_fields__:
            if name.endswith("_count"):
                setattr(self, name, getattr(self, name) + getattr(other, name))


class LayerLine(Struct, frozen=True):
    """What one layer pays."""

    field: str
    before_fen: int
    after_fen: int


class GroupLine(Struct, frozen=True):
    """Settlements of one month, or of one kind of care, and what the fund pays of them."""

    name: str
    claim_count: int
    total_fen: int
    before_fen: int
    after_fen: int


class InstitutionLine(Struct, frozen=True):
    """One institution's settlements, and what the fund pays of them."""

    code: str
    name: str
    kind: int
    level: int
    claim_count: int
    total_fen: int
    before_fen: int
    after_fen: int


class Band(Struct, frozen=True):
    """Persons who gain or lose about as much: from `from_fen`, below `below_fen`; None no end."""

    from_fen: int | None
    below_fen: int | None
    person_count: int
    gain_fen: int


class PersonsLine(Struct, frozen=True):
    """Persons of one type: how many gain, lose and neither, and what the fund pays."""

    person_type: str
    gaining_count: int
    losing_count: int
    same_count: int
    gained_fen: int
    lost_fen: int
    before_fen: int
    after_fen: int


class LevelLine(Struct, frozen=True):
    """Institutions of one kind and level, and what the fund pays for care there."""

    kind: int
    level: int
    institution_count: int
    claim_count: int
    before_fen: int
    after_fen: int


class Report(Struct, frozen=True):
    """What `report.json` holds; amounts in fen, "before" as stored, "after" under the draft."""

    drafts: tuple[str, ...]
    first_month: int
    last_month: int
    claim_count: int
    replayed_count: int
    undone_count: int
    uncovered_count: int
    asking_count: int
    refused_count: int
    unreplayed_count: int
    control_count: int
    difference_count: int
    total_fen: int
    fund_before_fen: int
    fund_after_fen: int
    person_before_fen: int
    person_after_fen: int
    layers: tuple[LayerLine, ...]
    person_types: tuple[PersonsLine, ...]
    levels: tuple[LevelLine, ...]
    schemes: tuple[GroupLine, ...]
    months: tuple[GroupLine, ...]
    bands: tuple[Band, ...]
    institutions: tuple[InstitutionLine, ...]


def band_of(gain_fen: int) -> int:
    """Return the number of the band of a gain, the greatest loss 0."""
    return bisect_right(_EDGES_FEN, gain_fen)


def band_words(band: Band) -> str:
    """Say which gains a band holds, in yuan."""
    if band.from_fen is None:
        return f"≤ {_yuan_of((band.below_fen or 0) - 1)}"
    if band.below_fen is None:
        return f"≥ {_yuan_of(band.from_fen)}"
    if band.from_fen == 0:
        return "0"
    if band.from_fen > 0:
        return f"{_yuan_of(band.from_fen)} … {_yuan_of(band.below_fen)}"
    return f"{_yuan_of(band.from_fen - 1)} … {_yuan_of(band.below_fen - 1)}"


def report_of(
    tally: Tally,
    drafts: Sequence[str],
    *,
    first_month: int,
    last_month: int,
    institutions: dict[int, tuple[str, str]],
) -> Report:
    """Make the tables of a report."""
    whole = _sum(tally.cells.values())
    return Report(
        drafts=tuple(drafts),
        first_month=first_month,
        last_month=last_month,
        claim_count=tally.claim_count,
        replayed_count=whole.claim_count,
        undone_count=tally.undone_count,
        uncovered_count=tally.uncovered_count,
        asking_count=tally.asking_count,
        refused_count=tally.refused_count,
        unreplayed_count=tally.unreplayed_count,
        control_count=tally.control_count,
        difference_count=tally.difference_count,
        total_fen=whole.total_fen,
        fund_before_fen=whole.before_fen,
        fund_after_fen=whole.after_fen,
        person_before_fen=whole.total_fen - whole.before_fen,
        person_after_fen=whole.total_fen - whole.after_fen,
        layers=tuple(LayerLine(name, two[0], two[1]) for name, two in tally.layers.items()),
        person_types=tuple(_person_types(tally)),
        levels=tuple(_levels(tally)),
        schemes=tuple(_groups(tally, _SCHEME)),
        months=tuple(_groups(tally, _MONTH)),
        bands=tuple(_bands(tally)),
        institutions=tuple(_institutions(tally, institutions)),
    )


class ReportFiles:
    """The files of one replay in a folder; lists grow while it runs, sums come at the end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._open = [
            (folder / name).open("w", encoding="utf-8-sig", newline="")  # so that Excel reads it
            for name in ("persons.csv", "not_replayed.csv", "control.csv")
        ]
        self._persons, self._not_replayed, self._control = map(csv.writer, self._open)
        self._persons.writerow(
            ("psn_no", "psn_type", "settlements", "total", "fund_before", "fund_after", "gain")
        )
        self._not_replayed.writerow(("setl_id", "what", "why", "fund_before"))
        self._control.writerow(("setl_id", "policy", "difference"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._open:
            file.close()

    def persons(self, rows: Iterable[PersonRow]) -> None:
        """Add persons."""
        self._persons.writerows(
            (*row[:3], yuan(row[3]), yuan(row[4]), yuan(row[5]), yuan(row[5] - row[4]))
            for row in rows
        )

    def not_replayed(self, what: str, rows: Iterable[Unreplayed]) -> None:
        """Add settlements that were refused, or could not be decided again."""
        self._not_replayed.writerows(
            (row.entry_no, what, row.why, yuan(row.fund_pay_fen)) for row in rows
        )

    def differences(self, rows: Iterable[Difference]) -> None:
        """Add settlements that the control found decided otherwise."""
        self._control.writerows((row.entry_no, row.policy, row.what) for row in rows)

    def report(self, report: Report) -> None:
        """Write the sums: as JSON, and each table as a CSV file."""
        text = json.format(json.encode(report))
        (self.folder / REPORT_FILE).write_bytes(text)
        for name, structs in (
            ("layers", report.layers),
            ("person_types", report.person_types),
            ("institution_levels", report.levels),
            ("schemes", report.schemes),
            ("months", report.months),
            ("bands", report.bands),
            ("institutions", report.institutions),
        ):
            with (self.folder / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows(_csv_rows(structs))


def _yuan_of(amount_fen: int) -> str:
    return f"{amount_fen / 100:,.0f}" if amount_fen % 100 == 0 else f"{amount_fen / 100:,.2f}"


def _csv_rows(structs: Sequence[Struct]) -> Iterator[list[object]]:
    """Give a table's rows, amounts in yuan."""
    if not structs:
        return
    names = structs[0].__struct_fields__
    is_compared = "before_fen" in names
    yield [
        *(name.removesuffix("_fen") for name in names), *(["difference"] if is_compared else [])
    ]  # fmt: skip
    for one in structs:
        row: list[object] = []
        for name in names:
            value = getattr(one, name)
            row.append(yuan(value) if name.endswith("_fen") and value is not None else value)
        if is_compared:
            row.append(yuan(getattr(one, "after_fen", 0) - getattr(one, "before_fen", 0)))
        yield row


def _add_pairs(mine: dict[K, list[int]], theirs: dict[K, list[int]]) -> None:
    for name, (first, second) in theirs.items():
        known = mine.setdefault(name, [0, 0])
        known[0] += first
        known[1] += second


def _sum(cells: Iterable[Cell]) -> Cell:
    whole = Cell()
    for cell in cells:
        whole.add(cell)
    return whole


def _groups(tally: Tally, place: int) -> Iterator[GroupLine]:
    """Sum up by one part of the cells' keys."""
    sums: dict[str, Cell] = {}
    for key, cell in tally.cells.items():
        sums.setdefault(str(key[place]), Cell()).add(cell)
    for name, cell in sorted(sums.items()):
        yield GroupLine(name, cell.claim_count, cell.total_fen, cell.before_fen, cell.after_fen)


def _institutions(tally: Tally, names: dict[int, tuple[str, str]]) -> Iterator[InstitutionLine]:
    sums: dict[tuple[int, int, int], Cell] = {}
    for (_, _, _, kind, level, number), cell in tally.cells.items():
        sums.setdefault((number, kind, level), Cell()).add(cell)
    for (number, kind, level), cell in sorted(sums.items()):
        code, name = names.get(number, (str(number), ""))
        yield InstitutionLine(
            code, name, kind, level, cell.claim_count, cell.total_fen, cell.before_fen,
            cell.after_fen,
        )  # fmt: skip


def _levels(tally: Tally) -> Iterator[LevelLine]:
    sums: dict[tuple[int, int], Cell] = {}
    members: dict[tuple[int, int], set[int]] = {}
    for (_, _, _, kind, level, number), cell in tally.cells.items():
        sums.setdefault((kind, level), Cell()).add(cell)
        members.setdefault((kind, level), set()).add(number)
    for key in sorted(sums):
        cell = sums[key]
        yield LevelLine(*key, len(members[key]), cell.claim_count, cell.before_fen, cell.after_fen)


def _person_types(tally: Tally) -> Iterator[PersonsLine]:
    sums: dict[str, Cell] = {}
    for key, cell in tally.cells.items():
        sums.setdefault(str(key[_PERSON_TYPE]), Cell()).add(cell)
    same = band_of(0)
    for person_type in sorted(sums):
        bands = {band: two for (kind, band), two in tally.persons.items() if kind == person_type}
        gaining = [two for band, two in bands.items() if band > same]
        losing = [two for band, two in bands.items() if band < same]
        cell = sums[person_type]
        yield PersonsLine(
            person_type,
            sum(count for count, _ in gaining),
            sum(count for count, _ in losing),
            bands.get(same, [0, 0])[0],
            sum(gain for _, gain in gaining),
            -sum(gain for _, gain in losing),
            cell.before_fen,
            cell.after_fen,
        )


def _bands(tally: Tally) -> Iterator[Band]:
    edges = (None, *_EDGES_FEN, None)
    for number in range(len(_EDGES_FEN) + 1):
        twos = [two for (_, band), two in tally.persons.items() if band == number]
        yield Band(
            edges[number], edges[number + 1], sum(count for count, _ in twos),
            sum(gain for _, gain in twos),
        )  # fmt: skip
