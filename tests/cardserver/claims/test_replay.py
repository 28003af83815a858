"""A draft tried on past claims: to the fen, by hand; and the control that everything comes back."""

import asyncio
import datetime as dt
import itertools
import random
from dataclasses import replace as replace_fields
from pathlib import Path

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.benefits.values import Accumulated, Moved
from cardserver.benefits.values import Stay as StayBefore
from cardserver.claims import tables
from cardserver.claims.claim_detail import decode_detail, encode_detail
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.replay import Months
from cardserver.claims.replay_detail import ReplayDetail
from cardserver.claims.replay_report import Report, Tally, band_of, report_of
from cardserver.claims.replay_store import PersonRange, person_ranges
from cardserver.claims.replay_track import Event, StoredClaim, Track
from cardserver.claims.replay_work import Job, RangeReplayed, replay_ranges
from cardserver.claims.values import ClaimsWriter, Presented
from cardserver.visits.opening import admit_work
from cardserver.visits.recording import discharge_work, lines_work
from ledger.bulk_store import select, update
from ledger.writer import GroupWriter
from protocol.terminal import messages
from protocol.terminal.messages import MessageType
from tests.cardserver.claims.fund import (
    COMMUNITY,
    HOSPITAL,
    PERSON,
    RETIRED,
    SHANGHAI,
    Counter,
    bill,
)
from tests.cardserver.claims.refunds import refund

FOLDER = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
BEIJING = (FOLDER / "beijing_employees.toml").read_text(encoding="utf-8")
YEAR = Months(20260101, 20261231)


def changed(*pairs: tuple[str, str]) -> str:
    """The shipped policy with some of its text replaced."""
    text = BEIJING
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return text


SEVENTY_FIVE = changed(('ratio = "70%"', 'ratio = "75%"'))


def at(counter: Counter, month: int, day: int = 2) -> None:
    """Let it be another day of the year."""
    moment = dt.datetime(2026, month, day, 10, tzinfo=SHANGHAI)
    counter.clock.ms = int(moment.timestamp() * 1000)


async def settled(counter: Counter, *lines: tuple[str, int], **more: object) -> str:
    """Settle a bill; return its number."""
    outcome = await counter.settle(bill(*lines), **more)  # type: ignore[arg-type]
    assert outcome.code == 0, outcome
    assert outcome.entry_no is not None
    return str(outcome.entry_no)


async def replayed(
    counter: Counter,
    *drafts: str,
    months: Months = YEAR,
    is_control: bool = True,
    claims_max: int = 1_000,
    versions: tuple[str, ...] = (),
) -> tuple[Report, list[RangeReplayed]]:
    """Replay what was settled, in this process."""
    database = counter.database
    shipped = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.toml"))]
    job = Job(database.url, "", (*shipped, *versions), drafts, is_control, months)
    ranges: list[PersonRange] = await person_ranges(database, claims_max)
    done = await asyncio.to_thread(lambda: list(replay_ranges(job, ranges, jobs=1)))
    tally = Tally()
    for one in done:
        tally.add(one.tally)
    report = report_of(
        tally, ["draft"], first_month=202601, last_month=202612, institutions={1: ("H1", "医院")}
    )
    return report, done


def gains(done: list[RangeReplayed]) -> dict[int, int]:
    """What the funds pay more for each person."""
    return {row[0]: row[5] - row[4] for one in done for row in one.rows}


def differences(done: list[RangeReplayed]) -> list[str]:
    return [f"{one.entry_no}: {one.what}" for part in done for one in part.differences]


