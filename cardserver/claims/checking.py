"""The checks at the counter within PREVIEW and SETTLE: what is told to them, and what follows.

Not here: the rules and the trying of them (`cardserver/checks`), reading what a person bought
before (`history_store.py`).
"""

import datetime as dt
from collections.abc import Sequence

from msgspec import Struct, msgpack

from cardserver.benefits.values import Case, Split
from cardserver.catalogue.catalogue import Catalogue
from cardserver.checks.evaluation import evaluate
from cardserver.checks.lookback import NO_LOOKBACK, Asked, Lookback, lookback
from cardserver.checks.rule_book import RulesOfDay
from cardserver.checks.values import (
    FOREVER,
    UNCATALOGUED,
    CheckedLine,
    CheckedPlace,
    FactsOf,
    Finding,
    ItemFacts,
    Occasion,
    Patient,
    Situation,
)
from cardserver.claims.values import (
    Attempt,
    Checked,
    ClaimsAnswer,
    ClaimsView,
    Presented,
    Record,
    Rules,
)
from cardserver.registry.roles import Role
from cardserver.registry.values import InstitutionKind
from ledger.calendar import day_number
from ledger.decisions import Answer
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import FINDINGS_MAX, Bill

_ENCODER = msgpack.Encoder()


class Passed(Struct, frozen=True):
    """A bill that may be settled.

    Attributes:
        warnings: What the cashier should know, refusals that are overridden too.
        checked: The same as the claim keeps it; None where that is nothing.
    """

    warnings: tuple[messages.CheckFinding, ...] = ()
    checked: Checked | None = None


UNDOUBTED = Passed()


def looks_back(bill: Bill, presented: Presented, rules: Rules, *, today: int) -> Lookback:
    """Tell what of the past the rules in force want to see of a bill."""
    in_force = rules.checks.book.of_day(today).rules
    if not in_force:
        return NO_LOOKBACK
    asked = Asked(
        insutype=bill.insutype,
        med_type=bill.med_type,
        # A visit says when it began and which lines it has, once it is read.
        admitted=None if bill.mdtrt_id else _day(bill.admitted),
        items=None if bill.mdtrt_id else [line.item for line in bill.lines],
        has_card=presented.card_no != 0,
    )
    return lookback(
        in_force, asked, today=today, facts_of=facts_of_level(rules.catalogue, 0, today)
    )


class ToCheck(Struct, frozen=True):
    """A bill that was divided.

    Attributes:
        bill: With the lines that are settled, a visit's too.
        terminal_no: Where it is to be settled.
        case: What the division was told of person and place.
        split: The division.
    """

    bill: Bill
    presented: Presented
    terminal_no: int
    case: Case
    split: Split


def check_bill(
    view: ClaimsView, asked: ToCheck, rules: Rules, *, attempt: Attempt | None, override: str
) -> Passed | ClaimsAnswer:
    """Try the rules in force; say what to warn of, or refuse.

    Args:
        view: What was read, and what the group did so far.
        asked: The bill.
        rules: Checks and catalogue.
        attempt: Who asks to settle; None for a PREVIEW, of which nothing is kept.
        override: Why what refuses shall pass; its operator may say so.
    """
    in_force = rules.checks.book.of_day(view.when.business_date)
    if not in_force.rules:
        return UNDOUBTED
    findings = evaluate(
        in_force.rules, _situation(view, asked, rules), today=view.when.business_date
    )
    if not findings:
        return UNDOUBTED
    refusals = [finding for finding in findings if finding.is_refusal]
    warnings = [finding for finding in findings if not finding.is_refusal]
    may_override = all(finding.may_override for finding in refusals)
    if refusals and not (override and may_override):
        return _refusal(refusals, warnings, attempt, may_override=may_override)
    checked = Checked(
        warned=_paths(in_force, warnings),
        overridden=_paths(in_force, refusals),
        override=override if refusals else "",
    )
    return Passed(_messages(findings), checked)


def audit_of(checked: Checked | None) -> str:
    """Say in the audit what the checks found."""
    if checked is None:
        return ""
    parts: list[str] = []
    if checked.overridden:
        parts.append(f"overridden {', '.join(checked.overridden)}: {checked.override}")
    if checked.warned:
        parts.append(f"warned {', '.join(checked.warned)}")
    return "; ".join(parts)


