"""EXPLAIN: by the version that decided, from what was kept, and never what was not decided."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from msgspec import msgpack, structs

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import read_view
from cardserver.claims.explaining import explained, retell
from cardserver.claims.settled_store import Archive
from cardserver.claims.values import Claim, Needs
from cardserver.registry import tables as registry
from ledger.bulk_store import insert, plain
from ledger.ledger_store import GroupTime
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import ExplainResult
from tests.cardserver.claims.fund import COMMUNITY, PERSON, Counter, bill
from tests.cardserver.claims.refunds import told

POLICY = Path(__file__).parents[3] / "cardserver/benefits/policies/beijing_employees.toml"


async def claim_of(counter: Counter, number: int) -> Claim:
    view = await counter.database.fetch_script(
        read_view(Needs(claim_no=number), GroupTime(0, 0, 0))
    )
    return view.book.claims[number]


async def settled(counter: Counter) -> int:
    await counter.settle(bill(("A1", 100_000)))
    outcome = await counter.settle(bill(("A1", 120_000), ("B1", 10_000), ("L1", 15_000)))
    assert outcome.entry_no is not None
    return outcome.entry_no


async def test_the_steps_add_up_to_what_was_settled(counter: Counter) -> None:
    number = await settled(counter)
    await counter.settle(bill(("A1", 700_000)))  # what came after changes nothing
    found = await told(counter, str(number))
    assert isinstance(found, messages.Explained)
    assert (found.result, found.next_line, found.next_step) == (ExplainResult.EXPLAINED, 0, 0)
    for field in messages.Split.__struct_fields__:
        steps = [step.amount_fen for step in found.explanation if step.field == field]
        if steps:
            assert sum(steps) == getattr(found.split, field), field
    for layer in found.split.layers:
        steps = [step.amount_fen for step in found.explanation if step.field == layer.field]
        assert sum(steps) == layer.paid_fen
    assert found.explanation[0].text_zh
    assert found.explanation[0].text_en
    assert [line.item for line in found.lines] == ["A1", "B1", "L1"]
    assert sum(split.in_scope_fen for split in found.line_splits) == found.split.in_scope_fen


async def test_an_undoing_names_what_it_undoes(counter: Counter) -> None:
    number = await settled(counter)
    cancelled = await counter.cancel(str(number))
    found = await told(counter, str(cancelled.entry_no))
    assert isinstance(found, messages.Explained)
    assert (found.result, found.undoes) == (ExplainResult.UNDOING, str(number))
    assert (found.explanation, found.lines) == ((), ())
    original = await told(counter, str(number))
    assert isinstance(original, messages.Explained)
    assert original.undone_by == str(cancelled.entry_no)
    assert original.result is ExplainResult.EXPLAINED


async def test_another_institution_is_told_nothing(counter: Counter) -> None:
    number = await settled(counter)
    assert await told(counter, str(number), COMMUNITY) is ResponseCode.ORIGINAL_NOT_FOUND


async def change_detail(counter: Counter, number: int, index: int, value: object) -> None:
    read = f"SELECT detail FROM claim WHERE entry_no = {number}"
    ((detail,),) = await counter.database.fetch(plain("read", postgresql=read, sqlite=read)())
    kept = msgpack.decode(detail)
    kept[index] = value
    write = plain(
        "write",
        postgresql="UPDATE claim SET detail = $1 WHERE entry_no = $2",
        sqlite="UPDATE claim SET detail = ? WHERE entry_no = ?",
    )
    await counter.database.execute(write([(msgpack.encode(kept), number)]))


@pytest.mark.parametrize(("index", "amount"), [(3, 1), (1, 5)])
async def test_what_was_kept_otherwise_is_not_explained(
    counter: Counter, index: int, amount: int
) -> None:
    """Element 3 is what accumulators were moved by, element 1 the split."""
    number = await settled(counter)
    read = f"SELECT detail FROM claim WHERE entry_no = {number}"
    ((detail,),) = await counter.database.fetch(plain("read", postgresql=read, sqlite=read)())
    changed = msgpack.decode(detail)[index]
    changed[amount] += 1
    await change_detail(counter, number, index, changed)
    found = await told(counter, str(number))
    assert isinstance(found, messages.Explained)
    assert found.result is ExplainResult.NOT_REPRODUCED
    assert found.explanation == ()
    assert found.lines != ()
    claim = await claim_of(counter, number)
    policy = counter.rules.policies.by_identity(claim.policy)
    assert policy is not None
    assert retell(claim, policy, explain=True).difference


async def test_a_version_that_was_replaced_still_explains(counter: Counter) -> None:
    number = await settled(counter)
    empty = dataclasses.replace(counter.rules, policies=PolicyBook(()))
    archive = Archive(counter.database)
    policy = await archive.of_settlement(empty.policies, str(number))
    assert policy is None
    claim = await claim_of(counter, number)
    assert retell(claim, None, explain=True).result is ExplainResult.POLICY_NOT_KNOWN

    text = POLICY.read_text(encoding="utf-8")
    version = load_policy(text)
    assert version.identity == claim.policy
    columns = ("name", "begins", "sha256", "text", "activated_time_ms")
    row = (version.name, version.begins, hashlib.sha256(text.encode()).digest(), text, 1)
    later = (version.name, version.begins, bytes(32), "replaced by this", 2)
    await counter.database.execute(insert(registry.policy, columns)([row, later]))
    found = await Archive(counter.database).of_settlement(empty.policies, str(number))
    assert found is not None
    assert retell(claim, found, explain=True).result is ExplainResult.EXPLAINED


async def test_pages_fit_and_put_together_are_the_whole(counter: Counter) -> None:
    number = await settled(counter)
    claim = await claim_of(counter, number)
    policy = counter.rules.policies.by_identity(claim.policy)
    retold = retell(claim, policy, explain=True)
    assert retold.adjudication is not None
    steps = tuple(
        structs.replace(step, text_zh="长" * 500, text_en="x" * 500)
        for step in retold.adjudication.explanation
    )
    assert len(steps) * 2_000 > 24_576
    longer = structs.replace(
        retold, adjudication=structs.replace(retold.adjudication, explanation=steps)
    )
    told_steps: list[messages.ExplanationStep] = []
    first = 0
    while True:
        page = explained(claim, longer, claim_no=number, undone_by=0, first_step=first)
        assert len(msgpack.encode(page)) < 60_000
        assert page.explanation
        told_steps += page.explanation
        first = page.next_step
        if not first:
            break
    assert len(told_steps) == len(steps)
    beyond = explained(claim, retold, claim_no=number, undone_by=0, first_line=99, first_step=999)
    assert (beyond.lines, beyond.explanation, beyond.next_line, beyond.next_step) == ((), (), 0, 0)
    assert claim.presented.person_no == PERSON
