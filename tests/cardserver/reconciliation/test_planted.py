"""Random days with random losses: what is found is exactly what was planted, on both databases."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from cardserver.claims import tables as claims
from cardserver.reconciliation.comparison import Key, key_of, totals_of
from cardserver.reconciliation.day_store import Scope
from cardserver.reconciliation.reconciling import Page, reconcile, reconcile_page
from cardserver.reconciliation.record_store import find_run
from cardserver.reconciliation.resolving_store import Wanted, list_differences
from cardserver.reconciliation.values import Origin, Source
from cardserver.registry import tables as registry
from ledger import tables as ledger
from ledger.bulk_store import Row, insert
from ledger.database_store import Database
from protocol.terminal.messages import (
    DifferenceKind,
    ReconcileOutcome,
    ReconcileRow,
    RowState,
)
from tests.databases import empty

CODE = "H11019900001"
DAYS = (20261119, 20261120, 20261121)
TERMINALS = ("T1", "t1", "Ä2")  # whose order is that of their bytes
AMOUNT = 1_000

_ENTRIES = insert(ledger.entry, [one.name for one in ledger.entry.columns])
_CLAIMS = insert(claims.claim, [one.name for one in claims.claim.columns])
_numbers = count(1)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, str, int, int, int | None]]:
    """Give events: day, terminal, clearing type, fen, and which earlier event each undoes."""
    events: list[tuple[int, str, int, int, int | None]] = []
    undone: set[int] = set()
    day = 0
    for _ in range(draw(st.integers(0, 14))):
        day = min(len(DAYS) - 1, day + draw(st.sampled_from([0, 0, 0, 1])))
        candidates = [
            index for index, one in enumerate(events) if one[4] is None and index not in undone
        ]
        terminal = draw(st.sampled_from(TERMINALS))
        if candidates and draw(st.booleans()):
            of = draw(st.sampled_from(candidates))
            undone.add(of)
            events.append((day, terminal, events[of][2], -events[of][3], of))
        else:
            kind = draw(st.sampled_from([11, 21, 41]))
            events.append((day, terminal, kind, draw(st.integers(0, 3)) * AMOUNT, None))
    return events


class Books:
    """One institution's claims in a database, and the same as the institution saw them."""

    def __init__(
        self, database: Database, events: list[tuple[int, str, int, int, int | None]]
    ) -> None:
        self.database = database
        self.number = next(_numbers)
        self.institution_no = self.number
        self.events = events
        self.undone = {event[4] for event in events if event[4] is not None}
        self.base = self.number << 20

    async def write(self) -> None:
        """Write it as the centre has it."""
        number = self.number
        await self.database.execute(
            insert(registry.institution, ["institution_no", "code", "name", "kind", "level",
                                          "state", "contract_begins", "contract_ends"])(
                [(number, f"X{number:011d}", "医院", 1, 3, 1, 20200101, 99991231)]),
            insert(registry.terminal, ["terminal_no", "institution_no", "code",
                                       "certificate_sha256", "state"])(
                [(number * 10 + at, number, code, bytes(32), 1)
                 for at, code in enumerate(TERMINALS)]),
        )  # fmt: skip
        entries: list[Row] = []
        rows: list[Row] = []
        for index, (day, terminal, kind, fen, of) in enumerate(self.events):
            entry_no = self.base + index
            undoes = None if of is None else self.base + of
            date = DAYS[day]
            entries.append((entry_no, 1, 2, date // 100, date, number, kind, undoes, 0))
            values = {
                "entry_no": entry_no, "person_no": 1, "institution_no": number,
                "terminal_no": number * 10 + TERMINALS.index(terminal),
                "msgid": self.row(index).msgid, "operator_no": 1, "type": 21, "insutype": "310",
                "med_type": "11", "business_date": date, "care_date": date, "undoes": undoes,
                "total_fen": fen, "fund_pay_fen": fen, "account_pay_fen": 0, "mutual_aid_fen": 0,
                "cash_fen": 0, "policy": "", "card_no": 0, "proof": 0, "exception": "",
                "list_version": 0, "detail": b"",
            }  # fmt: skip
            rows.append(tuple(values.get(one.name, 0) for one in claims.claim.columns))
        if rows:
            await self.database.execute(_ENTRIES(entries), _CLAIMS(rows))

    def row(self, index: int) -> ReconcileRow:
        """An event's row."""
        _, terminal, kind, fen, of = self.events[index]
        # Two rows may have a msgid in common: of two terminals, or of one refund.
        before = self.events[index - 1]
        is_shared = index % 2 == 1 and (before[1], before[4] is None) != (terminal, of is None)
        return ReconcileRow(
            f"X{self.number:011d}20261121100000{index - is_shared:04d}", terminal, of is not None,
            str(self.base + index), kind, fen, fen, 0, 0,
            RowState.UNDONE if index in self.undone else RowState.STANDS,
        )  # fmt: skip

    def rows(self, day: int) -> list[ReconcileRow]:
        """A day's rows."""
        found = [self.row(at) for at, event in enumerate(self.events) if event[0] == day]
        return sorted(found, key=key_of)


async def differences_of(
    books: Books, day: int, rows: list[ReconcileRow], *, page_size: int, now_ms: int
) -> tuple[ReconcileOutcome, list[tuple[DifferenceKind, Key]]]:
    scope = Scope(books.institution_no, 0, DAYS[day])
    origin = Origin(Source.MESSAGE, 1, now_ms)
    told = await reconcile(books.database, scope, totals_of(rows), origin, is_provisional=False)
    run = await find_run(books.database, int(told.reconcile_id))
    assert run is not None
    found: list[tuple[DifferenceKind, Key]] = []
    after: Key | None = None
    while True:
        left = [row for row in rows if after is None or key_of(row) > after]
        page = Page(after, left[:page_size], len(left) <= page_size)
        answer = await reconcile_page(books.database, run, page, now_ms=now_ms)
        for one in answer.differences:
            row = one.centre or one.institution
            assert row is not None
            found.append((one.kind, key_of(row)))
        if answer.next_after is None:
            return told.outcome, found
        after = key_of(answer.next_after)


@st.composite
def planted(
    draw: st.DrawFn, books: Books, day: int
) -> tuple[list[ReconcileRow], list[tuple[DifferenceKind, Key]]]:
    """Plant differences into a day: the institution's rows, and what is to be found."""
    rows: list[ReconcileRow] = []
    expected: list[tuple[DifferenceKind, Key]] = []
    for row in books.rows(day):
        how = draw(st.sampled_from(["as it is", "as it is", "lost", "amount", "state", "number"]))
        key = key_of(row)
        match how:
            case "lost":
                expected.append((DifferenceKind.ONLY_CENTRE, key))
                continue
            case "amount":
                rows.append(
                    structs.replace(row, cash_fen=row.cash_fen + draw(st.sampled_from([-1, 1])))
                )
                expected.append((DifferenceKind.AMOUNTS_DIFFER, key))
                continue
            case "number":
                rows.append(structs.replace(row, setl_id="1"))
                expected.append((DifferenceKind.AMOUNTS_DIFFER, key))
                continue
            case "state":
                other = RowState.STANDS if row.state is RowState.UNDONE else RowState.UNDONE
                rows.append(structs.replace(row, state=other))
                expected.append((DifferenceKind.STATE_DIFFERS, key))
                continue
        rows.append(row)
    for index in range(draw(st.integers(0, 2))):
        stray = ReconcileRow(
            f"X{books.number:011d}2026112109{index:02d}000000", draw(st.sampled_from(TERMINALS)),
            bool(index), "", 11, AMOUNT, AMOUNT, 0, 0, RowState.STANDS,
        )  # fmt: skip
        rows.append(stray)
        expected.append((DifferenceKind.ONLY_INSTITUTION, key_of(stray)))
    return sorted(rows, key=key_of), sorted(expected, key=lambda one: one[1])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database that all examples share: each has an institution of its own."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("migrated_postgres_url")
        yield url
        asyncio.run(empty(url))
        return
    path = tmp_path_factory.mktemp("planted") / "planted.db"
    path.write_bytes(request.getfixturevalue("sqlite_template"))
    yield f"sqlite:///{path}"


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_what_is_found_is_what_was_planted(place: str, data: st.DataObject) -> None:
    asyncio.run(one_example(place, data))


async def one_example(url: str, data: st.DataObject) -> None:
    database = Database.open(url)
    await database.start()
    try:
        books = Books(database, data.draw(histories()))
        await books.write()
        day = data.draw(st.integers(0, len(DAYS) - 1))
        size = data.draw(st.sampled_from([1, 2, 3, 500]))
        for step in range(data.draw(st.integers(1, 3))):
            rows, expected = data.draw(planted(books, day))
            outcome, found = await differences_of(books, day, rows, page_size=size, now_ms=step + 1)
            assert found == expected
            kinds = {kind for kind, _ in expected}
            if kinds <= {DifferenceKind.ONLY_CENTRE}:
                equal = {ReconcileOutcome.EQUAL} if not kinds else {ReconcileOutcome.CENTRE_MORE}
                assert outcome in equal
            kept = await list_differences(
                database, Wanted(institution_no=books.institution_no, day=DAYS[day])
            )
            open_keys = sorted(
                (one.difference.kind, (one.difference.msgid, one.difference.terminal,
                                       one.difference.is_refund))
                for one in kept
            )  # fmt: skip
            assert open_keys == sorted(expected)
        rows = books.rows(day)
        assert await differences_of(books, day, rows, page_size=size, now_ms=9) == (0, [])
        kept = await list_differences(database, Wanted(institution_no=books.institution_no))
        assert kept == []
    finally:
        await database.close()