async def test_a_ratio_that_grows_gives_each_its_part_to_the_fen(counter: Counter) -> None:
    at(counter, 3)
    await settled(counter, ("A1", 200_000))  # 200 above the deductible: 140.00, then 150.00
    at(counter, 4)
    await settled(counter, ("A1", 100_000), ("B1", 452))  # 4.07 of it: 702.85, then 753.05
    await settled(counter, ("A1", 10_000), place=COMMUNITY)  # 90 % before and after
    await settled(counter, ("A1", 300_000), person=RETIRED)  # at 76, 90 % before and after
    report, done = await replayed(counter, SEVENTY_FIVE)
    assert differences(done) == []
    assert gains(done) == {PERSON: 1_000 + 5_020, RETIRED: 0}
    assert (report.replayed_count, report.control_count) == (4, 4)
    assert report.fund_before_fen == 14_000 + 70_285 + 9_000 + 153_000
    assert report.fund_after_fen == report.fund_before_fen + 6_020
    assert report.person_before_fen - report.person_after_fen == 6_020
    assert [(one.name, one.after_fen - one.before_fen) for one in report.months] == [
        ("202603", 1_000), ("202604", 5_020),
    ]  # fmt: skip
    assert {
        (one.kind, one.level): (one.institution_count, one.after_fen - one.before_fen)
        for one in report.levels
    } == {(1, 3): (1, 6_020), (2, 1): (1, 0)}
    assert {
        one.person_type: (one.gaining_count, one.losing_count, one.same_count, one.gained_fen)
        for one in report.person_types
    } == {"11": (1, 0, 0, 6_020), "12": (0, 0, 1, 0)}
    assert [one.person_count for one in report.bands] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert {one.field: one.after_fen - one.before_fen for one in report.layers} == {
        "hifp_pay": 6_020
    }


async def test_a_deductible_follows_through_from_before_the_first_month(counter: Counter) -> None:
    at(counter, 2)
    await settled(counter, ("A1", 150_000))  # before: bears 1,500 of the deductible
    at(counter, 3)
    await settled(counter, ("A1", 100_000))  # 300 left: 490.00; of 2,000 500 are left: 350.00
    await settled(counter, ("A1", 100_000))  # none left: 700.00 under both
    draft = changed(("amount = 1800", "amount = 2000"))
    report, done = await replayed(counter, draft, months=Months(20260301, 20260331))
    assert differences(done) == []
    assert (report.fund_before_fen, report.fund_after_fen) == (119_000, 105_000)
    # From January on the whole year is the draft's: nothing of the deductible was borne before.
    whole, _ = await replayed(counter, draft)
    assert (whole.fund_before_fen, whole.fund_after_fen) == (119_000, 105_000)
    assert whole.replayed_count == 3
    # What was settled after the last month has no part in it.
    early, done = await replayed(counter, draft, months=Months(20260201, 20260228))
    assert (early.replayed_count, early.fund_after_fen) == (1, 0)
    assert differences(done) == []


async def test_what_was_undone_counts_for_nothing_and_gives_back_what_the_draft_moved(
    counter: Counter,
) -> None:
    at(counter, 3)
    first = await settled(counter, ("A1", 180_000))  # takes the whole deductible
    await settled(counter, ("A1", 100_000))  # 700.00, then 750.00
    at(counter, 5)
    assert (await counter.cancel(first)).code == 0
    await settled(counter, ("A1", 200_000))  # bears it again: 140.00, then 150.00
    report, done = await replayed(counter, SEVENTY_FIVE)
    assert differences(done) == []
    assert (report.replayed_count, report.undone_count, report.control_count) == (2, 1, 3)
    assert (report.fund_before_fen, report.fund_after_fen) == (84_000, 90_000)
    # Undone after the last month: it counts for nothing all the same.
    march, done = await replayed(counter, SEVENTY_FIVE, months=Months(20260301, 20260331))
    assert differences(done) == []
    assert (march.replayed_count, march.undone_count) == (1, 1)
    assert (march.fund_before_fen, march.fund_after_fen) == (70_000, 75_000)
    # Settled before the first month, undone in it.
    may, done = await replayed(counter, SEVENTY_FIVE, months=Months(20260501, 20260531))
    assert differences(done) == []
    assert (may.replayed_count, may.fund_before_fen, may.fund_after_fen) == (1, 14_000, 15_000)


