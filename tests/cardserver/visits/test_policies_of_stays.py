"""What becomes of a stay at the turn of the year, by lost cover and by filings: policy's word."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.values import Rules
from cardserver.registry import tables as registry
from cardserver.registry.values import FilingKind
from ledger.bulk_store import insert, update
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitState
from tests.cardserver.claims.fund import CATALOGUE, COMMUNITY, HOSPITAL, PAUSED, PERSON
from tests.cardserver.visits.test_visits import used
from tests.cardserver.visits.ward import SETTLED, Ward, opened

D = dt.date
POLICIES = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
BEIJING = (POLICIES / "beijing_employees.toml").read_text(encoding="utf-8")
HEADING = "[inpatient]\nmed_types"

PutRules = Callable[..., None]


@pytest.fixture
def with_keys(ward: Ward) -> PutRules:
    """Have the ward's stays decided by Beijing's policy with some keys of its own."""

    def put(*keys: str, change: tuple[str, str] = ("", "")) -> None:
        assert BEIJING.count(HEADING) == 1
        text = BEIJING.replace(HEADING, "[inpatient]\n" + "\n".join(keys) + "\nmed_types")
        assert change[0] in text
        ward.rules = Rules(PolicyBook([load_policy(text.replace(*change))]), CATALOGUE)

    return put


async def code_of_preview(ward: Ward, bill: messages.Bill, **where: int) -> int:
    shown = await ward.preview(bill, **where)
    return ResponseCode.APPROVED if isinstance(shown, messages.Previewed) else shown.code  # type: ignore[attr-defined]


# --- the turn of the year --------------------------------------------------------------------


async def stay_over_new_year(ward: Ward) -> str:
    """A stay from 30 December to 3 January, discharged, with nothing settled."""
    ward.go_to(2026, 12, 30)
    stay = await ward.admitted(D(2026, 12, 30))
    await ward.charged(stay, (D(2026, 12, 30), 400_000))
    ward.go_to(2027, 1, 3)
    await ward.charged(stay, (D(2027, 1, 2), 600_000))
    assert (await ward.discharge(stay, D(2027, 1, 3))).code == ResponseCode.APPROVED
    return stay


async def test_by_the_day_of_discharge_a_stay_is_of_the_new_year(
    ward: Ward, with_keys: PutRules
) -> None:
    with_keys('stay_across_years = "discharge"')
    stay = await stay_over_new_year(ward)
    settled = await ward.settled(stay)
    assert settled.split.deductible_fen == 130_000
    assert await used(ward) == {}
    assert await used(ward, year=2027) == {"inpatient": (130_000, 1_000_000, 739_500, 0, 1)}


@pytest.mark.parametrize("is_in_parts", [False, True])
async def test_parts_of_a_stay_bear_what_it_bears_at_once(ward: Ward, *, is_in_parts: bool) -> None:
    """Settled in the new year after that year's first stay, it is the year's second throughout."""
    ward.go_to(2026, 12, 30)
    stay = await ward.admitted(D(2026, 12, 30))
    ward.go_to(2027, 1, 3)
    await ward.charged(stay, (D(2027, 1, 1), 100_000), (D(2027, 1, 2), 100_000))
    assert (await ward.discharge(stay, D(2027, 1, 3))).code == ResponseCode.APPROVED
    ward.go_to(2027, 1, 6)
    other = await ward.admitted(D(2027, 1, 4))
    await ward.charged(other, (D(2027, 1, 5), 200_000))
    await ward.discharge(other, D(2027, 1, 6))
    assert (await ward.settled(other)).split.deductible_fen == 130_000
    parts = [D(2027, 1, 1), None] if is_in_parts else [None]
    deductibles = [(await ward.settled(stay, day)).split.deductible_fen for day in parts]
    assert sum(deductibles) == 65_000
    assert (await used(ward, year=2027))["inpatient"][0::4] == (195_000, 2)


async def test_an_interim_at_the_years_end_bears_the_deductible_once(
    ward: Ward, with_keys: PutRules
) -> None:
    with_keys('stay_across_years = "discharge"')
    stay = await stay_over_new_year(ward)
    first = await ward.settled(stay, D(2026, 12, 31))
    rest = await ward.settled(stay)
    assert (first.split.deductible_fen, rest.split.deductible_fen) == (130_000, 0)
    assert await used(ward) == {"inpatient": (130_000, 400_000, 229_500, 0, 1)}
    assert (await used(ward, year=2027))["inpatient"] == (0, 600_000, 510_000, 0, 0)
    assert (await ward.visit(stay)).state is VisitState.CLOSED
    # Undone in either order, both years are as before.
    await ward.cancel(first.setl_id)
    await ward.cancel(rest.setl_id)
    assert await used(ward) == {}
    assert await used(ward, year=2027) == {}


async def test_settled_by_the_year_a_stay_is_billed_in_two(ward: Ward, with_keys: PutRules) -> None:
    with_keys('stay_across_years = "year_end"')
    stay = await stay_over_new_year(ward)
    both = await ward.bill(stay)
    assert await code_of_preview(ward, both) == ResponseCode.VISIT_DATE_NOT_VALID
    # Whatever day is named, December's lines are of December's year.
    old = await ward.settled(stay, D(2027, 1, 1))
    assert await used(ward) == {"inpatient": (130_000, 400_000, 229_500, 0, 1)}
    new = await ward.settled(stay)
    assert (old.split.deductible_fen, new.split.deductible_fen) == (130_000, 0)
    assert (await used(ward, year=2027))["inpatient"] == (0, 600_000, 510_000, 0, 0)


async def test_the_old_year_is_settled_by_the_facts_of_its_last_day(
    ward: Ward, with_keys: PutRules
) -> None:
    """Retired, and the hospital's level changed, on New Year's Day: not for December's lines."""
    with_keys('stay_across_years = "year_end"')
    stay = await stay_over_new_year(ward)
    await end_cover(ward, 20261231)
    columns = ["person_no", "insutype", "begins", "ends", "state", "person_type", "region"]
    retired = (PERSON, "310", 20270101, 99991231, 1, "12", "110105")
    levels = ["institution_no", "begins", "ends", "level", "care"]
    await ward.database.execute(
        insert(registry.insurance, columns)([retired]),
        insert(registry.contract, levels)([(HOSPITAL, 20270101, 99991231, 1, "")]),
    )
    old = await ward.settled(stay, D(2027, 1, 1))
    # 4,000.00 - 1,300.00, of an active employee at level 3: 85 %
    assert old.split.fund_pay_fen == 229_500
    new = await ward.settled(stay)
    # 6,000.00 of a retired person at level 1: 100 % - 60 % x 10 %
    assert new.split.fund_pay_fen == 564_000


