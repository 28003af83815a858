"""Claims in the database: what a commit group reads and writes of them, previews, and look-ups.

Not here: what is decided (`settlement.py`, `undoing.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import msgpack

from cardserver.benefits.values import NOTHING_USED, Accumulated, added
from cardserver.claims import tables
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.claims.checking import ToCheck, check_bill
from cardserver.claims.claim_detail import decode_detail, encode_detail
from cardserver.claims.history_store import note_in_history, read_history
from cardserver.claims.settlement import adjudicate_bill, needs_of, previewed
from cardserver.claims.values import (
    AccumulatorKey,
    Attempt,
    Book,
    CardState,
    Claim,
    ClaimsAnswer,
    Contract,
    Needs,
    Payer,
    PersonState,
    Place,
    Presented,
    Record,
    Rules,
)
from cardserver.registry import tables as registry
from cardserver.registry.values import Filing, FilingKind, Insurance, InsuranceState
from cardserver.visits.visit_book import Noted
from cardserver.visits.visits_store import Note, read_persons_of, read_visits, visit_queries
from ledger import tables as ledger_tables
from ledger.bulk_store import Query, Row, Statement, at_once, insert, put, select
from ledger.database_store import Database
from ledger.decisions import Answer, Decided, GroupView
from ledger.entries import Draft
from ledger.group import TOMBSTONE_TYPE
from ledger.ledger_store import (
    GroupTime,
    RequestKey,
    StoredRequest,
    balances_of,
    find_balances,
    read_drafts,
    read_requests,
)
from ledger.scripts import Script, along
from ledger.sealing import is_expired
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, StatusState

_LIST_VERSION_MAX = 2**31 - 1  # of the column; a terminal may say anything below 2**32

_CLAIM = (
    "entry_no", "person_no", "institution_no", "terminal_no", "msgid", "operator_no", "type",
    "insutype", "med_type", "business_date", "care_date", "undoes", "total_fen", "fund_pay_fen",
    "account_pay_fen", "mutual_aid_fen", "cash_fen", "policy", "card_no", "proof", "exception",
    "list_version", "detail",
)  # fmt: skip
_AMOUNTS = ("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions")
_ACCUMULATOR = ("person_no", "year", "insutype", "scheme")
_PERSON = ("birth_date", "deceased_date", "family_no", "sex")
_READ_CLAIM = (
    "person_no", "institution_no", "terminal_no", "msgid", "operator_no", "type", "insutype",
    "med_type", "care_date", "undoes", "policy", "card_no", "proof", "exception", "list_version",
    "detail",
)  # fmt: skip

_FIND_PERSONS = select(registry.person, _PERSON, ("person_no",))
_PAYER = "p.person_no, f.family_no, f.payer_person_no FROM person p"
_FAMILY = "JOIN family f ON f.family_no = p.family_no"
_FIND_PAYERS = Statement(
    "select payers",
    postgresql=f"SELECT {_PAYER} {_FAMILY} WHERE p.person_no = ANY($1::bigint[])",
    sqlite=f"SELECT {_PAYER} {_FAMILY} WHERE p.person_no = ?",
    sqlite_many=(
        f"SELECT {_PAYER} {_FAMILY} WHERE p.person_no IN (SELECT value->>0 FROM json_each(?))"
    ),
    has_result=True,
    key_count=1,
)
_THEIRS = (
    f"SELECT t.person_no, {', '.join(f't.{column}' for column in _PERSON)} FROM person t"
    " WHERE t.person_no "
)
_OWN_AND_PAYERS = (
    "SELECT n FROM k UNION"
    f" SELECT f.payer_person_no FROM k JOIN person p ON p.person_no = k.n {_FAMILY}"
)
_LOCK_PERSONS = Statement(
    "lock persons and payers",
    postgresql=(
        f"{_THEIRS}= ANY(ARRAY(WITH k(n) AS (SELECT unnest($1::bigint[])) {_OWN_AND_PAYERS}))"
        " ORDER BY t.person_no FOR NO KEY UPDATE OF t"
    ),
    sqlite=f"WITH k(n) AS (SELECT ?) {_THEIRS}IN ({_OWN_AND_PAYERS})",
    sqlite_many=(
        f"WITH k(n) AS (SELECT value->>0 FROM json_each(?)) {_THEIRS}IN ({_OWN_AND_PAYERS})"
    ),
    has_result=True,
    key_count=1,
)
_PLACE = (
    "SELECT t.terminal_no, t.state, i.institution_no, i.kind, i.level, i.state,"
    " i.contract_begins, i.contract_ends, i.code, c.begins, c.ends, c.level, c.care FROM terminal t"
    " JOIN institution i ON i.institution_no = t.institution_no"
    " LEFT JOIN contract c ON c.institution_no = i.institution_no WHERE t.terminal_no "
)
_PLACE_SIZE = 8  # columns of a place itself; then those of one of its contracts
_FIND_PLACES = Statement(
    "select places",
    postgresql=f"{_PLACE}= ANY($1::integer[])",
    sqlite=f"{_PLACE}= ?",
    sqlite_many=f"{_PLACE}IN (SELECT value->>0 FROM json_each(?))",
    has_result=True,
    key_count=1,
)
_FIND_CARDS = select(registry.card, CardState._fields, ("card_no",))
_FIND_INSURANCES = select(
    registry.insurance,
    ("insutype", "begins", "ends", "state", "person_type", "region"),
    ("person_no",),
)
_FIND_FILINGS = select(
    registry.filing, ("kind", "code", "institution_no", "begins", "ends"), ("person_no",)
)
_FIND_CLAIMS = select(tables.claim, _READ_CLAIM, ("entry_no",))
_FIND_UNDOING = select(ledger_tables.undoing, ("entry_no",), ("undoes",))
_FIND_PRINTS = select(tables.print_ack, ("copy", "is_printed"), ("entry_no",))
_FIND_ACCUMULATORS = select(
    tables.accumulator, ("insutype", "scheme", *_AMOUNTS), ("person_no", "year")
)
_INSERT_CLAIMS = insert(tables.claim, _CLAIM, is_sealed=True)
_PUT_ACCUMULATORS = put(tables.accumulator, set=_AMOUNTS, by=_ACCUMULATOR)
_INSERT_PRINTS = insert(tables.print_ack, ("entry_no", "copy", "is_printed", "recorded_time_ms"))
# For `GroupWriter.append_later`.
NOTE_STAGES = insert(
    tables.request_stage,
    ("institution_no", "terminal_no", "msgid", "recorded_time_ms", "type", "code", "stages",
     "trace"),
    ignore_existing=True,
)  # fmt: skip
NOTE_FELT = insert(
    tables.request_felt,
    ("institution_no", "terminal_no", "msgid", "recorded_time_ms", "type", "code", "took_us",
     "sends", "stages"),
    ignore_existing=True,
)  # fmt: skip

_INSURANCE_STATES = {int(state): state for state in InsuranceState}
_ENCODER = msgpack.Encoder()


class ClaimsParticipant:
    """What claims read and write within a commit group."""

    tombstone_code: int = ResponseCode.TOMBSTONED

    def find(
        self, needs: Sequence[Needs], requests: Mapping[RequestKey, StoredRequest]
    ) -> Script[tuple[Book, set[int]]]:
        """Find the originals with their persons."""
        book = Book()
        originals = {need.claim_no for need in needs if need.claim_no}
        for need in needs:
            stored = requests.get(need.original) if need.original is not None else None
            if stored is not None and stored.type == MessageType.SETTLE and stored.entry_no:
                originals.add(stored.entry_no)
        persons: set[int] = set()
        if originals:
            book.claims = yield from _read_claims(originals)
            for claim in book.claims.values():
                persons.add(claim.presented.person_no)
                if claim.detail.payer_person_no:
                    persons.add(claim.detail.payer_person_no)
        visits = _visits_of(book, needs)
        if visits:
            persons |= yield from read_persons_of(visits)
        return book, persons

    def lock(
        self, book: Book, needs: Sequence[Needs], persons: Sequence[int]
    ) -> Script[frozenset[int]]:
        """Lock the persons' rows and those of who may aid them, ascending, and read them."""
        payers, states = yield at_once(
            [_FIND_PAYERS(_keys(_treated(book, needs))), _LOCK_PERSONS(_keys(persons))]
        )
        _take_payers(book, payers)
        for number, *state in states:
            book.persons[number] = PersonState(*state)
        return frozenset(book.persons).union(persons)

    def read(self, book: Book, needs: Sequence[Needs]) -> Script[None]:
        """Read all else that the decisions look at."""
        accumulators = {(need.person_no, year) for need in needs for year in need.years}
        yield from _read_conditions(book, needs, accumulators)
        visits = _visits_of(book, needs)
        stays_of = {need.stays_of for need in needs if need.stays_of}
        if visits or stays_of:
            yield from read_visits(book.visits, visits, stays_of)
        first_days: dict[int, int] = {}
        for need in needs:
            if need.history_from:
                known = first_days.get(need.person_no, need.history_from)
                first_days[need.person_no] = min(known, need.history_from)
        if first_days:
            book.history = yield from read_history(first_days)
        yield from _read_accumulators(book, needs, accumulators)
        originals = _keys(book.claims)
        if originals:
            for undone, undoing in (yield _FIND_UNDOING(originals)):
                book.undone[undone] = undoing
            for number, _, is_printed in (yield _FIND_PRINTS(originals)):
                reports, copies = book.printed.get(number, (0, 0))
                book.printed[number] = (reports + 1, copies + is_printed)

    def apply(self, book: Book, decided: Decided[Record]) -> None:
        """Let the group's later decisions see this one."""
        claim, printed = decided.record.claim, decided.record.printed
        if claim is not None:
            assert decided.posted is not None, "a claim has an entry"
            number = decided.posted.entry_no
            book.claims[number] = claim
            note_in_history(book.history, number, claim, decided.when.recorded_time_ms)
            if claim.undoes is not None:
                book.undone[claim.undoes] = number
            for moved in claim.detail.moved:
                key = claim.accumulator_key(moved.scheme)
                used = book.accumulators.get(key, NOTHING_USED)
                book.accumulators[key] = added(used, moved.amounts)
        if printed is not None:
            reports, copies = book.printed.get(printed.claim_no, (0, 0))
            book.printed[printed.claim_no] = (reports + 1, copies + printed.is_printed)
        if decided.record.visit is not None:
            book.visits.take(_note(decided, decided.record.visit).noted)

    def write(self, book: Book, decided: Collection[Decided[Record]]) -> list[Query]:
        """Return what is to be written: claims, accumulators, printers' reports, the audit."""
        claims: list[Row] = []
        prints: dict[tuple[int, int], Row] = {}
        audit: list[Row] = []
        moved: set[AccumulatorKey] = set()
        reports: dict[int, int] = {}
        for one in decided:
            record = one.record
            if record.claim is not None and one.posted is not None:
                claims.append(_claim_row(one.posted.entry_no, record.claim, one.when))
                claim = record.claim
                moved.update(claim.accumulator_key(one.scheme) for one in claim.detail.moved)
            if record.printed is not None:
                number = record.printed.claim_no
                reports[number] = reports.get(number, 0) + 1
            audit.append(_audit_row(one))
        # The book holds the count after the group: number this group's reports up to it.
        for one in decided:
            printed = one.record.printed
            if printed is not None:
                copy = book.printed[printed.claim_no][0] - reports[printed.claim_no] + 1
                reports[printed.claim_no] -= 1
                prints[printed.claim_no, copy] = (
                    printed.claim_no, copy, int(printed.is_printed), one.when.recorded_time_ms,
                )  # fmt: skip
        queries = [INSERT_AUDIT(audit)]
        if claims:
            used = [(*key, *_amounts(book.accumulators[key])) for key in sorted(moved)]
            queries += [_INSERT_CLAIMS(claims), _PUT_ACCUMULATORS(used)]
        if prints:
            queries.append(_INSERT_PRINTS(list(prints.values())))
        notes = [_note(one, one.record.visit) for one in decided if one.record.visit is not None]
        if notes:
            queries += visit_queries(book.visits, notes)
        return queries


