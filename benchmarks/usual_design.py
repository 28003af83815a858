"""The usual design, to compare with: FastAPI, SQLAlchemy's ORM, one transaction a settlement.

No benchmark itself: a server that `settle.py` starts as processes of their own. It takes the bill
as JSON over HTTPS, looks the attempt up, loads person (locked), card, place, insurances, account
and accumulators as objects, decides by the same rules as the centre, adds the same rows as objects
and takes what the fund pays from the fund's balance, which is one row that every settlement
updates. It keeps no totals and no seals, and asks for no sign-on, terminal's certificate or card
session.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, HTTPException
from msgspec.structs import asdict
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Integer, MetaData, Sequence, Table, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry

from benchmarks.ledger import TIMEZONE, make_rules
from cardserver.benefits.values import NOTHING_USED, Accumulated, added
from cardserver.claims import tables as claims
from cardserver.claims.claim_detail import encode_detail
from cardserver.claims.settlement import decide_settlement
from cardserver.claims.values import (
    AccumulatorKey,
    Attempt,
    Book,
    CardState,
    Claim,
    ClaimsView,
    PersonState,
    Place,
    Presented,
    Rules,
    request_key,
)
from cardserver.registry import tables as registry_tables
from cardserver.registry.values import Insurance, InsuranceState
from ledger import tables as ledger
from ledger.accounts import Account
from ledger.calendar import SystemClock, business_date
from ledger.decisions import GroupView, Post, Posted
from ledger.ledger_store import GroupTime
from protocol.terminal import messages

URL = "USUAL_DESIGN_URL"
"""The environment's name for the database: uvicorn's workers are given nothing else."""

CONNECTIONS = 20
_MONTH_DIVISOR = 100
metadata = MetaData()
fund = Table(
    "usual_fund",
    metadata,
    Column("fund", Integer, primary_key=True, autoincrement=False),
    Column("balance_fen", BigInteger, nullable=False),
)
numbers = Sequence("usual_numbers", metadata=metadata)


class _Object:
    """A row as the ORM has it."""

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)


_mappers = registry()


def _mapped(table: Table) -> type[_Object]:
    made = type(str(table.name).title(), (_Object,), {})
    _mappers.map_imperatively(made, table)
    return made


Person = _mapped(registry_tables.person)
Card = _mapped(registry_tables.card)
InsuranceRow = _mapped(registry_tables.insurance)
Terminal = _mapped(registry_tables.terminal)
Institution = _mapped(registry_tables.institution)
Request = _mapped(ledger.request)
Entry = _mapped(ledger.entry)
PostingRow = _mapped(ledger.posting)
Balance = _mapped(ledger.account_balance)
Accumulator = _mapped(claims.accumulator)
ClaimRow = _mapped(claims.claim)
Audit = _mapped(claims.audit)
Fund = _mapped(fund)


class BillLine(BaseModel):
    """A line, as JSON has it."""

    item: str
    name: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int


class Settlement(BaseModel):
    """What the counter asks."""

    terminal_no: int
    institution_no: int
    operator_no: int
    msgid: str
    person_no: int
    card_no: int
    insutype: str
    med_type: str
    total_fen: int
    uses_account: bool
    invoice: str
    lines: list[BillLine]
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int


@dataclass
class Means:
    """What requests share."""

    rules: Rules
    sessions: async_sessionmaker[AsyncSession]


means: dict[str, Means] = {}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Open the pool for as long as the process serves."""
    engine = create_async_engine(os.environ[URL], pool_size=CONNECTIONS, max_overflow=0)
    means["of process"] = Means(make_rules(), async_sessionmaker(engine, expire_on_commit=False))
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/settlements")
async def settle(asked: Settlement) -> dict[str, object]:
    """Settle a bill in a transaction of its own."""
    own = means["of process"]
    clock = SystemClock()
    now_ms = clock.now_ms()
    today = business_date(now_ms, TIMEZONE)
    when = GroupTime(today, today // _MONTH_DIVISOR, now_ms)
    attempt = Attempt(
        asked.institution_no, asked.terminal_no, asked.operator_no, asked.msgid, bytes(32), 0
    )
    bill = messages.Bill(
        asked.insutype, asked.med_type, asked.total_fen, asked.uses_account, asked.invoice,
        tuple(messages.Line(**line.model_dump()) for line in asked.lines),
    )  # fmt: skip
    body = messages.Settle(bill, asked.fund_pay_fen, asked.account_pay_fen, asked.cash_fen)
    presented = Presented(asked.person_no, asked.card_no, 2)
    async with own.sessions() as session, session.begin():
        key = request_key(asked.institution_no, asked.terminal_no, asked.msgid)
        stored = await session.get(Request, tuple(key))
        if stored is not None:
            raise HTTPException(409, "settled before")
        view, balance, rows = await _load(session, asked, when)
        decision = decide_settlement(view, attempt, body, presented, own.rules)
        if not isinstance(decision, Post) or decision.record.claim is None:
            raise HTTPException(422, f"refused: {decision.code}")
        number = await session.scalar(numbers.next_value())
        assert isinstance(number, int)
        posted = Posted(number, when)
        claim = decision.record.claim
        reply = decision.body_of(posted)
        _add(session, number, claim, when)
        _count(session, claim, rows)
        for posting in claim.draft.postings:
            if posting.account == Account.PERSONAL_ACCOUNT and balance is not None:
                balance.balance_fen -= posting.amount_fen  # type: ignore[attr-defined]
        session.add(
            Request(
                **key._asdict(), type=messages.MessageType.SETTLE, request_hash=bytes(32),
                code=decision.code, body=reply, entry_no=number, business_date=today,
                recorded_time_ms=now_ms, seal_no=0,
            )
        )  # fmt: skip
        await session.flush()
        # Last, so that it is locked for the shortest time.
        shared = await session.get(Fund, int(asked.insutype), with_for_update=True)
        shared.balance_fen -= claim.detail.split.fund_pay_fen  # type: ignore[union-attr]
    split = asdict(claim.detail.split)
    split["layers"] = {layer.field: layer.paid_fen for layer in claim.detail.split.layers}
    return {"setl_id": str(number), "settled_time_ms": now_ms, "split": split}


async def _load(
    session: AsyncSession, asked: Settlement, when: GroupTime
) -> tuple[ClaimsView, _Object | None, dict[str, _Object]]:
    person_no = asked.person_no
    person = await session.get(Person, person_no, with_for_update=True)
    card = await session.get(Card, asked.card_no)
    terminal = await session.get(Terminal, asked.terminal_no)
    institution = await session.get(Institution, asked.institution_no)
    insurances = await session.scalars(
        select(InsuranceRow).where(registry_tables.insurance.c.person_no == person_no)
    )
    balance = await session.get(Balance, (person_no, int(Account.PERSONAL_ACCOUNT)))
    year = when.business_date // 10_000
    used = list(
        await session.scalars(
            select(Accumulator).where(
                claims.accumulator.c.person_no == person_no, claims.accumulator.c.year == year
            )
        )
    )
    book = Book()
    if person is not None:
        book.persons[person_no] = PersonState(*_values(person, PersonState._fields))
    if card is not None:
        book.cards[asked.card_no] = CardState(*_values(card, CardState._fields))
    if terminal is not None and institution is not None:
        (terminal_state,) = _values(terminal, ("state",))
        names = ("institution_no", "kind", "level", "state", "contract_begins", "contract_ends",
                 "code")  # fmt: skip
        book.places[asked.terminal_no] = Place(terminal_state, *_values(institution, names))
    names = ("person_no", "insutype", "begins", "ends", "state", "person_type", "region")
    for row in insurances:
        held = _values(row, names)
        held[4] = InsuranceState(held[4])
        book.insurances.setdefault(person_no, []).append(Insurance(*held))
    rows: dict[str, _Object] = {}
    for row in used:
        insutype, scheme = _values(row, ("insutype", "scheme"))
        rows[scheme] = row
        key = AccumulatorKey(person_no, year, insutype, scheme)
        book.accumulators[key] = Accumulated(*_values(row, Accumulated.__struct_fields__))
    balances = {}
    if balance is not None:
        (held_fen,) = _values(balance, ("balance_fen",))
        balances[person_no, int(Account.PERSONAL_ACCOUNT)] = held_fen
    view: ClaimsView = GroupView(when, {}, balances, frozenset([person_no]), book)
    return view, balance, rows


def _values(row: _Object, names: tuple[str, ...]) -> list:  # type: ignore[type-arg]  # of any type
    return [getattr(row, name) for name in names]


def _add(session: AsyncSession, number: int, claim: Claim, when: GroupTime) -> None:
    attempt, presented, draft = claim.attempt, claim.presented, claim.draft
    split = claim.detail.split
    session.add_all([
        Entry(
            entry_no=number, person_no=draft.person_no, kind=draft.kind, period=when.period,
            business_date=when.business_date, institution_no=draft.institution_no,
            clearing_type=draft.clearing_type, undoes=None,
            recorded_time_ms=when.recorded_time_ms,
        ),
        *(
            PostingRow(
                entry_no=number, line=line, account=posting.account, owner=posting.owner,
                amount_fen=posting.amount_fen,
            )
            for line, posting in enumerate(draft.postings, 1)
        ),
        ClaimRow(
            entry_no=number, person_no=presented.person_no, institution_no=attempt.institution_no,
            terminal_no=attempt.terminal_no, msgid=attempt.msgid, operator_no=attempt.operator_no,
            type=claim.type, insutype=claim.insutype, med_type=claim.med_type,
            business_date=when.business_date, care_date=claim.care_date, undoes=None,
            total_fen=split.total_fen, fund_pay_fen=split.fund_pay_fen,
            account_pay_fen=split.account_pay_fen, mutual_aid_fen=split.mutual_aid_fen,
            cash_fen=split.cash_fen, policy=claim.policy, card_no=presented.card_no,
            proof=presented.proof, exception="", list_version=0,
            detail=encode_detail(claim.detail),
        ),
        Audit(
            seal_no=number, line=1, recorded_time_ms=when.recorded_time_ms,
            institution_no=attempt.institution_no, terminal_no=attempt.terminal_no,
            operator_no=attempt.operator_no, action="settle", subject=str(number), detail="",
        ),
    ])  # fmt: skip


def _count(session: AsyncSession, claim: Claim, rows: dict[str, _Object]) -> None:
    names = Accumulated.__struct_fields__
    for moved in claim.detail.moved:
        row = rows.get(moved.scheme)
        if row is None:
            key = claim.accumulator_key(moved.scheme)
            amounts = added(NOTHING_USED, moved.amounts)
            session.add(Accumulator(**key._asdict(), **asdict(amounts)))
        else:
            used = Accumulated(*_values(row, names))
            for name, value in asdict(added(used, moved.amounts)).items():
                setattr(row, name, value)
