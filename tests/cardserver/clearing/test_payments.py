"""Payment runs: every fen once, signed before it leaves, confirmed or returned by file."""

import asyncio
from dataclasses import replace

import pytest

from cardserver.audit_desk import find
from cardserver.claims.audit_search_store import AuditQuery
from cardserver.clearing.clearing_store import begin_hold, read_holds, release_holds
from cardserver.clearing.pain002 import ReportError
from cardserver.clearing.paying import (
    MadeRun,
    PaymentError,
    RunWish,
    Taken,
    make_run,
    release_deposits,
    sign,
    signed_file,
    take_report,
    withdraw_run,
)
from cardserver.clearing.payments import PaymentState, end_to_end_id, message_id
from cardserver.clearing.payments_store import Payment, read_payments
from ledger.accounts import Account
from tests.cardserver.clearing.bank import answer
from tests.cardserver.clearing.month import (
    COMMUNITY,
    HOSPITAL,
    INPATIENT,
    OFFICER,
    PHARMACY,
    PHARMACY_TYPE,
    SHANGHAI,
    Fund,
)

REGION = "110199"
SIGNATORY, SECOND = replace(OFFICER, operator_no=8), replace(OFFICER, operator_no=9)


async def cleared_october(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    await fund.settle(HOSPITAL, 40_000, insutype=390)
    await fund.settle(HOSPITAL, 1_000_000, clearing_type=INPATIENT)
    await fund.settle(COMMUNITY, 60_000)
    await fund.settle(PHARMACY, 4_000, clearing_type=PHARMACY_TYPE)
    fund.clock.be(20261102)
    await fund.close(202610)
    await fund.run(202610)


async def pay(fund: Fund, *, again_only: bool = False) -> MadeRun:
    day = fund.clock.day
    wish = RunWish(
        execution_date=day, today=day, region=REGION, timezone=SHANGHAI, again_only=again_only
    )
    return await make_run(fund.database, fund.acts, wish, OFFICER)


async def pay_signed(fund: Fund, *, again_only: bool = False) -> MadeRun:
    made = await pay(fund, again_only=again_only)
    await sign(fund.database, made.run.run_no, made.run.sha256.hex(), SIGNATORY)
    return made


async def payments(fund: Fund, run_no: int | None = None) -> list[Payment]:
    return await fund.database.report(lambda one: read_payments(one, run_no=run_no))


async def take(fund: Fund, content: bytes) -> Taken:
    return await take_report(fund.database, fund.acts, content, REGION, OFFICER, lambda _, __: None)


async def test_each_institution_gets_one_transfer_of_all_its_clearings(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay(fund)
    found = await payments(fund)
    assert [(one.institution_no, one.amount_fen) for one in found] == [
        (HOSPITAL, 136_500 + 975_000), (COMMUNITY, 57_000), (PHARMACY, 3_800),
    ]  # fmt: skip
    assert made.run.total_fen == sum(one.amount_fen for one in found)
    with pytest.raises(PaymentError, match="nothing to pay"):
        await pay(fund)


async def test_a_confirmed_payment_leaves_the_deposits_of_its_insurances(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    found = await payments(fund)
    report = answer(made.run.run_no, REGION, {one.payment_no: "ACSC" for one in found})
    taken = await take(fund, report)
    assert (taken.confirmed, taken.returned, taken.refused) == (3, 0, ())
    assert await fund.held_fen(Account.PAYMENTS_UNDER_WAY) == 0
    assert await fund.held_fen(Account.FISCAL_DEPOSIT) == -made.run.total_fen
    again = await take(fund, report)
    assert (again.confirmed, again.repeated) == (0, 3)
    assert await fund.held_fen(Account.FISCAL_DEPOSIT) == -made.run.total_fen
    assert (await fund.balance()).is_equal


async def test_a_returned_payment_is_owed_again_and_paid_by_the_next_run(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    first, second, third = await payments(fund)
    taken = await take(
        fund,
        answer(
            made.run.run_no, REGION,
            {first.payment_no: "ACSC", second.payment_no: "RJCT", third.payment_no: "PDNG"},
            reason="AC04",
        ),
    )  # fmt: skip
    assert (taken.confirmed, taken.returned, taken.under_way) == (1, 1, 1)
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == second.amount_fen
    next_made = await pay_signed(fund)
    (again,) = await payments(fund, next_made.run.run_no)
    assert (again.again_of, again.amount_fen) == (second.payment_no, second.amount_fen)
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == 0
    with pytest.raises(PaymentError, match="nothing to pay"):
        await pay(fund)
    await take(fund, answer(next_made.run.run_no, REGION, {again.payment_no: "ACCC"}))
    await take(fund, answer(made.run.run_no, REGION, {third.payment_no: "ACCC"}))
    assert await fund.held_fen(Account.PAYMENTS_UNDER_WAY) == 0
    assert await fund.held_fen(Account.FISCAL_DEPOSIT) == -made.run.total_fen
    assert (await fund.balance()).is_equal


async def test_a_payment_may_come_back_after_it_was_confirmed_and_more_than_once(
    fund: Fund,
) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    number = (await payments(fund))[0].payment_no
    await take(fund, answer(made.run.run_no, REGION, {}, group="ACSC"))
    assert {one.state for one in await payments(fund)} == {PaymentState.CONFIRMED}
    for _ in range(2):
        made = await pay_again_after_return(fund, made.run.run_no, number)
        number = (await payments(fund, made.run.run_no))[0].payment_no
    contradiction = answer(1, REGION, {100_001: "ACSC"})
    assert (await take(fund, contradiction)).repeated == 1  # it was confirmed once, long ago
    balance = await fund.balance()
    assert balance.is_equal


async def pay_again_after_return(fund: Fund, run_no: int, payment_no: int) -> MadeRun:
    taken = await take(fund, answer(run_no, REGION, {payment_no: "RJCT"}))
    assert taken.returned == 1
    return await pay_signed(fund, again_only=True)


async def test_what_was_returned_is_not_confirmed_by_a_late_report(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    number = (await payments(fund))[0].payment_no
    await take(fund, answer(made.run.run_no, REGION, {number: "RJCT"}))
    taken = await take(fund, answer(made.run.run_no, REGION, {number: "ACSC"}))
    assert len(taken.refused) == 1
    assert end_to_end_id(number) in taken.refused[0]
    assert await fund.held_fen(Account.FISCAL_DEPOSIT) == 0


async def test_the_status_of_the_payment_information_is_of_all_that_are_not_named(
    fund: Fund,
) -> None:
    await cleared_october(fund)
    run = (await pay_signed(fund)).run.run_no
    named = (await payments(fund, run))[0].payment_no
    content = answer(run, REGION, {named: "ACSC"}, block_status="RJCT", group="PART")
    taken = await take(fund, content)
    assert (taken.confirmed, taken.returned, taken.refused) == (1, 2, ())


@pytest.mark.parametrize("reason", ["DU01", "AM05"])
async def test_a_file_that_the_bank_had_before_is_not_owed_again(fund: Fund, reason: str) -> None:
    await cleared_october(fund)
    run = (await pay_signed(fund)).run.run_no
    first, second, *_ = await payments(fund, run)
    await take(fund, answer(run, REGION, {first.payment_no: "ACSC"}))
    taken = await take(fund, answer(run, REGION, {}, group="RJCT", reason=reason))
    assert (taken.confirmed, taken.returned, len(taken.refused)) == (0, 0, 3)
    one = await take(fund, answer(run, REGION, {second.payment_no: "RJCT"}, reason=reason))
    assert (one.returned, len(one.refused)) == (0, 1)
    states = [one.state for one in await payments(fund, run)]
    assert states == [PaymentState.CONFIRMED, PaymentState.INSTRUCTED, PaymentState.INSTRUCTED]
    with pytest.raises(PaymentError, match="nothing to pay"):
        await pay(fund)


async def test_a_refusal_of_the_whole_file_does_not_take_back_what_was_confirmed(
    fund: Fund,
) -> None:
    await cleared_october(fund)
    run = (await pay_signed(fund)).run.run_no
    first = (await payments(fund, run))[0].payment_no
    await take(fund, answer(run, REGION, {first: "ACSC"}))
    taken = await take(fund, answer(run, REGION, {}, group="RJCT", reason="NARR"))
    assert (taken.returned, [line.split(":")[0] for line in taken.refused]) == (
        2, [end_to_end_id(first)],
    )  # fmt: skip
    named = await take(fund, answer(run, REGION, {first: "RJCT"}, reason="AC04"))
    assert (named.returned, named.refused) == (1, ())


async def test_an_amount_or_a_reference_that_is_not_ours_is_refused_and_told(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    first, second, _ = await payments(fund)
    content = answer(
        made.run.run_no, REGION,
        {first.payment_no: "ACSC", second.payment_no: "ACSC", 7_700_001: "ACSC"},
        amounts={first.payment_no: first.amount_fen - 1, second.payment_no: second.amount_fen},
    )  # fmt: skip
    taken = await take(fund, content)
    assert taken.confirmed == 1
    assert [one.split(":")[0] for one in taken.refused] == [
        end_to_end_id(first.payment_no), "'CLR-77-1'",
    ]  # fmt: skip


async def test_a_file_leaves_only_signed_by_as_many_as_must(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 200_000_000)
    fund.clock.be(20261102)
    await fund.close(202610)
    await fund.run(202610)
    made = await pay(fund)
    run_no, digits = made.run.run_no, made.run.sha256.hex()
    with pytest.raises(PaymentError, match="not the hash"):
        await sign(fund.database, run_no, "0" * 64, SIGNATORY)
    with pytest.raises(PaymentError, match="not the hash"):
        await sign(fund.database, run_no, digits[:15], SIGNATORY)
    signing = await sign(fund.database, run_no, digits[:16], SIGNATORY)
    assert (len(signing.signatures), signing.wanted) == (1, 2)
    await sign(fund.database, run_no, digits, SIGNATORY)  # the same person is one
    with pytest.raises(PaymentError, match="signed by 1 of 2"):
        await signed_file(fund.database, run_no)
    with pytest.raises(PaymentError, match="signed by 1 of 2"):
        await take(fund, answer(run_no, REGION, {}, group="ACSC"))
    assert (await sign(fund.database, run_no, digits, SECOND)).is_signed
    assert await signed_file(fund.database, run_no) == made.content


async def test_a_run_that_nobody_should_sign_is_withdrawn_and_paid_anew(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay(fund)
    digits, total_fen = made.run.sha256.hex(), made.run.total_fen
    with pytest.raises(PaymentError, match="say why"):
        await withdraw_run(fund.database, fund.acts, 1, " ", OFFICER)
    assert await withdraw_run(fund.database, fund.acts, 1, "wrong account", OFFICER) == 3
    assert await withdraw_run(fund.database, fund.acts, 1, "wrong account", OFFICER) == 0
    assert {(one.state, one.reason) for one in await payments(fund, 1)} == {
        (PaymentState.RETURNED, "撤回 withdrawn: wrong account")
    }
    with pytest.raises(PaymentError, match="was withdrawn"):
        await sign(fund.database, 1, digits, SIGNATORY)
    with pytest.raises(PaymentError, match="signed by 0 of 1"):
        await signed_file(fund.database, 1)
    again = await pay_signed(fund)
    assert (again.run.run_no, again.run.total_fen) == (2, total_fen)
    with pytest.raises(PaymentError, match="is signed"):
        await withdraw_run(fund.database, fund.acts, 2, "too late", OFFICER)
    taken = await take(fund, answer(2, REGION, {}, group="ACSC"))
    assert taken.confirmed == 3
    assert await fund.held_fen(Account.PAYMENTS_UNDER_WAY) == 0
    assert await sign(fund.database, 2, again.run.sha256.hex(), SIGNATORY)


async def test_who_signs_while_a_run_is_withdrawn_comes_before_or_too_late(fund: Fund) -> None:
    await cleared_october(fund)
    digits = (await pay(fund)).run.sha256.hex()
    withdrawing, signing = await asyncio.gather(
        withdraw_run(fund.database, fund.acts, 1, "wrong account", OFFICER),
        sign(fund.database, 1, digits, SIGNATORY),
        return_exceptions=True,
    )
    assert isinstance(withdrawing, PaymentError) != isinstance(signing, PaymentError)
    states = {one.state for one in await payments(fund, 1)}
    is_signed = not isinstance(signing, PaymentError)
    assert states == {PaymentState.INSTRUCTED if is_signed else PaymentState.RETURNED}


async def test_who_took_a_report_in_or_released_a_deposit_is_in_the_audit(fund: Fund) -> None:
    await cleared_october(fund)
    run = (await pay_signed(fund)).run.run_no
    first, second, _ = [one.payment_no for one in await payments(fund, run)]
    report = answer(run, REGION, {first: "ACSC", second: "RJCT"}, reason="AC04")
    for _ in range(2):  # the second time nothing is done, and nothing noted
        await take(fund, report)
    await release_deposits(
        fund.database, fund.acts, PHARMACY, OFFICER, until=202610, today=fund.clock.day
    )
    rows = await find(fund.database, AuditQuery(operator_no=OFFICER.operator_no))
    acted = {"payment confirmed", "payment returned", "deposit released"}
    assert [(row.action, row.subject) for row in rows if row.action in acted] == [
        ("payment confirmed", end_to_end_id(first)), ("payment returned", end_to_end_id(second)),
        ("deposit released", str(PHARMACY)),
    ]  # fmt: skip


async def test_nothing_is_paid_without_an_account_or_while_held(fund: Fund) -> None:
    await cleared_october(fund)
    await begin_hold(fund.database, HOSPITAL, 0, "a complaint", OFFICER)
    made = await pay(fund)
    assert {one.institution_no for one in await payments(fund)} == {COMMUNITY, PHARMACY}
    (hold,) = await fund.database.report(read_holds)
    await release_holds(fund.database, [hold.hold_no], "settled", OFFICER)
    later = await pay(fund)
    assert later.run.run_no == made.run.run_no + 1
    assert later.run.count == 1


async def test_a_released_deposit_is_paid_by_the_next_run_once(fund: Fund) -> None:
    await cleared_october(fund)
    await pay(fund)
    released = await release_deposits(
        fund.database, fund.acts, HOSPITAL, OFFICER, until=202610, today=fund.clock.day
    )
    assert released == 3_500 + 25_000
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == released
    with pytest.raises(PaymentError, match="no deposit"):
        await release_deposits(
            fund.database, fund.acts, HOSPITAL, OFFICER, until=202610, today=fund.clock.day
        )
    made = await pay_signed(fund)
    assert made.run.total_fen == released
    await take(fund, answer(made.run.run_no, REGION, {}, group="ACSC"))
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == 0
    assert (await fund.balance()).is_equal


async def test_a_report_of_another_fund_or_run_is_refused(fund: Fund) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    with pytest.raises(ReportError, match="no payment run of this fund"):
        await take(fund, answer(made.run.run_no, "110108", {}, group="ACSC"))
    with pytest.raises(PaymentError, match="no payment run 9"):
        await take(fund, answer(9, REGION, {}, group="ACSC"))
    assert message_id(9, REGION) == "CLR110199-9"


async def test_a_run_that_was_broken_off_is_gone_on_with_and_comes_to_the_same_file(
    fund: Fund,
) -> None:
    await cleared_october(fund)
    first = await pay_signed(fund)
    number = (await payments(fund))[0].payment_no
    await take(fund, answer(first.run.run_no, REGION, {number: "RJCT"}))
    made = await pay(fund)  # pays again, so that something is posted, too
    entries = (await fund.balance()).entry_count
    await fund.execute(
        "UPDATE payment_run SET sha256 = substr(sha256, 1, 0), file = substr(file, 1, 0)"
        " WHERE run_no = 2"
    )
    again = await pay(fund)
    assert again.gathered is None
    assert (again.run, again.content) == (made.run, made.content)
    assert (await fund.balance()).entry_count == entries