def claims_participants() -> ClaimsParticipant:
    """Return what the writer of a centre needs beside the ledger."""
    return ClaimsParticipant()


async def preview(
    database: Database,
    *,
    terminal_no: int,
    request: messages.Preview,
    presented: Presented,
    rules: Rules,
    when: GroupTime,
) -> messages.Previewed | ClaimsAnswer:
    """Divide and check a bill as SETTLE would on the day that `when` says; commit nothing."""
    needs = needs_of(
        request.bill, presented, rules, terminal_no=terminal_no, today=when.business_date
    )
    view = await database.fetch_script(read_view(needs, when))
    done = adjudicate_bill(
        view,
        request.bill,
        presented,
        rules,
        terminal_no=terminal_no,
        explain=request.wants_explanation,
    )
    if isinstance(done, Answer):
        return done
    asked = ToCheck(done.bill, presented, terminal_no, done.facts.case, done.adjudication.split)
    passed = check_bill(view, asked, rules, attempt=None, override=request.override)
    if isinstance(passed, Answer):
        return passed
    return previewed(done, presented, passed.warnings)


async def accumulators(
    database: Database, persons: Iterable[int], year: int
) -> dict[int, list[tuple[AccumulatorKey, Accumulated]]]:
    """Return what persons have used in a year, by person."""
    wanted = sorted(set(persons))
    found: dict[int, list[tuple[AccumulatorKey, Accumulated]]] = {person: [] for person in wanted}
    for row in await database.fetch(_FIND_ACCUMULATORS([(person, year) for person in wanted])):
        key = AccumulatorKey(*row[:4])
        found[key.person_no].append((key, Accumulated(*row[4:])))
    for one in found.values():
        one.sort(key=lambda pair: pair[0])
    return found


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """What is known of an attempt; `body` is the original reply's, empty when there is none."""

    state: StatusState
    type: int = 0
    code: int = 0
    entry_no: int | None = None
    body: bytes = b""


