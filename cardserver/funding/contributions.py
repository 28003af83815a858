"""Employers' contributions, posted from a file: once, however often the file comes.

A chunk of rows is an act: what a row says beyond the file before it is posted, and the row is kept.
A file that was broken off goes on after its last chunk; a corrected one posts differences; one
that was paid back is reversed. Not here: columns (`contribution_rows.py`), what the rules make
of a row (`division.py`), the rows in the database (`contributions_store.py`).
"""

import asyncio
import hashlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from msgspec import msgpack

from cardserver.catalogue.sheets import UTF_8
from cardserver.funding.contribution_rows import (
    ContributionRow,
    Fault,
    Read,
    Rejected,
    read_contributions,
)
from cardserver.funding.contributions_store import (
    INSERT_CONTRIBUTIONS,
    INSERT_REJECTIONS,
    ContributionFile,
    ContributionKey,
    Counts,
    Lookups,
    Standing,
    decode_counts,
    encode_counts,
    end_file,
    entries_of_file,
    files_since,
    find_file,
    look_up,
    read_standing,
    register_file,
    rows_of_entry,
)
from cardserver.funding.division import NotDivided, Paid, age_on, divide
from cardserver.funding.rules import FundingRules
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.values import Actor
from ledger.accounts import Account
from ledger.bulk_store import Query, Row
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import (
    Act,
    Acted,
    ActKey,
    ActOutcome,
    ActPosted,
    ActType,
    ActView,
    FundActs,
)
from ledger.scripts import Script

C = TypeVar("C")

CHUNK_SIZE = {"postgresql": 1_000, "sqlite": 250}
"""Rows that share an act, so that a transaction stays short."""

_BLOCK_SIZE = 1 << 20
_FAULTS: Mapping[NotDivided, Fault] = {
    NotDivided.NO_RULE: Fault.NO_RULE,
    NotDivided.BASE_BELOW: Fault.BASE_BELOW,
    NotDivided.BASE_ABOVE: Fault.BASE_ABOVE,
    NotDivided.EMPLOYER_PART: Fault.EMPLOYER_PART,
    NotDivided.PERSONAL_PART: Fault.PERSONAL_PART,
    NotDivided.ABOVE_PAID: Fault.ABOVE_PAID,
}

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a file.

    Attributes:
        is_repeated: All of it had been done before; nothing was done now.
    """

    file: ContributionFile
    counts: Counts
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What a row says, once person and employer are known.

    Attributes:
        line: Of the file.
        account_fen: What of it goes to the personal account.
        stands_in: Do it only where this file's row is the one that holds; 0: whatever holds.
    """

    line: int
    key: ContributionKey
    paid: Paid
    account_fen: int
    stands_in: int = 0


@dataclass(frozen=True, slots=True)
class FileWish:
    """Which file is to be posted, and how.

    Attributes:
        is_again: Although it was posted to the end: rows that were rejected may be right by now.
        encoding: Of a CSV file.
        sheet: Of an XLSX file; the first unless given.
    """

    path: Path
    is_again: bool = False
    encoding: str = UTF_8
    sheet: str = ""


async def post_file(
    database: Database,
    acts: FundActs,
    rules: FundingRules,
    wish: FileWish,
    actor: Actor,
    *,
    month: int,
    on_progress: Progress = lambda _: None,
) -> Posted:
    """Post a file of contributions, or what is left of it.

    Args:
        database: Started.
        acts: Entered.
        rules: In force.
        wish: Which file.
        actor: Who posts it.
        month: The present one, YYYYMM.
        on_progress: Told how many rows are done with.

    Raises:
        ImportFileError: The file can't be read, or not any further; what was posted of it stands.
    """
    file = await register_file(
        database,
        sha256=_sha256_of(wish.path),
        name=wish.path.name,
        month=month,
        chunk_size=CHUNK_SIZE[database.dialect],
        actor=actor,
        is_again=wish.is_again,
    )
    if file.ends_time_ms:
        return Posted(file, file.counts, is_repeated=True)
    rows = _once_each(read_contributions(wish.path, encoding=wish.encoding, sheet=wish.sheet))

    async def chunks() -> AsyncIterator[Sequence[Read]]:
        for chunk in _batches(rows, file.chunk_size):
            yield chunk

    async def claimed(chunk: Sequence[Read]) -> tuple[list[_Claimed], list[Rejected]]:
        return await _claim(database, rules, chunk)

    passed = await files_since(database, file)
    return await _post_chunks(
        database, acts, file, actor, chunks(), claimed, on_progress, passed_by=passed
    )