def _situation(view: ClaimsView, asked: ToCheck, rules: Rules) -> Situation:
    bill, case = asked.bill, asked.case
    person_no = asked.presented.person_no
    now = Occasion(
        claim_no=0,
        time_ms=view.when.recorded_time_ms,
        day=case.care_date,
        insutype=bill.insutype,
        med_type=bill.med_type,
        place=CheckedPlace(
            view.book.places[asked.terminal_no].institution_no,
            case.institution_kind,
            case.institution_level,
        ),
        is_card_present=asked.presented.card_no != 0,
        lines=tuple(
            [
                CheckedLine(line.item, line.quantity_e4, line.gross_fen, line.name)
                for line in bill.lines
            ]
        ),
        total_fen=asked.split.total_fen,
        fund_pay_fen=asked.split.fund_pay_fen,
        admitted=_day(bill.admitted),
        discharged=_day(bill.discharged),
        visit=bill.mdtrt_id,
    )
    return Situation(
        patient=Patient(case.person_type, case.region, view.book.persons[person_no].sex, case.age),
        now=now,
        past=[*_stays(view, person_no, bill), *view.book.history.get(person_no, ())],
        facts_of=facts_of_level(rules.catalogue, case.institution_level, case.care_date),
        positions=rules.checks.positions,
    )


def _refusal(
    refusals: Sequence[Finding],
    warnings: Sequence[Finding],
    attempt: Attempt | None,
    *,
    may_override: bool,
) -> ClaimsAnswer:
    first = refusals[0]
    body = messages.CheckRefused(
        refusals=_messages(refusals),
        warnings=_messages(warnings),
        override=Role.SUPERVISOR.value if may_override else "",
    )
    record = None
    if attempt is not None:
        record = Record(
            attempt=attempt,
            action="check_refused",
            subject=attempt.msgid,
            reason=", ".join(dict.fromkeys(finding.rule for finding in refusals)),
        )
    return Answer(
        ResponseCode.CHECK_REFUSED,
        _ENCODER.encode(body),
        record=record,
        detail_zh=first.text_zh,
        detail_en=first.text_en,
    )


def _stays(view: ClaimsView, person_no: int, bill: Bill) -> list[Occasion]:
    """Give the person's other stays, settled or not, as the visits know them."""
    return [
        Occasion(
            claim_no=0,
            time_ms=0,
            day=visit.begins,
            insutype=visit.insutype,
            med_type=visit.med_type,
            place=CheckedPlace(visit.institution_no, InstitutionKind.HOSPITAL, 0),
            is_card_present=False,
            lines=(),
            total_fen=0,
            fund_pay_fen=0,
            admitted=visit.begins,
            discharged=visit.ends or FOREVER,
            visit=str(visit.visit_no),
            is_settled=False,
        )
        for visit in view.book.visits.other_stays(person_no, int(bill.mdtrt_id or 0))
    ]


def facts_of_level(catalogue: Catalogue, level: int, day: int) -> FactsOf:
    """Look items up as they are at institutions of a level on a day."""
    find = catalogue.find
    known: dict[str, ItemFacts] = {}

    def facts_of(item: str) -> ItemFacts:
        facts = known.get(item)
        if facts is None:
            found = find(item, level=level, day=day)
            facts = known[item] = (
                UNCATALOGUED
                if found is None
                else ItemFacts(
                    found.item_class,
                    found.kind,
                    found.sex,
                    found.age_from,
                    found.age_below,
                    found.daily_quantity_max_e4,
                )
            )
        return facts

    return facts_of


def _paths(in_force: RulesOfDay, findings: Sequence[Finding]) -> tuple[str, ...]:
    rules = dict.fromkeys(finding.rule for finding in findings)
    return tuple([in_force.path_of(rule) for rule in rules])


def _messages(findings: Sequence[Finding]) -> tuple[messages.CheckFinding, ...]:
    """Put findings on the wire; a bill of many lines may have more than one message takes."""
    return tuple(
        messages.CheckFinding(finding.rule, finding.text_zh, finding.text_en, finding.line)
        for finding in findings[:FINDINGS_MAX]
    )


def _day(date: dt.date | None) -> int:
    return 0 if date is None else day_number(date)