async def find_status(
    database: Database, key: RequestKey, *, is_in_progress: bool = False
) -> StatusRecord:
    """Say what became of an attempt; the writer knows whether it `is_in_progress`."""
    stored = (await database.fetch_script(read_requests([key]))).get(key)
    if stored is None:
        return StatusRecord(StatusState.IN_PROGRESS if is_in_progress else StatusState.NOT_SEEN)
    if stored.type == TOMBSTONE_TYPE:
        return StatusRecord(StatusState.TOMBSTONED, code=stored.code)
    state = StatusState.SETTLED if stored.code == ResponseCode.APPROVED else StatusState.REFUSED
    if stored.type == MessageType.SETTLE and stored.entry_no is not None:
        undoing = await database.fetch(_FIND_UNDOING([(stored.entry_no,)]))
        state = StatusState.UNDONE if undoing else state
    body = b"" if is_expired(stored.body) else stored.body
    return StatusRecord(state, stored.type, stored.code, stored.entry_no, body)


def stages_row(
    key: RequestKey,
    *,
    time_ms: int,
    message_type: int,
    code: int,
    stages: Sequence[tuple[str, int]],
    trace: bytes,
) -> Row:
    """Return the row of `NOTE_STAGES` for a finished request; stages in microseconds."""
    return (
        key.institution_no, key.terminal_no, key.msgid, time_ms, message_type, code,
        _ENCODER.encode(stages), trace,
    )  # fmt: skip


