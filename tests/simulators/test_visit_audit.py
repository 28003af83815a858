"""The auditor sees where a visit is told otherwise than it was charged."""

import datetime as dt

from msgspec import Struct, structs

from protocol.terminal.bodies import encode_body
from protocol.terminal.messages import (
    Lines,
    LinesCancel,
    LinesTaken,
    MessageType,
    Register,
    Registered,
    Visit,
    VisitChanged,
    VisitKind,
    VisitLine,
    VisitState,
)
from simulators.journal import Attempt, Outcome
from simulators.visit_audit import check_visits, visits_begun

DAY = dt.date(2026, 11, 21)
VISIT = Visit(
    mdtrt_id="7", psn_no="1", kind=VisitKind.OUTPATIENT, state=VisitState.OPEN, insutype="310",
    med_type="11", begins=DAY, ends=None, number="MZ", department="", doctor="", diagnosis="",
    disease="", emergency=False, transferred_from="", lines_count=2, unsettled_count=2,
    unsettled_fen=700, settled_fen=0,
)  # fmt: skip
LINES = (
    VisitLine("1", DAY, "A", "A", 5_000_000, 10_000, 500),
    VisitLine("2", DAY, "B", "B", 3_000_000, 10_000, 300),
    VisitLine("3", DAY, "B", "B", 1_000_000, -10_000, -100, "2"),
)


def attempt(type_: MessageType, body: Struct, answer: Struct, ended: int) -> Attempt:
    outcome = Outcome(0, bytes(encode_body(answer)), DAY, is_duplicate=False)
    return Attempt("H11019900001", "T1", type_, f"M{ended}", body, "", ended=ended,
                   answers=[outcome])  # fmt: skip


def register(number: str, ended: int) -> Attempt:
    answer = Registered(number, "1", DAY, 0)
    return attempt(MessageType.REGISTER, Register("310", "11", None, "MZ"), answer, ended)


def charged(unsettled_fen: int) -> Attempt:
    visit = structs.replace(VISIT, unsettled_fen=unsettled_fen)
    return attempt(MessageType.LINES, Lines("7", LINES), LinesTaken(visit, ()), 2)


def taken_back(unsettled_fen: int) -> Attempt:
    visit = structs.replace(VISIT, unsettled_fen=unsettled_fen)
    body = LinesCancel("7", ("2",), "")
    return attempt(MessageType.LINES_CANCEL, body, VisitChanged(visit, 0), 3)


def test_what_adds_up_is_no_finding() -> None:
    attempts = [register("7", 1), charged(700), taken_back(500)]
    assert list(check_visits(attempts)) == []
    assert visits_begun(attempts) == ["7"]


def test_a_line_lost_is_found() -> None:
    (finding,) = check_visits([register("7", 1), charged(800), taken_back(500)])
    assert "700 were acknowledged" in finding
    (finding,) = check_visits([register("7", 1), charged(700), taken_back(700)])
    assert "500 were acknowledged" in finding


def test_a_number_given_twice_is_found() -> None:
    (finding,) = check_visits([register("7", 1), register("7", 2)])
    assert "given out 2 times" in finding