async def test_where_the_policy_says_so_the_new_year_bears_it_again(
    ward: Ward, with_keys: PutRules
) -> None:
    deductible = '[inpatient.deductible]\nper = "admission"'
    with_keys(
        'stay_across_years = "year_end"', change=(deductible, deductible + "\nper_year_anew = true")
    )
    stay = await stay_over_new_year(ward)
    old = await ward.settled(stay, D(2026, 12, 31))
    new = await ward.settled(stay)
    assert old.split.deductible_fen == 130_000
    assert new.split.deductible_fen == 130_000
    # Settled again, the old year bears its own: what the new one bore is the new one's.
    await ward.cancel(old.setl_id)
    again = await ward.settled(stay, D(2026, 12, 31))
    assert again.split.deductible_fen == 130_000
    assert again.split.fund_pay_fen == old.split.fund_pay_fen


# --- cover --------------------------------------------------------------------------------


async def end_cover(ward: Ward, last_day: int, *, state: int = 1) -> None:
    """The person's insurance ends."""
    end = update(registry.insurance, set=("ends", "state"), by=("person_no", "insutype"))
    await ward.database.execute(end([(last_day, state, PERSON, "310")]))


async def long_stay(ward: Ward) -> str:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 2), 400_000), (D(2026, 11, 12), 600_000))
    await ward.discharge(stay, D(2026, 11, 20))
    return stay


