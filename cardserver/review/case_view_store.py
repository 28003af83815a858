"""What reviewers see: lists of cases, and one case with all that it takes to judge it.

Persons are masked; who needs more asks the registry, which notes it. Not here: what an institution
sees of its cases (`institution_view_store.py`).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from cardserver.benefits.policy import PolicyBook
from cardserver.benefits.values import ExplanationStep, LineSplit, Split
from cardserver.claims import tables as claims
from cardserver.claims.settled_store import Archive, retell_claim
from cardserver.claims.values import ClaimDetail
from cardserver.registry import tables as registry
from cardserver.registry.masking import masked_name, masked_number
from cardserver.registry.registry_store import Registry
from cardserver.review.cases_store import (
    CASE_COLUMNS,
    Appeal,
    StepDone,
    case_of,
    read_appeal,
    read_cases,
    read_cuts,
    read_steps,
    read_surroundings,
)
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.rules_document import Article
from cardserver.review.values import ROLE_AT, Case, Cut, State
from ledger.bulk_store import Query, plain, select
from ledger.calendar import date_of, day_number
from ledger.database_store import Database

NEAR_DAYS = 30
NEAR_MAX = 60
LIST_MAX = 500
_NO_ONE = 0

_OPERATORS = select(registry.operator, ("code", "name", "department"), by=("operator_no",))
_INSTITUTIONS = select(registry.institution, ("code", "name", "kind", "level"), ("institution_no",))
_TERMINALS = select(registry.terminal, ("code",), by=("terminal_no",))
_CLAIM = select(
    claims.claim,
    ("terminal_no", "msgid", "operator_no", "insutype", "med_type", "care_date", "card_no", "proof",
     "exception", "list_version", "account_pay_fen", "cash_fen"),
    by=("entry_no",),
)  # fmt: skip
_NEAR_TEXT = (
    "SELECT c.entry_no, c.business_date, c.care_date, c.institution_no, c.med_type, c.total_fen,"
    " c.fund_pay_fen, c.type, c.undoes FROM claim c WHERE c.person_no = {person}"
    " AND c.business_date BETWEEN {first} AND {last} ORDER BY c.business_date, c.entry_no LIMIT 60"
)
_NEAR = plain(
    "a person's claims near a day",
    postgresql=_NEAR_TEXT.format(person="$1::bigint", first="$2::integer", last="$3::integer"),
    sqlite=_NEAR_TEXT.format(person="?1", first="?2", last="?3"),
)
_LIST_TEXT = (
    f"SELECT {', '.join(CASE_COLUMNS)} FROM review_case WHERE month = {{p1}}"  # noqa: S608
    " AND ({p2} = 0 OR state = {p2}) AND ({p3} = 0 OR institution_no = {p3})"
    " AND ({p4} = 0 OR holder_no = {p4}) AND case_no > {p5} ORDER BY case_no LIMIT {p6}"
)
_PLACES = tuple(f"p{number}" for number in range(1, 7))
_LIST = plain(
    "list cases",
    postgresql=_LIST_TEXT.format(**{place: f"${place[1:]}::bigint" for place in _PLACES}),
    sqlite=_LIST_TEXT.format(**{place: f"?{place[1:]}" for place in _PLACES}),
)
_STATES_TEXT = (
    "SELECT state, count(*), sum(fund_pay_fen), sum(deduction_fen) FROM review_case"
    " WHERE month = {month} GROUP BY state ORDER BY state"
)
_STATES = plain(
    "count cases",
    postgresql=_STATES_TEXT.format(month="$1::integer"),
    sqlite=_STATES_TEXT.format(month="?"),
)


class Wanted(Struct, frozen=True):
    """Which cases of a month; 0 and None are all.

    Attributes:
        holder_no: Those that this operator has taken.
        after: Those with a higher number.
        count_max: So many at most.
    """

    month: int
    state: State | None = None
    institution_no: int = 0
    holder_no: int = 0
    after: int = 0
    count_max: int = LIST_MAX


class StateCount(NamedTuple):
    """How many cases of a month stand so."""

    state: State
    cases: int
    fund_pay_fen: int
    deduction_fen: int


class PlaceSeen(Struct, frozen=True):
    """The institution."""

    code: str
    name: str
    kind: int
    level: int


class PersonSeen(Struct, frozen=True):
    """The patient, masked."""

    psn_no: str
    name: str
    id_number: str
    sex: int
    birth_year: int


class LineSeen(Struct, frozen=True):
    """A line of the bill.

    Attributes:
        line: From 1.
        fund_share_fen: What of the fund's payment falls on it, by what it had in scope; the lines'
            shares add up to what the fund paid.
    """

    line: int
    item: str
    name: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int
    divided: LineSplit
    fund_share_fen: int


class ClaimNear(Struct, frozen=True):
    """Another claim of the patient, some days before or after.

    Attributes:
        undoes: The settlement that it undid; 0 none.
    """

    claim_no: int
    business_date: int
    care_date: int
    institution: str
    med_type: str
    total_fen: int
    fund_pay_fen: int
    undoes: int


class StepSeen(Struct, frozen=True):
    """A step, who did it, and what it took.

    Attributes:
        operator: Their number at the fund or institution; empty for the centre itself.
    """

    kind: str
    operator: str
    department: str
    recorded_time_ms: int
    taken_time_ms: int
    verdict: str
    deduction_fen: int
    entry_no: int
    note: str
    cuts: tuple[Cut, ...]


class CaseSeen(Struct, frozen=True):
    """One case, and what it takes to judge it.

    Attributes:
        holder: Who has it now; empty for nobody.
        due: The role whose turn it is; empty where it is nobody's.
        terminal: Where it was settled.
        cashier: The institution's operator who settled it.
        list_version: Of the revocation list that the terminal held.
        explained: Whether it was decided again and came to the same (an `ExplainResult`).
        near: The patient's other claims within thirty days.
        articles: What a deduction may name.
    """

    case: Case
    state: str
    holder: str
    due: str
    institution: PlaceSeen
    terminal: str
    cashier: str
    msgid: str
    person: PersonSeen
    insutype: str
    med_type: str
    care_date: int
    exception: str
    proof: int
    list_version: int
    policy: str
    scheme: str
    replaces: int
    undone_by: int
    split: Split
    lines: tuple[LineSeen, ...]
    warned: tuple[str, ...]
    overridden: tuple[str, ...]
    override: str
    explained: str
    explanation: tuple[ExplanationStep, ...]
    near: tuple[ClaimNear, ...]
    steps: tuple[StepSeen, ...]
    appeal: Appeal | None
    articles: tuple[Article, ...]


async def list_cases(database: Database, wanted: Wanted) -> list[Case]:
    """List cases of a month by number."""
    rows = await database.fetch(_list_query(wanted))
    return [case_of(row) for row in rows]


async def count_states(database: Database, month: int) -> list[StateCount]:
    """Tell how many cases of a month stand how."""
    rows = await database.fetch(_STATES([(month,)]))
    return [
        StateCount(State(state), cases, int(fund_fen), int(deduction_fen))
        for state, cases, fund_fen, deduction_fen in rows
    ]


async def operator_codes(database: Database, numbers: Iterable[int]) -> dict[int, str]:
    """Return operators' codes by our number."""
    wanted = sorted(set(numbers) - {_NO_ONE})
    rows = await database.fetch(_OPERATORS([(number,) for number in wanted]))
    return {row[0]: row[1] for row in rows}