async def reverse_file(  # noqa: PLR0913 - what is taken back, by whom and why
    database: Database,
    acts: FundActs,
    file_no: int,
    actor: Actor,
    *,
    employer: str,
    reason: str,
    month: int,
    on_progress: Progress = lambda _: None,
) -> Posted:
    """Take back what a file posted, where no later file has said something else; once.

    Args:
        database: Started.
        acts: Entered.
        file_no: The file whose payment was returned or revoked.
        actor: Who does it.
        employer: The code of the one employer whose rows are meant; empty: all.
        reason: Why, for the audit.
        month: The present one, YYYYMM.
        on_progress: Told how many rows are done with.

    Raises:
        AdministrationError: There is no such file or employer, or the file can't be reversed.
    """
    original = await find_file(database, file_no)
    if original.reverses:
        raise AdministrationError(f"file {file_no} is itself a reversal: post the file again")
    if not original.ends_time_ms:
        raise AdministrationError(f"file {file_no} was broken off: post it to its end first")
    employer_no = 0
    if employer:
        found = await look_up(database, employers=(employer,), documents=(), numbers=())
        if employer not in found.employers:
            raise AdministrationError(f"there is no employer {employer}")
        employer_no = found.employers[employer]
    file = await register_file(
        database,
        sha256=hashlib.sha256(f"reversal {file_no} {employer_no}".encode()).digest(),
        name=original.name,
        month=month,
        chunk_size=CHUNK_SIZE[database.dialect],
        actor=actor,
        reverses=file_no,
        employer_no=employer_no,
        reason=reason,
    )
    if file.ends_time_ms:
        return Posted(file, file.counts, is_repeated=True)

    async def chunks() -> AsyncIterator[Sequence[ContributionKey]]:
        for entry_no in await entries_of_file(database, file_no):
            yield await rows_of_entry(database, entry_no)

    lines = 0

    async def claimed(page: Sequence[ContributionKey]) -> tuple[list[_Claimed], list[Rejected]]:
        nonlocal lines
        numbers = {key.person_no for key in page}
        kept = (await look_up(database, employers=(), documents=(), numbers=numbers)).kept
        some = [
            key._replace(person_no=kept.get(key.person_no, key.person_no))
            for key in page
            if employer_no in {0, key.employer_no}
        ]
        first, lines = lines + 1, lines + len(some)
        nothing = Paid(0, 0, 0)
        return [
            _Claimed(line, key, nothing, 0, file_no) for line, key in enumerate(some, first)
        ], []

    return await _post_chunks(database, acts, file, actor, chunks(), claimed, on_progress)


async def _post_chunks(  # noqa: PLR0913 - a file, its rows and who posts them
    database: Database,
    acts: FundActs,
    file: ContributionFile,
    actor: Actor,
    chunks: AsyncIterator[Sequence[C]],
    claimed: Callable[[Sequence[C]], Awaitable[tuple[list[_Claimed], list[Rejected]]]],
    on_progress: Progress,
    *,
    passed_by: Collection[int] = (),
) -> Posted:
    """Post each chunk once; the next is looked up while one is under way."""
    counts, done_count, index = Counts(), 0, 0
    under_way: asyncio.Task[ActOutcome] | None = None
    async with asyncio.TaskGroup() as tasks:
        async for chunk in chunks:
            index += 1
            key = ActKey(ActType.CONTRIBUTION, file.month, (file.file_no, index))
            content = msgpack.encode(chunk)
            known = await acts.find(key, content)
            if known is not None:
                counts = counts.plus(decode_counts(known.body))
            else:
                claims, rejected = await claimed(chunk)
                if under_way is not None:
                    counts = counts.plus(decode_counts((await under_way).body))
                act = _act(key, content, _Decider(file.file_no, passed_by), claims, rejected)
                under_way = tasks.create_task(acts.post(act))
            done_count += len(chunk)
            on_progress(done_count)
    if under_way is not None:
        counts = counts.plus(decode_counts(under_way.result().body))
    await end_file(database, file.file_no, counts, now_ms=actor.now_ms)
    return Posted(file, counts, is_repeated=False)


