"""Contributions in the database: files, rows as posted, and what a chunk of rows is looked up by.

Not here: what is posted (`contributions.py`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct, msgpack

from cardserver.funding import tables
from cardserver.funding.division import Insured
from cardserver.funding.runs_store import registered
from cardserver.registry import tables as registry
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor, IDType
from ledger.bulk_store import Row, insert, plain, select, update
from ledger.database_store import Database
from ledger.scripts import Script

_KEY = ("person_no", "month", "employer_no", "insutype")
_VALUES = (
    "file_no", "entry_no", "base_fen", "employer_fen", "personal_fen", "account_fen",
    "pool_moved_fen", "account_moved_fen",
)  # fmt: skip
_FILE = tuple(str(column.name) for column in tables.contribution_file.columns)

INSERT_CONTRIBUTIONS = insert(tables.contribution, (*_KEY, *_VALUES), is_sealed=True)
INSERT_REJECTIONS = insert(tables.contribution_rejection, ("file_no", "line", "column", "reason"))
_FIND_CONTRIBUTIONS = select(
    tables.contribution, ("file_no", "base_fen", "employer_fen", "personal_fen", "account_fen"),
    _KEY,
)  # fmt: skip
_FIND_MERGED_INTO = select(registry.merged_person, ("person_no",), ("kept_person_no",))
_FIND_KEPT = select(registry.merged_person, ("kept_person_no",), ("person_no",))
_FIND_EMPLOYERS = select(registry.employer, ("employer_no",), ("code",))
_FIND_IDENTITIES = select(registry.identity, ("person_no",), ("number", "id_type"))
_FIND_PERSONS = select(registry.person, ("birth_date", "deceased_date"), ("person_no",))
_FIND_INSURANCES = select(
    registry.insurance,
    ("insutype", "begins", "ends", "state", "person_type", "region"),
    ("person_no",),
)
_FILES_TEXT = f"SELECT {', '.join(_FILE)} FROM contribution_file"  # noqa: S608 - the schema's own
_FILES = plain(
    "read contribution files",
    postgresql=f"{_FILES_TEXT} ORDER BY file_no", sqlite=f"{_FILES_TEXT} ORDER BY file_no",
)  # fmt: skip
_FIND_FILES_BY_SHA256 = select(tables.contribution_file, ("file_no", "attempt"), ("sha256",))
_FIND_FILES = select(tables.contribution_file, _FILE[1:], ("file_no",))
_LAST_FILE_TEXT = "SELECT coalesce(max(file_no), 0) FROM contribution_file"
_LAST_FILE = plain("last file", postgresql=_LAST_FILE_TEXT, sqlite=_LAST_FILE_TEXT)
_INSERT_FILE = insert(tables.contribution_file, _FILE)
_END_FILE = update(tables.contribution_file, set=("ends_time_ms", "counts"), by=("file_no",))
_REJECTIONS_TEXT = (
    'SELECT line, "column", reason FROM contribution_rejection WHERE file_no = {} ORDER BY line'
)
_REJECTIONS = plain(
    "read rejections",
    postgresql=_REJECTIONS_TEXT.format("$1"), sqlite=_REJECTIONS_TEXT.format("?"),
)  # fmt: skip
_ENTRIES_TEXT = "SELECT DISTINCT entry_no FROM contribution WHERE file_no = {} ORDER BY entry_no"
_ENTRIES = plain(
    "entries of a file",
    postgresql=_ENTRIES_TEXT.format("$1"), sqlite=_ENTRIES_TEXT.format("?"),
)  # fmt: skip
_FIND_BY_ENTRY = select(tables.contribution, _KEY, ("entry_no",))
_OF_PERSON_TEXT = (
    "SELECT c.entry_no, c.month, c.insutype, e.name, c.file_no, f.reverses FROM contribution c"
    " JOIN contribution_file f ON f.file_no = c.file_no"
    " LEFT JOIN employer e ON e.employer_no = c.employer_no WHERE c.person_no = {}"
)
_OF_PERSON = plain(
    "contributions of a person",
    postgresql=_OF_PERSON_TEXT.format("$1"), sqlite=_OF_PERSON_TEXT.format("?"),
)  # fmt: skip


class ContributionKey(NamedTuple):
    """What a contribution is for."""

    person_no: int
    month: int
    employer_no: int
    insutype: str


class Standing(NamedTuple):
    """What a file said of a contribution."""

    file_no: int
    base_fen: int
    employer_fen: int
    personal_fen: int
    account_fen: int


class Counts(Struct, frozen=True):
    """What became of rows.

    Attributes:
        posted: New ones.
        corrected: Of which a file before had said something else.
        unchanged: Of which it had said the same.
        pool_fen: By how much the pool's income was moved.
        account_fen: By how much personal accounts were moved.
    """

    posted: int = 0
    corrected: int = 0
    unchanged: int = 0
    rejected: int = 0
    pool_fen: int = 0
    account_fen: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Add up."""
        return Counts(
            self.posted + other.posted,
            self.corrected + other.corrected,
            self.unchanged + other.unchanged,
            self.rejected + other.rejected,
            self.pool_fen + other.pool_fen,
            self.account_fen + other.account_fen,
        )


