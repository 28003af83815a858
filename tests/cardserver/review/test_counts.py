"""What is counted and compared: the work done, and cases beside postings."""

import pytest

from cardserver.registry import administration_store as administration
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Actor
from cardserver.review.check_store import check_review
from cardserver.review.workload_store import By, workload
from ledger.bulk_store import plain
from tests.cardserver.review.office import (
    ACCEPTOR,
    APPROVED,
    AUDITOR,
    CALCULATOR,
    MONTH,
    SECOND,
    Office,
    reduced,
)


async def run_sql(office: Office, sql: str) -> None:
    await office.database.execute(plain("hand", postgresql=sql, sqlite=sql)())


async def worked(office: Office, seconds: int, verb: str, case_no: int, *rest: object) -> None:
    """Take a case and sign it so many seconds later."""
    who, *arguments = rest
    await office.desk.take(case_no, who)  # type: ignore[arg-type]
    office.counter.clock.ms += seconds * 1_000
    await getattr(office.desk, verb)(case_no, who, *arguments)


async def test_work_is_counted_by_operator_and_department(office: Office) -> None:
    await office.open()
    cases = [await office.case(fen) for fen in (300_000, 100_000, 110_000, 120_000)]
    for case, seconds in zip(cases, (9, 2, 40, 5), strict=True):
        await worked(office, seconds, "accept", case.case_no, ACCEPTOR)
    first = cases[0].case_no
    await worked(office, 60, "calculate", first, CALCULATOR, reduced(900))
    await worked(office, 7, "send_back", first, AUDITOR, "再算")
    await worked(office, 30, "calculate", first, CALCULATOR, reduced(500))
    await worked(office, 1, "audit", first, AUDITOR)
    found = await workload(office.database, MONTH)
    brief = [
        (one.department, one.operator, one.kind, one.steps, one.cases, one.deduction_fen,
         one.median_ms)
        for one in found
    ]  # fmt: skip
    assert brief == [
        ("受理科", "r101", "accept", 4, 4, 0, 5_000),  # of four the lower of the middle two
        ("受理科", "r101", "all", 4, 4, 0, 5_000),
        ("核算科", "r102", "calculate", 2, 1, 1_400, 30_000),
        ("核算科", "r102", "all", 2, 1, 1_400, 30_000),
        ("稽查科", "r103", "return", 1, 1, 0, 7_000),
        ("稽查科", "r103", "audit", 1, 1, 500, 1_000),
        ("稽查科", "r103", "all", 2, 1, 500, 1_000),
    ]
    assert found[0].fund_pay_fen == sum(case.fund_pay_fen for case in cases)
    assert await workload(office.database, MONTH - 1) == []


async def test_whoever_changes_department_leaves_work_done_where_it_was(office: Office) -> None:
    await office.open()
    case = await office.case()
    await worked(office, 1, "accept", case.case_no, ACCEPTOR)
    before = await workload(office.database, MONTH, By.DEPARTMENT)
    assert [(one.department, one.operator, one.steps) for one in before] == [
        ("受理科", "", 1), ("受理科", "", 1),
    ]  # fmt: skip
    operator = await Registry(office.database).operator(0, "r101")
    assert operator is not None
    await administration.set_department(office.database, operator, "新科", Actor("x", 1))
    changed = await Registry(office.database).operator(0, "r101")
    assert changed is not None
    assert changed.department == "新科"
    assert await workload(office.database, MONTH, By.DEPARTMENT) == before


async def test_departments_are_counted_as_one(office: Office) -> None:
    await office.open()
    case = await office.case(1_000_000)
    await office.to_audit(case.case_no, APPROVED)
    await worked(office, 3, "audit", case.case_no, AUDITOR)
    await worked(office, 5, "audit", case.case_no, SECOND)
    found = await workload(office.database, MONTH, By.DEPARTMENT)
    audits = [one for one in found if one.kind == "audit"]
    assert [(one.steps, one.cases, one.median_ms) for one in audits] == [(2, 1, 3_000)]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE review_case SET deduction_fen = deduction_fen + 1", "10000 by postings"),
        ("UPDATE review_case SET deduction_no = 1", "0 by its entry"),
        ("UPDATE review_case SET state = 9", "that the fund paid"),
        ("UPDATE review_case SET deduction_no = 0", "that the fund paid"),
        ("UPDATE review_case SET fund_pay_fen = 9999", "that the fund paid"),
        ("UPDATE review_step SET operator_no = 103 WHERE kind = 2", "calculate and audit"),
        ("UPDATE review_step SET operator_no = 102 WHERE kind = 1", "accept and calculate"),
    ],
)
async def test_what_a_hand_changed_is_found(office: Office, sql: str, said: str) -> None:
    await office.open()
    await office.decided()
    assert await check_review(office.database) == []
    await run_sql(office, sql)
    found = await check_review(office.database)
    assert any(said in str(line) for line in found), found


async def test_a_deduction_that_was_undone_is_none(office: Office) -> None:
    await office.open()
    case = await office.decided()
    await office.counter.cancel(str(case.claim_no))
    await office.desk.follow()
    # As if the case did not know that its deduction was given back.
    await run_sql(
        office,
        f"UPDATE review_case SET deduction_fen = 10000, deduction_no = {case.deduction_no},"
        " state = 8",
    )
    found = await check_review(office.database)
    assert any("was undone" in str(line) for line in found), found