async def institution_codes(database: Database, numbers: Iterable[int]) -> dict[int, str]:
    """Return institutions' codes by our number."""
    rows = await database.fetch(_INSTITUTIONS([(number,) for number in sorted(set(numbers))]))
    return {row[0]: row[1] for row in rows}


async def see_case(database: Database, desk: ReviewDesk, case_no: int) -> CaseSeen | None:
    """Gather what a reviewer needs to judge a case; None where there is none of this number."""
    case = (await database.fetch_script(read_cases([case_no]))).get(case_no)
    if case is None:
        return None
    retold = await retell_claim(database, Archive(database), PolicyBook(()), case.claim_no)
    assert retold is not None, "claims stay"
    claim, again = retold
    around = await database.fetch_script(read_surroundings(case))
    steps = await database.fetch_script(read_steps(case_no))
    cuts = await database.fetch_script(read_cuts(case_no))
    rows = await database.fetch(_CLAIM([(case.claim_no,)]))
    _, terminal_no, msgid, cashier_no, *_ = rows[0]
    codes = await operator_codes(
        database, [case.holder_no, cashier_no, *(step.operator_no for step in steps)]
    )
    institutions = await database.fetch(_INSTITUTIONS([(case.institution_no,)]))
    terminals = await database.fetch(_TERMINALS([(terminal_no,)]))
    rules = await desk.rules_of(case.month)
    checked = claim.detail.checked
    steps_told = () if again.adjudication is None else again.adjudication.explanation
    return CaseSeen(
        case=case,
        state=case.state.name.lower(),
        holder=codes.get(case.holder_no, ""),
        due=ROLE_AT[case.state].value if case.state in ROLE_AT else "",
        institution=PlaceSeen(*institutions[0][1:]),
        terminal=terminals[0][1] if terminals else "",
        cashier=codes.get(cashier_no, str(cashier_no)),
        msgid=msgid,
        person=await _person(database, case.person_no),
        insutype=claim.insutype,
        med_type=claim.med_type,
        care_date=claim.care_date,
        exception=claim.presented.exception,
        proof=claim.presented.proof,
        list_version=claim.attempt.list_version,
        policy=claim.policy,
        scheme=claim.detail.scheme,
        replaces=claim.detail.replaces,
        undone_by=around.undone_by,
        split=claim.detail.split,
        lines=_lines(claim.detail),
        warned=() if checked is None else checked.warned,
        overridden=() if checked is None else checked.overridden,
        override="" if checked is None else checked.override,
        explained=again.result.name.lower(),
        explanation=steps_told,
        near=await _near(database, case),
        steps=tuple(_step_seen(step, codes, cuts.get(step.step, ())) for step in steps),
        appeal=await database.fetch_script(read_appeal(case_no)),
        articles=rules.document.articles,
    )