@dataclass(frozen=True, slots=True)
class ContributionFile:
    """A file as it was registered, or the reversal of one; see the table."""

    file_no: int
    sha256: bytes
    attempt: int
    name: str
    month: int
    chunk_size: int
    reverses: int
    employer_no: int
    reason: str
    operator_no: int
    actor: str
    begins_time_ms: int
    ends_time_ms: int
    counts: Counts


@dataclass(slots=True)
class Lookups:
    """What is known of the persons and employers of some rows.

    Attributes:
        employers: Number by code.
        persons: Number by document.
        kept: Of numbers that were merged into others.
        states: Birth date and date of death by person.
        insurances: By person: insutype, begins, ends, and what it is.
    """

    employers: dict[str, int]
    persons: dict[str, int]
    kept: dict[int, int]
    states: dict[int, tuple[int, int | None]]
    insurances: dict[int, list[tuple[int, int, Insured]]]


def encode_counts(counts: Counts) -> bytes:
    """Write counts as they are stored."""
    return msgpack.encode(counts)


def decode_counts(body: bytes) -> Counts:
    """Read what `encode_counts` wrote."""
    return msgpack.decode(body, type=Counts)


async def register_file(  # noqa: PLR0913 - a row of the table
    database: Database,
    *,
    sha256: bytes,
    name: str,
    month: int,
    chunk_size: int,
    actor: Actor,
    is_again: bool = False,
    reverses: int = 0,
    employer_no: int = 0,
    reason: str = "",
) -> ContributionFile:
    """Return the file with this content: the one there is, or a new one.

    Args:
        database: Started.
        sha256: Of its content.
        name: For people.
        month: When it is registered.
        chunk_size: How many rows share an act.
        actor: Who posts it.
        is_again: Make a new one though the content was posted to the end.
        reverses: The file whose rows are taken back.
        employer_no: Only this employer's.
        reason: Why.
    """

    def script() -> Script[int]:
        found = yield _FIND_FILES_BY_SHA256([(sha256,)])
        attempt, file_no = max(((row[2], row[1]) for row in found), default=(0, 0))
        if file_no:
            ((*_, ends_time_ms, _counts),) = yield _FIND_FILES([(file_no,)])
            if not (is_again and ends_time_ms):
                return file_no
        ((last,),) = yield _LAST_FILE()
        row = (
            last + 1, sha256, attempt + 1, name[:100], month, chunk_size, reverses, employer_no,
            reason[:200], actor.operator_no, actor.name, actor.now_ms, 0, b"",
        )  # fmt: skip
        yield _INSERT_FILE([row])
        what = f"reversal of file {reverses}" if reverses else name
        yield audit(actor, "contributions posted", f"file {last + 1}", f"{what} {reason}".strip())
        return int(last) + 1

    return await find_file(database, await registered(database, script))


async def find_file(database: Database, file_no: int) -> ContributionFile:
    """Read a file.

    Raises:
        AdministrationError: There is none.
    """
    rows = await database.fetch(_FIND_FILES([(file_no,)]))
    if not rows:
        raise AdministrationError(f"there is no file {file_no} of contributions")
    return _file_of(rows[0])


async def list_files(database: Database) -> list[ContributionFile]:
    """Read all files, by number."""
    return [_file_of(row) for row in await database.fetch(_FILES())]


async def files_since(database: Database, file: ContributionFile) -> frozenset[int]:
    """Return the files that came after the first posting of a content and before this one of it.

    What one of them says holds against a row that is tried again; what a reversal took back is
    nobody's, and may come again.
    """
    if file.attempt == 1:
        return frozenset()
    files = await list_files(database)
    first = min(one.file_no for one in files if one.sha256 == file.sha256)
    return frozenset(
        one.file_no
        for one in files
        if first < one.file_no < file.file_no and not one.reverses and one.sha256 != file.sha256
    )