async def test_cover_lost_during_a_stay_holds_on_where_its_first_day_decides(
    ward: Ward, with_keys: PutRules
) -> None:
    with_keys('entitled_by = "admission"')
    stay = await long_stay(ward)
    await end_cover(ward, 20261110)
    settled = await ward.settled(stay)
    assert settled.split.fund_pay_fen == 739_500
    # A new stay begins uncovered.
    assert (await ward.admit(D(2026, 11, 20))).code == ResponseCode.COVERAGE_NOT_IN_FORCE


async def test_cover_lost_during_a_stay_leaves_later_days_to_the_patient(
    ward: Ward, with_keys: PutRules
) -> None:
    with_keys('entitled_by = "day"')
    stay = await long_stay(ward)
    await end_cover(ward, 20261110)
    settled = await ward.settled(stay)
    assert settled.split.fully_own_fen == 600_000
    assert settled.split.fund_pay_fen == 229_500
    claim = await ward.found(stay)
    assert claim.visits[0].state is VisitState.CLOSED


async def test_cover_that_began_during_a_stay(ward: Ward, with_keys: PutRules) -> None:
    stay = await long_stay(ward)
    begin = update(registry.insurance, set=("begins",), by=("person_no", "insutype"))
    await ward.database.execute(begin([(20261110, PERSON, "310")]))
    bill = await ward.bill(stay)
    with_keys('entitled_by = "admission"')
    assert await code_of_preview(ward, bill) == ResponseCode.COVERAGE_NOT_IN_FORCE
    with_keys('entitled_by = "day"')
    settled = await ward.settled(stay)
    assert settled.split.fully_own_fen == 400_000
    assert settled.split.in_scope_fen == 600_000


async def test_of_several_insurances_the_one_in_force_pays(ward: Ward) -> None:
    """A paused row beside one in force, and another insurance: each is asked for by itself."""
    columns = [column.name for column in registry.insurance.columns]
    add = insert(registry.insurance, columns)

    def row(insutype: str, begins: int, ends: int, state: int) -> tuple[object, ...]:
        values = {
            "person_no": PAUSED, "insutype": insutype, "begins": begins, "ends": ends,
            "state": state, "person_type": "11", "region": "110105",
        }  # fmt: skip
        return tuple(values.get(name, 0) for name in columns)

    assert (await ward.admit(D(2026, 11, 1), PAUSED)).code == ResponseCode.COVERAGE_PAUSED
    await ward.database.execute(add([row("510", 20200101, 99991231, 1)]))
    refused = await ward.admit(D(2026, 11, 1), PAUSED)
    assert refused.code == ResponseCode.COVERAGE_PAUSED
    none = await ward.admit(D(2026, 11, 1), PAUSED, insutype="390")
    assert none.code == ResponseCode.COVERAGE_NOT_FOUND
    await ward.database.execute(add([row("310", 20261001, 99991231, 1)]))
    stay = opened(await ward.admit(D(2026, 11, 1), PAUSED))
    await ward.charged(stay, (D(2026, 11, 2), 200_000))
    assert (await ward.settled(stay, person=PAUSED)).split.fund_pay_fen == 59_500


# --- transfers and filings ----------------------------------------------------------------


async def test_where_the_policy_says_so_a_transfer_is_a_stay_of_its_own(
    ward: Ward, with_keys: PutRules
) -> None:
    with_keys('transfers = "new_stay"')
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 1), 200_000))
    await ward.discharge(stay, D(2026, 11, 3))
    await ward.settled(stay)
    there = opened(await ward.admit(D(2026, 11, 3), place=COMMUNITY, transferred_from=stay))
    await ward.lines(there, ward.line(D(2026, 11, 3), 200_000), place=COMMUNITY)
    second = await ward.settled(there, place=COMMUNITY)
    assert second.split.deductible_fen == 65_000
    assert (await used(ward))["inpatient"][-1] == 2


