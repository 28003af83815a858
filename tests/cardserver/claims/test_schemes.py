"""Special schemes, layers and the institution's part, from the bill to the books and back."""

from dataclasses import replace

import pytest
from msgspec import msgpack, structs

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.benefits.values import Accumulated, Adjudication
from cardserver.claims.claim_detail import decode_detail, encode_detail
from cardserver.claims.claims_store import accumulators
from cardserver.claims.explaining import lines_as_decided
from cardserver.claims.replay_detail import read_detail
from cardserver.claims.settlement import split_message
from cardserver.claims.values import Uncovered
from cardserver.registry import tables as registry
from cardserver.registry.values import FilingKind
from ledger.accounts import Account
from ledger.bulk_store import insert, plain
from ledger.trial_balance_store import trial_balance
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from tests.cardserver.claims.fund import PERSON, RETIRED, TODAY, Counter, bill

POLICY = """
name = "test-city"
title_zh = "试验市"
title_en = "Test city"
regions = ["110000"]
insutypes = ["310"]
person_types = ["11", "12"]
begins = 2020-01-01
cash_rounding = "jiao"
sources = [{ title = "made up", supports = "all", standing = "verified" }]
diseases = [{ code = "M039", title_zh = "高血压", title_en = "Hypertension" }]

[[special]]
name = "chronic"
title_zh = "门诊慢性病"
title_en = "chronic diseases"
med_types = ["14"]
institution_kinds = ["hospital"]
diseases = ["M039"]
items = ["A1", "L*"]
excluded = [{ person_types = ["12"], reason_zh = "退休另行规定", reason_en = "not the retired" }]
deductible = { per = "year", amounts = [{ amount = 300 }] }
bands = [{ from = 0, ratios = [{ ratio = "70%" }] }]
caps = [{ measure = "paid", per = "year", amounts = [{ amount = 500 }] }]
institution_bears = ["over_limit"]

[[special.layers]]
field = "hifmi_pay"
base = ["deductible", "own_share"]
deductible = { per = "year", amounts = [{ amount = 400 }] }
ratios = [{ ratio = "50%" }]
"""
CHRONIC = structs.replace(bill(("A1", 100_007), ("L1", 12_000), med_type="14"), disease="M039")
SETTLED = msgpack.Decoder(messages.Settled)
FILE = insert(registry.filing, ["person_no", "kind", "code", "institution_no", "begins", "ends"])
DETAIL = plain("details", postgresql="SELECT detail FROM claim", sqlite="SELECT detail FROM claim")
CLEARED = plain(
    "clearing types", postgresql="SELECT clearing_type, count(*) FROM entry GROUP BY 1",
    sqlite="SELECT clearing_type, count(*) FROM entry GROUP BY 1",
)  # fmt: skip


@pytest.fixture
async def clinic(counter: Counter) -> Counter:
    """A counter whose fund has a scheme for chronic diseases, and two persons who have one."""
    await counter.database.execute(
        FILE([
            (person, int(FilingKind.DISEASE), "M039", 0, 20260101, 20261231)
            for person in (PERSON, RETIRED)
        ])
    )  # fmt: skip
    counter.rules = replace(counter.rules, policies=PolicyBook([load_policy(POLICY)]))
    return counter


async def used(counter: Counter, person: int) -> dict[str, Accumulated]:
    found = (await accumulators(counter.database, [person], 2026))[person]
    return {key.scheme: amounts for key, amounts in found}


async def test_a_special_scheme_settles_and_is_undone(clinic: Counter) -> None:
    outcome = await clinic.settle(CHRONIC)
    split = SETTLED.decode(outcome.body).split
    # 1,000.07 and 100.00 of 120.00 in scope; 300 deductible; 500 by its cap of 560.05;
    # of 600.07 borne 200.07 are above 400: half of it
    assert (split.over_limit_fen, split.in_scope_fen) == (2_000, 110_007)
    assert [(layer.field, layer.paid_fen) for layer in split.layers] == [
        ("hifp_pay", 50_000),
        ("hifmi_pay", 10_004),
    ]
    # The person's account pays nothing here; cash of 500.03 is cut to the jiao.
    assert (split.hospital_part_fen, split.person_part_fen, split.cash_fen) == (
        2_003,
        50_000,
        50_000,
    )
    assert await used(clinic, PERSON) == {
        "chronic": Accumulated(30_000, 110_007, 50_000, 0, 0),
        "hifmi_pay": Accumulated(40_000, 60_007, 10_004, 0, 0),
    }
    balance = await clinic.database.report(trial_balance)
    assert balance.is_equal
    assert balance.by_account[Account.SERIOUS_ILLNESS_BENEFIT].balance_fen == 10_004
    assert balance.by_account[Account.INSTITUTION_PAYABLE].balance_fen == -60_004
    assert (11, 1) in [tuple(row) for row in await clinic.database.fetch(CLEARED())]

    # The year's limit is used up: the next one is the layer's, above what it took already.
    second = SETTLED.decode((await clinic.settle(CHRONIC)).body)
    assert [layer.paid_fen for layer in second.split.layers] == [0, 55_004]
    for setl_id in (str(outcome.entry_no), second.setl_id):
        assert (await clinic.cancel(setl_id)).code == ResponseCode.APPROVED
    nothing = Accumulated(0, 0, 0, 0, 0)
    assert await used(clinic, PERSON) == {"chronic": nothing, "hifmi_pay": nothing}
    assert (await clinic.database.report(trial_balance)).is_equal


async def test_what_a_scheme_does_not_cover_is_told_as_it_was(clinic: Counter) -> None:
    lines = structs.replace(bill(("A1", 90_000), ("B1", 10_000), med_type="14"), disease="M039")
    outcome = await clinic.settle(lines)
    ((stored,),) = await clinic.database.fetch(DETAIL())
    detail = decode_detail(stored)
    assert decode_detail(encode_detail(detail)) == detail
    assert detail.line_splits[1].item_class == 3
    assert detail.facts is not None
    assert detail.facts.uncovered == (Uncovered(1, 2, 1000, is_insured=True),)
    asked = lines_as_decided(detail)
    assert asked is not None
    assert read_detail(stored).lines == asked
    assert (asked[1].item_class, asked[1].is_covered) == (2, True)
    policy = clinic.rules.policies.find("310", "110105", "14", TODAY)
    assert policy is not None
    again = adjudicate(
        policy, detail.facts.case, asked, {}, detail.facts.purses, explain=True
    )  # fmt: skip
    assert isinstance(again, Adjudication)
    assert split_message(again.split) == SETTLED.decode(outcome.body).split
    told = [step.text_en for step in again.explanation if "Line 2" in step.text_en]
    assert told[-1] == "Line 2: not among the scheme's items, the patient's own: 100.00"


async def test_a_disease_that_is_not_filed_is_not_covered(clinic: Counter) -> None:
    other = structs.replace(CHRONIC, disease="M777")
    for one in (other, structs.replace(CHRONIC, disease="")):
        outcome = await clinic.settle(one, shown=(0, 0, 0))
        assert outcome.code == ResponseCode.POLICY_NOT_FOUND


async def test_excluded_care_is_refused_in_the_policys_words(clinic: Counter) -> None:
    outcome = await clinic.settle(CHRONIC, RETIRED, shown=(0, 0, 0))
    assert outcome.code == ResponseCode.CARE_EXCLUDED
    assert "退休另行规定" in outcome.detail_zh
    assert "special[0].excluded[0]" in outcome.detail_en