async def end_file(database: Database, file_no: int, counts: Counts, *, now_ms: int) -> None:
    """Note that all rows of a file are done with."""
    await database.execute(_END_FILE([(now_ms, encode_counts(counts), file_no)]))


async def rejections_of(database: Database, file_no: int) -> list[tuple[int, str, str]]:
    """Return line, column and the fault's name of each row that was not posted."""
    return [(row[0], row[1], row[2]) for row in await database.fetch(_REJECTIONS([(file_no,)]))]


async def entries_of_file(database: Database, file_no: int) -> list[int]:
    """Return the numbers of the entries that a file posted, ascending."""
    return [row[0] for row in await database.fetch(_ENTRIES([(file_no,)]))]


async def rows_of_entry(database: Database, entry_no: int) -> list[ContributionKey]:
    """Return what an entry posted, in the order of the keys: as many as shared an act at most."""
    rows = await database.fetch(_FIND_BY_ENTRY([(entry_no,)]))
    return sorted(ContributionKey(*row[1:]) for row in rows)


async def look_up(
    database: Database,
    *,
    employers: Collection[str],
    documents: Collection[str],
    numbers: Collection[int],
) -> Lookups:
    """Find employers by code, and persons by document and number, with their insurances."""
    found_employers = await database.fetch(_FIND_EMPLOYERS(_keys(employers)))
    citizens = [(number, IDType.CITIZEN.value) for number in sorted(documents)]
    found_identities = await database.fetch(_FIND_IDENTITIES(citizens)) if citizens else []
    found_kept = await database.fetch(_FIND_KEPT(_keys(numbers))) if numbers else []
    kept = {row[0]: row[1] for row in found_kept}
    by_document = {row[0]: row[2] for row in found_identities}
    wanted = _keys({kept.get(number, number) for number in numbers} | set(by_document.values()))
    states = await database.fetch(_FIND_PERSONS(wanted)) if wanted else []
    insurances: dict[int, list[tuple[int, int, Insured]]] = {}
    rows = await database.fetch(_FIND_INSURANCES(wanted)) if wanted else []
    for person_no, insutype, begins, ends, _state, person_type, region in rows:
        insured = Insured(insutype, person_type, region)
        insurances.setdefault(person_no, []).append((begins, ends, insured))
    return Lookups(
        employers={row[0]: row[1] for row in found_employers},
        persons=by_document,
        kept=kept,
        states={row[0]: (row[1], row[2]) for row in states},
        insurances=insurances,
    )


def read_standing(
    keys: Sequence[ContributionKey],
) -> Script[Mapping[ContributionKey, Standing]]:
    """Read what the latest file says of each, also under numbers that were merged into a person."""
    merged = yield _FIND_MERGED_INTO(_keys({key.person_no for key in keys}))
    gone: dict[int, list[int]] = {}
    for kept, number in merged:
        gone.setdefault(kept, []).append(number)
    aliases = {
        key._replace(person_no=number): key
        for key in keys
        for number in (key.person_no, *gone.get(key.person_no, ()))
    }
    latest: dict[ContributionKey, Standing] = {}
    for row in (yield _FIND_CONTRIBUTIONS(sorted(aliases))):
        key, standing = aliases[ContributionKey(*row[:4])], Standing(*row[4:])
        known = latest.get(key)
        if known is None or standing.file_no > known.file_no:
            latest[key] = standing
    return latest


class PostedContribution(NamedTuple):
    """A contribution that moved a personal account, for its statement."""

    entry_no: int
    month: int
    insutype: str
    employer: str | None
    file_no: int
    reverses: int


async def contributions_of(database: Database, person_no: int) -> list[PostedContribution]:
    """Return all that was posted for a person."""
    rows = await database.fetch(_OF_PERSON([(person_no,)]))
    return [PostedContribution(*row) for row in rows]


def _keys(values: Iterable[object]) -> list[Row]:
    return [(value,) for value in sorted(set(values))]  # type: ignore[type-var]  # one type each


def _file_of(row: Row) -> ContributionFile:
    values = dict(zip(_FILE, row, strict=True))
    values["counts"] = decode_counts(values["counts"]) if values["counts"] else Counts()
    return ContributionFile(**values)