async def test_a_cap_that_the_draft_lowers_is_reached_earlier(counter: Counter) -> None:
    cap = '[[outpatient.caps]]\nmeasure = "paid"\nper = "year"\namounts = [{ amount = 1000 }]\n\n'
    draft = changed(("[outpatient.account]", f"{cap}[outpatient.account]"))
    for month in (3, 4, 5):
        at(counter, month)
        await settled(counter, ("A1", 250_000))
    # As decided: 490, 1,750, 1,750. Under the draft: 490, 510, nothing.
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert [(one.before_fen, one.after_fen) for one in report.months] == [
        (49_000, 49_000), (175_000, 51_000), (175_000, 0),
    ]  # fmt: skip


async def test_a_second_stay_keeps_its_number(counter: Counter) -> None:
    draft = changed(("admission_from = 2, amount = 650", "admission_from = 2, amount = 250"))
    for month in (3, 4):
        at(counter, month)
        stay = bill(
            ("A1", 500_000), med_type="21", admitted=dt.date(2026, month, 1),
            discharged=dt.date(2026, month, 2),
        )  # fmt: skip
        assert (await counter.settle(stay)).code == 0
    # (5,000 - 650) and (5,000 - 250) at 85 %
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert [(one.before_fen, one.after_fen) for one in report.months] == [
        (314_500, 314_500), (369_750, 403_750),
    ]  # fmt: skip