async def _claim(
    database: Database, rules: FundingRules, chunk: Sequence[Read]
) -> tuple[list[_Claimed], list[Rejected]]:
    """Find out whom rows are about, and what the rules make of them."""
    rows = [row for row in chunk if isinstance(row, ContributionRow)]
    found = await look_up(
        database,
        employers={row.employer for row in rows},
        documents={row.id_number for row in rows if row.id_number},
        numbers={row.psn_no for row in rows if row.psn_no},
    )
    claims: list[_Claimed] = []
    rejected = [row for row in chunk if isinstance(row, Rejected)]
    for row in rows:
        claim = _claim_row(row, found, rules)
        if isinstance(claim, Rejected):
            rejected.append(claim)
        else:
            claims.append(claim)
    return claims, rejected


def _claim_row(row: ContributionRow, found: Lookups, rules: FundingRules) -> _Claimed | Rejected:
    employer_no = found.employers.get(row.employer)
    if employer_no is None:
        return Rejected(row.line, "employer", Fault.EMPLOYER)
    by_document = found.persons.get(row.id_number, 0)
    person_no = found.kept.get(row.psn_no, row.psn_no) or by_document
    state = found.states.get(person_no)
    if state is None:
        return Rejected(row.line, "psn_no" if row.psn_no else "id_number", Fault.PERSON)
    if by_document and by_document != person_no:
        return Rejected(row.line, "id_number", Fault.OTHERS_ID)
    birth_date, deceased_date = state
    first_day, last_day = row.month * 100 + 1, row.month * 100 + 31
    if deceased_date is not None and deceased_date < first_day:
        return Rejected(row.line, "", Fault.DECEASED)
    insured = [
        one
        for begins, ends, one in sorted(found.insurances.get(person_no, ()), key=_begins)
        if one.insutype == row.insutype and begins <= last_day and ends >= first_day
    ]
    if not insured:
        return Rejected(row.line, "insutype", Fault.INSURANCE)
    version = rules.of_month(row.month)
    if version is None:
        return Rejected(row.line, "month", Fault.NO_RULES)
    paid = Paid(row.base_fen, row.employer_fen, row.personal_fen)
    # Of two in one month the later one holds: as whoever has retired in it.
    account_fen = divide(version.document, insured[-1], age_on(birth_date, first_day), paid)
    if isinstance(account_fen, NotDivided):
        return Rejected(row.line, "", _FAULTS[account_fen])
    key = ContributionKey(person_no, row.month, employer_no, row.insutype)
    return _Claimed(row.line, key, paid, account_fen)


def _begins(insurance: tuple[int, int, object]) -> int:
    return insurance[0]


@dataclass(frozen=True, slots=True)
class _Decider:
    """Which file's rows are decided on.

    Attributes:
        passed_by: Files that came after its first posting: what one of them says stands.
    """

    file_no: int
    passed_by: Collection[int]


def _act(
    key: ActKey,
    content: bytes,
    file: _Decider,
    claims: Sequence[_Claimed],
    rejected: list[Rejected],
) -> Act[Mapping[ContributionKey, Standing]]:
    keys = sorted({claim.key for claim in claims})

    def read() -> Script[Mapping[ContributionKey, Standing]]:
        if not keys:
            return {}
        return (yield from read_standing(keys))

    def decide(view: ActView, standing: Mapping[ContributionKey, Standing]) -> Acted:
        return _Decision(file, view, dict(standing), list(rejected)).decide(claims)

    persons = tuple(sorted({one.person_no for one in keys}))
    return Act(key, content, persons, read, decide)