def felt_row(
    key: RequestKey,
    *,
    time_ms: int,
    message_type: int,
    code: int,
    took_us: int,
    sends: int,
    stages: Sequence[tuple[str, int]],
) -> Row:
    """Return the row of `NOTE_FELT` for what a terminal felt; stages in microseconds."""
    return (
        key.institution_no, key.terminal_no, key.msgid, time_ms, message_type, code, took_us,
        sends, _ENCODER.encode(stages),
    )  # fmt: skip


def read_view(needs: Needs, when: GroupTime) -> Script[GroupView[Book]]:
    """Read what a decision would look at, without a lock: for one that commits nothing."""
    participant = ClaimsParticipant()
    book, found = yield from participant.find([needs], {})
    _take_payers(book, (yield _FIND_PAYERS(_keys(_treated(book, [needs])))))
    payers = {payer.person_no for payer in book.payers.values()}
    persons = sorted(found | payers | {needs.person_no})
    (rows, balances), _ = yield from along(
        [_FIND_PERSONS(_keys(persons)), find_balances(persons)], participant.read(book, [needs])
    )
    for number, *state in rows:
        book.persons[number] = PersonState(*state)
    return GroupView(
        when=when,
        requests={},
        balances=balances_of(balances),
        locked=frozenset(persons),
        book=book,
    )