class Stay:
    """A stay, admitted, charged and settled at the counter."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.mdtrt_id = ""
        self.numbers = itertools.count(1)

    async def admit(self, day: dt.date, transferred_from: str = "", place: int = HOSPITAL) -> None:
        body = messages.Admit("310", "21", day, "ZY1", transferred_from=transferred_from)
        attempt = self.counter.attempt(MessageType.ADMIT, body, place=place)
        presented = Presented(PERSON, PERSON * 10, 2)
        outcome = await self.counter.submit(
            admit_work(attempt, body, presented, self.counter.rules)
        )
        assert outcome.code == 0, outcome
        self.mdtrt_id = msgpack.decode(outcome.body, type=messages.Registered).mdtrt_id

    async def charge(self, day: dt.date, fen: int, place: int = HOSPITAL) -> None:
        line = messages.VisitLine(
            f"L{next(self.numbers)}", day, "A1", "甲类药", fen * 10_000, 10_000, fen
        )
        body = messages.Lines(self.mdtrt_id, (line,))
        attempt = self.counter.attempt(MessageType.LINES, body, place=place)
        outcome = await self.counter.submit(lines_work(attempt, body, self.counter.rules))
        assert outcome.code == 0, outcome

    async def discharge(self, day: dt.date, place: int = HOSPITAL) -> None:
        body = messages.Discharge(self.mdtrt_id, day, "2")
        attempt = self.counter.attempt(MessageType.DISCHARGE, body, place=place)
        outcome = await self.counter.submit(discharge_work(attempt, body))
        assert outcome.code == 0, outcome

    async def settle(self, fen: int, place: int = HOSPITAL) -> str:
        due = messages.Bill(
            "310", "21", fen, uses_account=False, invoice="I1", lines=(), mdtrt_id=self.mdtrt_id
        )
        outcome = await self.counter.settle(due, place=place)
        assert outcome.code == 0, outcome
        return str(outcome.entry_no)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_stay_goes_on_where_the_draft_left_it(
    counter: Counter, *, is_cancelled: bool
) -> None:
    draft = changed(("admission_to = 1, amount = 1300", "admission_to = 1, amount = 2000"))
    stay = Stay(counter)
    at(counter, 3, 20)
    await stay.admit(dt.date(2026, 3, 2))
    await stay.charge(dt.date(2026, 3, 3), 1_000_000)
    interim = await stay.settle(1_000_000)
    at(counter, 4, 10)
    if is_cancelled:  # and settled again, so that it all comes to the same
        assert (await counter.cancel(interim)).code == 0
        await stay.settle(1_000_000)
    await stay.charge(dt.date(2026, 4, 3), 2_500_000)
    await stay.settle(2_500_000)
    # 10,000: (10,000 - 1,300) at 85 %, or less 2,000. To 35,000: 20,000 at 85 %, 5,000 at 90 %.
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert sum(one.before_fen for one in report.months) == 739_500 + 2_150_000
    assert sum(one.after_fen for one in report.months) == 680_000 + 2_150_000
    # From April on: what was settled of the stay before stands as it was decided.
    april, done = await replayed(counter, draft, months=Months(20260401, 20260430))
    assert differences(done) == []
    if not is_cancelled:
        # 700 of the draft's deductible are still to be borne: 19,300 at 85 %, and 5,000 at 90 %.
        assert (april.fund_before_fen, april.fund_after_fen) == (2_150_000, 2_090_500)


async def test_a_stay_that_continues_another_goes_on_where_the_draft_left_that(
    counter: Counter,
) -> None:
    draft = changed(("admission_to = 1, amount = 1300", "admission_to = 1, amount = 2000"))
    first, second = Stay(counter), Stay(counter)
    at(counter, 3, 20)
    await first.admit(dt.date(2026, 3, 2))
    await first.charge(dt.date(2026, 3, 3), 1_000_000)
    await first.discharge(dt.date(2026, 3, 20))
    await first.settle(1_000_000)
    await second.admit(dt.date(2026, 3, 20), first.mdtrt_id, place=COMMUNITY)
    at(counter, 4, 10)
    await second.charge(dt.date(2026, 4, 3), 1_000_000, place=COMMUNITY)
    await second.discharge(dt.date(2026, 4, 10), place=COMMUNITY)
    await second.settle(1_000_000, place=COMMUNITY)
    # At the second place, of level 1, 10,000 at 90 %: the deductible was borne at the first.
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert [(one.before_fen, one.after_fen) for one in report.months] == [
        (739_500, 680_000), (900_000, 900_000),
    ]  # fmt: skip


async def test_an_undoing_gives_back_what_the_draft_moved(counter: Counter) -> None:
    at(counter, 3)
    number = await settled(counter, ("A1", 300_000))
    assert (await counter.cancel(number)).code == 0
    await settled(counter, ("A1", 300_000))  # bears 1,800 again: 840.00; of the draft 2,000: 700.00
    report, done = await replayed(counter, changed(("amount = 1800", "amount = 2000")))
    assert differences(done) == []
    assert (report.fund_before_fen, report.fund_after_fen) == (84_000, 70_000)


async def test_a_stay_whose_first_settlement_is_undone_bears_the_drafts_deductible_again(
    counter: Counter,
) -> None:
    draft = changed(("admission_to = 1, amount = 1300", "admission_to = 1, amount = 2000"))
    stay = Stay(counter)
    at(counter, 3, 20)
    await stay.admit(dt.date(2026, 3, 2))
    await stay.charge(dt.date(2026, 3, 3), 1_000_000)
    first = await stay.settle(1_000_000)
    await stay.charge(dt.date(2026, 3, 4), 1_000_000)
    await stay.settle(1_000_000)  # 10,000 at 85 %
    assert (await counter.cancel(first)).code == 0
    await stay.settle(1_000_000)  # what the first held, after the second: 8,700 or 8,000 at 85 %
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert (report.fund_before_fen, report.fund_after_fen) == (
        850_000 + 739_500, 850_000 + 680_000,
    )  # fmt: skip


async def test_what_remains_of_a_part_of_a_stay_goes_on_where_that_part_did(
    counter: Counter,
) -> None:
    draft = changed(
        ('per = "year"\namounts = [{ amount = 100_000 }]',
         'per = "admission"\namounts = [{ amount = 10_000 }]'),
    )  # fmt: skip
    stay = Stay(counter)
    at(counter, 3, 20)
    await stay.admit(dt.date(2026, 3, 2))
    numbers = []
    for day in (3, 4, 5):
        await stay.charge(dt.date(2026, 3, day), 1_000_000)
        numbers.append(await stay.settle(1_000_000))
    assert (await refund(counter, numbers[1], [(1, 5_000)])).code == 0
    # The pool, as decided: 7,395, 8,500, 8,500; 5,000 of the second's 10,000 remain: 4,250. Under
    # the draft 2,605 of its 10,000 are left for the second, and for what remains of it, none then.
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    pool = next(one for one in report.layers if one.field == "hifp_pay")
    assert (pool.before_fen, pool.after_fen) == (739_500 + 850_000 + 425_000, 1_000_000)


def test_a_stay_knows_what_the_draft_moved_in_earlier_years() -> None:
    def moved(deductible_fen: int) -> tuple[Moved, ...]:
        return (Moved("inpatient", Accumulated(deductible_fen, 500_000, 0, 0, 1)),)

    def event(number: int, year: int, stored: tuple[Moved, ...]) -> Event:
        detail = ReplayDetail(None, 0, (), 0, 0, stored, "inpatient", year, None, 9, 0)
        return Event(StoredClaim(number, 1, 0, None, "310", "", b""), detail, 9)

    track = Track({})
    track.settle(event(1, 2025, moved(130_000)), moved(200_000))
    track.settle(event(2, 2026, moved(0)), moved(1_000))
    kept = StayBefore(1, Accumulated(130_000, 1_000_000, 0, 0, 2), (), moved(130_000)[0].amounts)
    now = track.stay_of(event(3, 2026, moved(0)), kept)
    assert now is not None
    assert now.moved == Accumulated(201_000, 1_000_000, 0, 0, 2)
    assert now.earlier_years == Accumulated(200_000, 500_000, 0, 0, 1)


async def test_what_remains_after_a_refund_is_a_settlement_of_its_own(counter: Counter) -> None:
    at(counter, 3)
    number = await settled(counter, ("A1", 200_000), ("A1", 100_000))
    at(counter, 4)
    await settled(counter, ("A1", 100_000))  # the deductible is borne: 700.00, then 750.00
    outcome = await refund(counter, number, [(2, 10_000)])
    assert outcome.code == 0
    # 2,000 remain, after the later 1,000: that bore nothing, so 1,800 are still to be borne.
    report, done = await replayed(counter, SEVENTY_FIVE)
    assert differences(done) == []
    assert (report.replayed_count, report.undone_count) == (2, 1)
    assert (report.fund_before_fen, report.fund_after_fen) == (70_000 + 14_000, 75_000 + 15_000)


async def test_a_layer_that_the_draft_adds_counts_in_a_row_of_its_own(counter: Counter) -> None:
    layer = """[[outpatient.layers]]