def fund_shares(fund_pay_fen: int, in_scope_fen: Sequence[int]) -> tuple[int, ...]:
    """Divide what the fund paid over lines by what they had in scope, to the fen.

    Each takes up to its part of all that came before, so that the last takes the remainder.
    """
    total_fen = sum(in_scope_fen)
    shares: list[int] = []
    seen_fen = given_fen = 0
    for scope_fen in in_scope_fen:
        seen_fen += scope_fen
        upto_fen = fund_pay_fen * seen_fen // total_fen if total_fen else 0
        shares.append(upto_fen - given_fen)
        given_fen = upto_fen
    return tuple(shares)


def _list_query(wanted: Wanted) -> Query:
    state = 0 if wanted.state is None else int(wanted.state)
    count_max = max(1, min(wanted.count_max, LIST_MAX))
    return _LIST([
        (wanted.month, state, wanted.institution_no, wanted.holder_no, wanted.after, count_max)
    ])  # fmt: skip


async def _person(database: Database, person_no: int) -> PersonSeen:
    person = await Registry(database).person(person_no)
    if person is None:  # merged into another since
        return PersonSeen(str(person_no), "", "", 9, 0)
    return PersonSeen(
        psn_no=str(person_no),
        name=masked_name(person.name),
        id_number=masked_number(person.id_number),
        sex=person.sex,
        birth_year=person.birth_date // 10_000,
    )


def _lines(detail: ClaimDetail) -> tuple[LineSeen, ...]:
    if detail.bill is None:
        return ()
    shares = fund_shares(
        detail.split.fund_pay_fen, [max(one.in_scope_fen, 0) for one in detail.line_splits]
    )
    return tuple(
        LineSeen(
            number, line.item, line.name, line.price_microyuan, line.quantity_e4, line.gross_fen,
            divided, share_fen,
        )
        for number, (line, divided, share_fen) in enumerate(
            zip(detail.bill.lines, detail.line_splits, shares, strict=True), 1
        )
    )  # fmt: skip


async def _near(database: Database, case: Case) -> tuple[ClaimNear, ...]:
    day = date_of(case.business_date)
    span = dt.timedelta(days=NEAR_DAYS)
    rows = await database.fetch(
        _NEAR([(case.person_no, day_number(day - span), day_number(day + span))])
    )
    codes = await institution_codes(database, [row[3] for row in rows])
    return tuple(
        ClaimNear(
            number, business_date, care_date, codes.get(institution_no, ""), med_type, total_fen,
            fund_fen, undoes or 0,
        )
        for number, business_date, care_date, institution_no, med_type, total_fen, fund_fen, _, (
            undoes
        ) in rows
        if number != case.claim_no
    )  # fmt: skip


def _step_seen(step: StepDone, codes: dict[int, str], cuts: tuple[Cut, ...]) -> StepSeen:
    return StepSeen(
        kind=step.kind.name.lower(),
        operator=codes.get(step.operator_no, str(step.operator_no or "")),
        department=step.department,
        recorded_time_ms=step.recorded_time_ms,
        taken_time_ms=step.taken_time_ms,
        verdict=step.verdict.name.lower(),
        deduction_fen=step.deduction_fen,
        entry_no=step.entry_no,
        note=step.note,
        cuts=cuts,
    )