def _read_conditions(
    book: Book, needs: Sequence[Needs], accumulators: set[tuple[int, int]]
) -> Script[None]:
    """Read cards, places, insurances, filings and accumulators as they are now."""
    filings_of = {need.filings_of for need in needs if need.filings_of}
    cards, places, insurances, used, filings = yield at_once([
        _FIND_CARDS(_keys(need.card_no for need in needs)),
        _FIND_PLACES(_keys(need.terminal_no for need in needs)),
        _FIND_INSURANCES(_keys(need.person_no for need in needs)),
        _FIND_ACCUMULATORS(sorted(accumulators)),
        _FIND_FILINGS(_keys(filings_of)),
    ])  # fmt: skip
    for number, *card in cards:
        book.cards[number] = CardState(*card)
    for number, *columns in places:
        place = book.places.get(number) or Place(*columns[:_PLACE_SIZE])
        if columns[_PLACE_SIZE] is not None:
            contracts = (*place.contracts, Contract(*columns[_PLACE_SIZE:]))
            place = place._replace(contracts=tuple(sorted(contracts)))
        book.places[number] = place
    for person_no, insutype, begins, ends, state, person_type, region in insurances:
        insurance = Insurance(
            person_no, insutype, begins, ends, _INSURANCE_STATES[state], person_type, region
        )
        book.insurances.setdefault(person_no, []).append(insurance)
    _take_accumulators(book, used)
    book.filings = {person: [] for person in filings_of}
    for person_no, kind, *rest in filings:
        book.filings[person_no].append(Filing(person_no, FilingKind(kind), *rest))


def _treated(book: Book, needs: Sequence[Needs]) -> set[int]:
    """Return who is treated: whose account may be aided."""
    treated = {need.person_no for need in needs if need.person_no}
    for need in needs:
        if need.settles_anew and need.claim_no in book.claims:
            treated.add(book.claims[need.claim_no].presented.person_no)
    return treated


def _take_payers(book: Book, rows: Iterable[Row]) -> None:
    for row in rows:
        book.payers[row[0]] = Payer(*row[1:])


def _visits_of(book: Book, needs: Sequence[Needs]) -> set[int]:
    """Return the visits that are asked about, or that a claim to be undone has settled."""
    visits = {need.visit_no for need in needs if need.visit_no}
    visits.update(claim.detail.visit_no for claim in book.claims.values() if claim.detail.visit_no)
    return visits