field = "hifmi_pay"
base = "own_share"
ratios = [{ ratio = "50%" }]
deductible = { per = "year", amounts = [{ amount = 500 }] }

"""
    draft = changed(("[outpatient.account]", f"{layer}[outpatient.account]"))
    at(counter, 3)
    await settled(counter, ("A1", 300_000))  # 840.00; 360.00 of the patient's share enter
    at(counter, 4)
    await settled(counter, ("A1", 200_000))  # 1,400.00; 600.00 enter, 460.00 above the 500
    report, done = await replayed(counter, draft)
    assert differences(done) == []
    assert {one.field: (one.before_fen, one.after_fen) for one in report.layers} == {
        "hifp_pay": (224_000, 224_000), "hifmi_pay": (0, 23_000),
    }  # fmt: skip
    assert [one.after_fen - one.before_fen for one in report.months] == [0, 23_000]


async def test_what_nobody_looked_up_then_is_counted(counter: Counter) -> None:
    at(counter, 3)
    await settled(counter, ("A1", 300_000))
    row = '{ institution_kinds = ["community"], ratio = "90%" },'
    rows = """{ person_types = ["11"], institution_kinds = ["community"], designated = false, ratio = "80%" },
    { person_types = ["11"], institution_kinds = ["community"], designated = true, ratio = "90%" },
    { person_types = ["12"], institution_kinds = ["community"], ratio = "90%" },"""  # noqa: E501 - as written
    draft = changed((row, rows))
    report, done = await replayed(counter, draft)
    assert (report.lacking_count, report.replayed_count) == (1, 1)
    assert set(gains(done).values()) == {0}
    same, _ = await replayed(counter, SEVENTY_FIVE)
    assert same.lacking_count == 0


async def test_each_claim_is_held_against_the_version_that_decided_it(counter: Counter) -> None:
    at(counter, 3)
    await settled(counter, ("A1", 200_000))  # 140.00
    counter.rules = replace_fields(counter.rules, policies=PolicyBook([load_policy(SEVENTY_FIVE)]))
    at(counter, 4)
    second = await settled(counter, ("A1", 100_000))  # 750.00: a correction of the same first day
    report, done = await replayed(counter, BEIJING, versions=(SEVENTY_FIVE,))
    assert differences(done) == []
    assert report.control_count == 2
    assert (report.fund_before_fen, report.fund_after_fen) == (89_000, 84_000)
    # Without that version nothing can be said of what it decided, and that is said.
    _, done = await replayed(counter)
    (difference,) = differences(done)
    assert difference.startswith(f"{second}: version beijing-employees@2023-01-01#")
    assert difference.endswith("is not known")


async def test_claims_of_one_day_by_several_writers_are_taken_in_the_order_of_their_times(
    counter: Counter,
) -> None:
    at(counter, 3)
    await settled(counter, ("A1", 10_000), person=RETIRED)  # the first writer has its slot now
    other: ClaimsWriter = GroupWriter(
        counter.database, claims_participants(), clock=counter.clock, timezone=SHANGHAI
    )
    await other.start()
    second = Counter(other, counter.database, counter.rules, counter.clock, itertools.count(500))
    later = await settled(second, ("A1", 200_000))  # 140.00, then 150.00
    counter.clock.ms += 60_000
    earlier = await settled(counter, ("A1", 100_000))  # 700.00, then 750.00
    await other.stop()
    assert int(earlier) < int(later), "the one that was entered first has the higher number"
    report, done = await replayed(counter, SEVENTY_FIVE)
    assert differences(done) == []
    assert gains(done)[PERSON] == 6_000
    assert report.replayed_count == 3


async def test_whom_the_draft_refuses_loses_all_and_is_named(counter: Counter) -> None:
    at(counter, 3)
    number = await settled(counter, ("A1", 300_000), person=RETIRED)
    draft = changed(('institution_kinds = ["hospital", "community", "pharmacy"]',
                     'institution_kinds = ["community", "pharmacy"]'),
                    ('institution_kinds = ["hospital", "pharmacy"]',
                     'institution_kinds = ["pharmacy"]'))  # fmt: skip
    report, done = await replayed(counter, draft)
    assert (report.refused_count, report.fund_after_fen) == (1, 0)
    (refused,) = done[0].refused
    assert (str(refused.entry_no), refused.fund_pay_fen) == (number, 153_000)
    assert "does not cover" in refused.why


async def test_care_that_the_draft_has_no_rules_for_stays_as_it_was(counter: Counter) -> None:
    at(counter, 3)
    await settled(counter, ("A1", 300_000))
    draft = changed(('insutypes = ["310"]', 'insutypes = ["390"]'))
    report, done = await replayed(counter, draft)
    assert (report.uncovered_count, report.replayed_count) == (1, 1)
    assert report.fund_before_fen == report.fund_after_fen == 84_000
    assert differences(done) == []


async def test_a_claim_without_facts_is_named_and_stays_as_it_was(counter: Counter) -> None:
    at(counter, 3)
    number = int(await settled(counter, ("A1", 200_000)))
    await settled(counter, ("A1", 100_000))
    find = select(tables.claim, ("detail",), by=("entry_no",))
    ((_, stored),) = await counter.database.fetch(find([(number,)]))
    without = encode_detail(replace(decode_detail(bytes(stored)), facts=None))
    put = update(tables.claim, set=("detail",), by=("entry_no",))
    await counter.database.execute(put([(without, number)]))
    report, done = await replayed(counter, SEVENTY_FIVE)
    assert (report.unreplayed_count, report.replayed_count, report.control_count) == (1, 1, 1)
    (left,) = done[0].unreplayed
    assert (left.entry_no, left.why, left.fund_pay_fen) == (number, "no facts were kept", 14_000)
    # The deductible that it took is taken for the draft too.
    assert (report.fund_before_fen, report.fund_after_fen) == (70_000, 75_000)
    assert differences(done) == []


async def test_the_control_names_what_comes_out_otherwise(counter: Counter) -> None:
    at(counter, 3)
    first = int(await settled(counter, ("A1", 200_000)))
    second = int(await settled(counter, ("A1", 100_000)))
    find = select(tables.claim, ("detail",), by=("entry_no",))
    ((_, stored),) = await counter.database.fetch(find([(first,)]))
    detail = decode_detail(bytes(stored))
    put = update(tables.claim, set=("detail",), by=("entry_no",))
    wrong = replace(detail, split=replace(detail.split, fund_pay_fen=14_001))
    await counter.database.execute(put([(encode_detail(wrong), first)]))
    report, done = await replayed(counter)
    assert differences(done) == [f"{first}: fund_pay_fen: 14001 then, 14000 now"]
    assert (report.control_count, report.difference_count) == (2, 1)
    # An accumulator that someone has touched shows too, by every claim that looked at it.
    await counter.database.execute(put([(stored, first)]))
    used = update(tables.accumulator, set=("deductible_fen",), by=("person_no",))
    await counter.database.execute(used([(170_000, PERSON)]))
    _, done = await replayed(counter)
    assert [one.split(":")[0] for one in differences(done)] == [str(first), str(second)]
    assert "accumulators outpatient" in differences(done)[0]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_the_versions_that_decided_decide_the_same(
    counter: Counter, seed: int
) -> None:
    """Settle, undo and settle again at random; the draft that says the same changes nothing."""
    chance = random.Random(seed)
    open_numbers: list[str] = []
    for month in range(1, 12):
        at(counter, month)
        for _ in range(4):
            if open_numbers and chance.random() < 0.3:
                number = open_numbers.pop(chance.randrange(len(open_numbers)))
                assert (await counter.cancel(number, place=HOSPITAL)).code == 0
                continue
            if open_numbers and chance.random() < 0.3:
                number = open_numbers.pop(chance.randrange(len(open_numbers)))
                outcome = await refund(counter, number, [(1, chance.choice((2_500, 10_000)))])
                assert outcome.code == 0, outcome
                remaining = msgpack.decode(outcome.body, type=messages.Refunded).setl_id
                open_numbers += [remaining] if remaining else []
                continue
            lines = [(chance.choice(("A1", "B1", "L1", "C9")), chance.randrange(1, 2_000_000))
                     for _ in range(chance.randrange(1, 4))]  # fmt: skip
            is_stay = chance.random() < 0.4
            stay = {"med_type": "21", "admitted": dt.date(2026, month, 1),
                    "discharged": dt.date(2026, month, 2)} if is_stay else {}  # fmt: skip
            outcome = await counter.settle(
                bill(*lines, **stay),  # type: ignore[arg-type]
                person=chance.choice((PERSON, RETIRED)),
            )
            assert outcome.code == 0
            open_numbers.append(str(outcome.entry_no))
    for months in (YEAR, Months(20260401, 20260831), Months(20260901, 20261231)):
        report, done = await replayed(counter, BEIJING, months=months, claims_max=10)
        assert differences(done) == []
        assert report.control_count == report.replayed_count + report.undone_count > 0
        assert set(gains(done).values()) == {0}
        assert report.unreplayed_count == report.refused_count == report.uncovered_count == 0


def test_gains_fall_into_bands_that_mirror_each_other() -> None:
    assert band_of(0) == 5
    for fen, band in (
        (1, 6), (9_999, 6), (10_000, 7), (100_000, 8), (1_000_000, 9), (5_000_000, 10),
    ):  # fmt: skip
        assert (band_of(fen), band_of(-fen)) == (band, 10 - band)