@dataclass(slots=True)
class _Decision:
    """What the rows of a chunk post, one after the other.

    Attributes:
        held: What persons' accounts hold after the rows so far.
        rows: By insurance: rows of contributions, their entry's number apart.
    """

    file: _Decider
    view: ActView
    standing: dict[ContributionKey, Standing]
    rejected: list[Rejected]
    held: dict[int, int] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def decide(self, claims: Sequence[_Claimed]) -> Acted:
        """Return entries, rows and what is stored as outcome."""
        for claim in claims:
            fault = self._take(claim)
            if fault is not None:
                self.rejected.append(Rejected(claim.line, "", fault))
        counts = self.counts.plus(Counts(rejected=len(self.rejected)))
        insurances = sorted(self.rows)
        rejections = [
            (self.file.file_no, one.line, one.column, one.fault.value)
            for one in sorted(self.rejected, key=lambda one: one.line)
        ]

        def write(posted: ActPosted) -> Sequence[Query]:
            rows = [
                (*row[:5], number, *row[5:])
                for number, insutype in zip(posted.numbers, insurances, strict=True)
                for row in sorted(self.rows[insutype])
            ]
            return [INSERT_CONTRIBUTIONS(rows), INSERT_REJECTIONS(rejections)]

        drafts = tuple(_entry(insutype, self.rows[insutype]) for insutype in insurances)
        return Acted(drafts, write, lambda _: encode_counts(counts))

    def _take(self, claim: _Claimed) -> Fault | None:
        """Note what a row posts; return why it posts nothing, where something is wrong."""
        person_no = claim.key.person_no
        if person_no not in self.view.book.persons:
            return Fault.PERSON  # merged into another a moment ago
        before = self.standing.get(claim.key)
        if before is not None and before.file_no >= self.file.file_no:
            return Fault.REPEATED if before.file_no == self.file.file_no else Fault.LATER_FILE
        if claim.stands_in and (before is None or before.file_no != claim.stands_in):
            self.counts = self.counts.plus(Counts(unchanged=1))
            return None
        paid = claim.paid
        now = Standing(
            self.file.file_no,
            paid.base_fen,
            paid.employer_fen,
            paid.personal_fen,
            claim.account_fen,
        )
        if before is not None and before[1:] == now[1:]:
            self.counts = self.counts.plus(Counts(unchanged=1))
            self.standing[claim.key] = before._replace(file_no=self.file.file_no)
            return None
        if before is not None and before.file_no in self.file.passed_by:
            return Fault.LATER_FILE
        account_fen = now.account_fen - (before.account_fen if before else 0)
        pool_fen = _pool_fen(now) - (_pool_fen(before) if before else 0)
        held_fen = self.held.get(person_no, self.view.personal_balance(person_no)) + account_fen
        if held_fen < 0:
            return Fault.OVERDRAWN
        self.held[person_no] = held_fen
        self.standing[claim.key] = now
        self.rows.setdefault(claim.key.insutype, []).append(
            (*claim.key, *now, pool_fen, account_fen)
        )
        self.counts = self.counts.plus(
            Counts(
                posted=int(before is None),
                corrected=int(before is not None),
                pool_fen=pool_fen,
                account_fen=account_fen,
            )
        )
        return None


def _pool_fen(standing: Standing) -> int:
    return standing.employer_fen + standing.personal_fen - standing.account_fen


def _entry(insutype: str, rows: Sequence[Row]) -> Draft:
    """Debit what was paid in, credit the pool's income and each personal account."""
    insurance = int(insutype)
    by_person: dict[int, int] = {}
    pool_fen = 0
    for row in rows:
        pool_fen += row[-2]
        by_person[row[0]] = by_person.get(row[0], 0) + row[-1]
    amounts = [
        (Account.FISCAL_DEPOSIT.value, insurance, pool_fen + sum(by_person.values())),
        (Account.CONTRIBUTIONS.value, insurance, -pool_fen),
        *(
            (Account.PERSONAL_ACCOUNT.value, person_no, -fen)
            for person_no, fen in sorted(by_person.items())
        ),
    ]
    return Draft(EntryKind.CONTRIBUTION, tuple(Posting(*amount) for amount in amounts if amount[2]))


def _once_each(rows: Iterable[Read]) -> Iterator[Read]:
    """Reject a row whose key an earlier one of the file has, whatever became of that one."""
    seen: set[int] = set()  # 64 bits of a key are enough to tell half a million apart
    for row in rows:
        if isinstance(row, ContributionRow):
            key = hash((row.employer, row.month, row.psn_no or row.id_number, row.insutype))
            if key in seen:
                yield Rejected(row.line, "", Fault.REPEATED)
                continue
            seen.add(key)
        yield row


def _batches(rows: Iterable[Read], size: int) -> Iterator[list[Read]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _sha256_of(path: Path) -> bytes:
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_SIZE):
                hashed.update(block)
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror}") from error
    return hashed.digest()