def _note(decided: Decided[Record], noted: Noted) -> Note:
    attempt, posted = decided.record.attempt, decided.posted
    return Note(
        noted if posted is None else noted.numbered(posted.entry_no),
        decided.when.recorded_time_ms,
        attempt.msgid,
        attempt.operator_no,
    )


def _read_accumulators(
    book: Book, needs: Sequence[Needs], known: set[tuple[int, int]]
) -> Script[None]:
    """Read the accumulators that visits and claims ask for, beside those that are known."""
    wanted: set[tuple[int, int]] = set()
    for need in needs:
        # A visit may be settled by the rules of a day in an earlier year than today.
        visit = book.visits.visits.get(need.visit_no) if need.years else None
        if visit is not None:
            years = range(visit.begins // 10_000, max(need.years) + 1)
            wanted.update((visit.person_no, year) for year in years)
    wanted |= {(claim.presented.person_no, claim.detail.year) for claim in book.claims.values()}
    if wanted - known:
        _take_accumulators(book, (yield _FIND_ACCUMULATORS(sorted(wanted - known))))


def _take_accumulators(book: Book, rows: Iterable[Row]) -> None:
    for row in rows:
        book.accumulators[AccumulatorKey(*row[:4])] = Accumulated(*row[4:])


def _read_claims(numbers: Iterable[int]) -> Script[dict[int, Claim]]:
    keys = _keys(numbers)
    rows = yield _FIND_CLAIMS(keys)
    drafts = yield from read_drafts(row[0] for row in rows)
    return {row[0]: _claim(row, drafts[row[0]]) for row in rows}


def _claim(row: Row, draft: Draft) -> Claim:
    (
        _, person_no, institution_no, terminal_no, msgid, operator_no, message_type, insutype,
        med_type, care_date, undoes, policy, card_no, proof, exception, list_version, detail,
    ) = row  # fmt: skip
    return Claim(
        # The request's hash and deadline ended with it.
        attempt=Attempt(institution_no, terminal_no, operator_no, msgid, b"", 0, list_version),
        presented=Presented(person_no, card_no, proof, exception),
        type=message_type,
        insutype=insutype,
        med_type=med_type,
        care_date=care_date,
        policy=policy,
        undoes=undoes,
        detail=decode_detail(detail),
        draft=draft,
    )


def _claim_row(number: int, claim: Claim, when: GroupTime) -> Row:
    attempt, presented, split = claim.attempt, claim.presented, claim.detail.split
    return (
        number, presented.person_no, attempt.institution_no, attempt.terminal_no, attempt.msgid,
        attempt.operator_no, claim.type, claim.insutype, claim.med_type, when.business_date,
        claim.care_date, claim.undoes, split.total_fen, split.fund_pay_fen,
        split.account_pay_fen, split.mutual_aid_fen, split.cash_fen, claim.policy,
        presented.card_no, presented.proof, presented.exception,
        min(attempt.list_version, _LIST_VERSION_MAX),
        encode_detail(claim.detail),
    )  # fmt: skip


def _audit_row(decided: Decided[Record]) -> Row:
    record, posted = decided.record, decided.posted
    subject = record.subject or ("" if posted is None else str(posted.entry_no))
    return audit_row(
        time_ms=decided.when.recorded_time_ms,
        institution_no=record.attempt.institution_no,
        terminal_no=record.attempt.terminal_no,
        operator_no=record.attempt.operator_no,
        action=record.action,
        subject=subject,
        detail=record.reason,
    )


def _amounts(used: Accumulated) -> tuple[int, int, int, int, int]:
    return (
        used.deductible_fen, used.in_scope_fen, used.pool_fen, used.large_amount_fen,
        used.admissions,
    )  # fmt: skip


def _keys(numbers: Iterable[int]) -> list[Row]:
    return [(number,) for number in sorted({number for number in numbers if number})]