REFERRED = (
    '{ person_types = ["11"], levels = [3], ratio = "85%" }',
    """{ person_types = ["11"], levels = [3], referrals = ["local", "referred", "emergency"], \
ratio = "85%" },
    { person_types = ["11"], levels = [3], referrals = ["unreferred"], ratio = "50%" }""",
)


async def away(ward: Ward) -> None:
    """The person is insured in another city of the policy's region."""
    move = update(registry.insurance, set=("region",), by=("person_no",))
    await ward.database.execute(move([("110000", PERSON)]))
    place = update(registry.institution, set=("code",), by=("institution_no",))
    await ward.database.execute(place([("H13010100001", HOSPITAL)]))


async def test_who_comes_from_away_is_paid_for_as_filed(ward: Ward, with_keys: PutRules) -> None:
    with_keys(change=REFERRED)
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 2), 330_000))
    bill = await ward.bill(stay)

    async def fund(one: messages.Bill) -> int:
        shown = await ward.preview(one)
        assert isinstance(shown, messages.Previewed), shown
        return shown.split.fund_pay_fen

    assert await fund(bill) == 170_000
    await away(ward)
    assert await fund(bill) == 100_000
    assert await fund(replaced(bill, emergency=True)) == 170_000
    await file_for(ward, FilingKind.REFERRAL, "referred", HOSPITAL, ends=20261101)
    assert await fund(bill) == 100_000  # it had ended
    assert await fund(bill) == 100_000  # it had ended
    await file_for(ward, FilingKind.REFERRAL, "referred", COMMUNITY)
    assert await fund(bill) == 100_000
    await file_for(ward, FilingKind.REFERRAL, "referred", HOSPITAL, begins=20261102)
    assert await fund(bill) == 170_000
    settled = SETTLED.decode((await ward.settle_visit(stay)).body)
    assert settled.split.fund_pay_fen == 170_000


@pytest.mark.parametrize(
    ("region", "institution", "fund_fen"),
    [
        ("500229", "H50010300001", 170_000),  # a county and a district of Chongqing
        ("110000", "H11010100001", 170_000),  # insured with the whole municipality
        ("500229", "H51010400001", 100_000),
        ("130100", "H13010200001", 170_000),  # elsewhere the prefecture counts
        ("130100", "H13020200001", 100_000),
    ],
)
async def test_a_municipality_is_one_place(
    ward: Ward, region: str, institution: str, fund_fen: int
) -> None:
    regions = ('regions = ["110000"] ', 'regions = ["110000", "130000", "500000"] ')
    ward.rules = Rules(
        PolicyBook([load_policy(BEIJING.replace(*REFERRED).replace(*regions))]), CATALOGUE
    )
    move = update(registry.insurance, set=("region",), by=("person_no",))
    place = update(registry.institution, set=("code",), by=("institution_no",))
    await ward.database.execute(move([(region, PERSON)]), place([(institution, HOSPITAL)]))
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 2), 330_000))
    shown = await ward.preview(await ward.bill(stay))
    assert isinstance(shown, messages.Previewed), shown
    assert shown.split.fund_pay_fen == fund_fen


async def file_for(
    ward: Ward, kind: FilingKind, code: str, place: int, *, begins: int = 20260101,
    ends: int = 99991231,
) -> None:  # fmt: skip
    columns = [column.name for column in registry.filing.columns]
    values = {
        "person_no": PERSON, "kind": int(kind), "code": code, "institution_no": place,
        "begins": begins, "ends": ends,
    }  # fmt: skip
    row = tuple(values.get(name, 0) for name in columns)
    await ward.database.execute(insert(registry.filing, columns)([row]))
