"""The commands as processes against the in-test centre."""

import asyncio
import contextlib
import signal
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography import x509

from protocol.terminal import messages as m
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType
from terminals.commands.desk import Desk, run
from terminals.commands.result import ExitStatus, Result
from terminals.outbox import Outbox
from terminals.state import KeptCard, load_state, save_state
from tests.terminals.shell import OPERATOR, PASSWORD, Ran, Shell

BILL = """
insutype = "310"
med_type = "11"
invono = "INV-0001"
[[lines]]
med_list_codg = "XB05BA"
name = "氯化钠注射液 sodium chloride"
pric = 4.52
cnt = 5
[[lines]]
med_list_codg = "ZA01"
pric = "2.50"
"""


@pytest.fixture
def shell(config: Any, config_file: Path) -> Shell:
    assert config.centre.port
    (config_file.parent / "bill.toml").write_text(BILL, encoding="utf-8")
    (config_file.parent / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    return Shell(config_file.parent)


@pytest.fixture
async def signed_on(shell: Shell) -> Shell:
    ran = await shell("sign-on", "--operator", OPERATOR, "--password-file", "password", "--json")
    assert ran.status == 0, ran
    return shell


@pytest.fixture
def with_card(signed_on: Shell) -> Shell:
    """A terminal that has just opened a card."""
    file = signed_on.directory / "state.json"
    state = load_state(file)
    card = KeptCard(b"session", 2**52, "11000000000001", "张*")
    save_state(file, type(state)(state.sign_on, card))
    return signed_on


async def test_sign_on_is_kept_in_a_private_file_and_used_by_later_commands(
    centre: Any, signed_on: Shell
) -> None:
    file = signed_on.directory / "state.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text()
    ran = await signed_on("member", "111111198101011110", "--json")
    assert ran.status == 0
    assert ran.json["result"]["person"]["name"] == "张三"
    assert centre.sign_ons == 1


async def test_the_password_is_asked_where_no_file_is_named(shell: Shell) -> None:
    ran = await shell("sign-on", "--operator", OPERATOR, "--json", stdin=PASSWORD + "\n")
    assert ran.status == 0, ran
    ran = await shell("sign-on", "--operator", OPERATOR, "--json", stdin="wrong\n")
    assert ran.status == 1
    assert ran.json["code"] == ResponseCode.OPERATOR_REFUSED


async def test_commands_without_sign_on_are_refused(shell: Shell) -> None:
    ran = await shell("member", "1", "--json")
    assert (ran.status, ran.json["code"]) == (1, ResponseCode.NOT_SIGNED_ON)
    assert ran.json["retry"] == "sign_on"


async def test_sign_off_forgets(signed_on: Shell) -> None:
    assert (await signed_on("sign-off")).status == 0
    assert load_state(signed_on.directory / "state.json").sign_on is None


async def test_echo_shows_what_it_took(shell: Shell) -> None:
    ran = await shell("echo", "--count", "3", "--json")
    assert ran.status == 0
    assert len(ran.json["result"]["times_ms"]) == 3
    assert ran.json["took_ms"] > 0
    assert ran.json["stages_us"] == {"decode": 12, "commit": 850}
    text = await shell("echo")
    assert "成功 approved" in text.out
    assert " ms" in text.out


async def test_a_settlement_that_is_interrupted_is_in_doubt(centre: Any, with_card: Shell) -> None:
    """Not a local fault: that would say that nothing was committed."""
    sent = asyncio.Event()

    async def settle_unheard(_peer: Any, request: m.Request) -> Any:
        kept = centre.keep(request)
        sent.set()
        await asyncio.sleep(20)
        return kept

    centre.rule(MessageType.SETTLE, settle_unheard)
    process = await asyncio.create_subprocess_exec(
        str(with_card.program), "settle", "bill.toml", "--yes", "--json",
        cwd=with_card.directory, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await asyncio.wait_for(sent.wait(), 20)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    ran = Ran(process.returncode or 0, out.decode(), "")
    assert (ran.status, ran.json["status"]) == (2, "outcome unknown")
    ran = await with_card("outbox", "--resolve", "--json")
    assert (ran.status, ran.json["result"]["open"]) == (0, 0)
    assert centre.settlements == 1


async def test_a_fault_after_the_result_was_shown_changes_nothing_of_it(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def approved(_desk: Desk) -> Result:
        return Result(status=ExitStatus.APPROVED)

    async def fail(_desk: Desk) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Desk, "finish", fail)
    with pytest.raises(typer.Exit) as ended:
        await asyncio.to_thread(run, "settle", config_file, approved, as_json=True)
    assert ended.value.exit_code == ExitStatus.APPROVED
    printed = capsys.readouterr()
    assert '"status":"approved"' in printed.out
    assert "RuntimeError: broken" in printed.err


async def test_a_settlement_whose_answer_cannot_be_written_down_is_in_doubt(
    centre: Any, with_card: Shell
) -> None:
    """A disk that fills up meanwhile must not make it look as if nothing had been committed."""
    file = with_card.directory / "outbox.sqlite"

    async def settle_on_a_full_disk(_peer: Any, request: m.Request) -> Any:
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON attempt"
                " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        return centre.keep(request)

    centre.rule(MessageType.SETTLE, settle_on_a_full_disk)
    ran = await with_card("settle", "bill.toml", "--yes", "--json")
    assert (ran.status, ran.json["status"]) == (2, "outcome unknown")
    assert "disk is full" in ran.json["detail_en"]
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("DROP TRIGGER full")
        database.execute("UPDATE attempt SET worked_until_ms = 0")
        database.commit()
    ran = await with_card("outbox", "--resolve", "--json")
    assert (ran.status, ran.json["result"]["open"]) == (0, 0)
    assert centre.settlements == 1


async def test_preview_shows_split_and_explanation(with_card: Shell) -> None:
    ran = await with_card("preview", "bill.toml", "--json")
    assert ran.status == 0, ran
    result = ran.json["result"]
    assert result["split"]["total_fen"] == 2_510
    assert result["split"]["fund_pay_fen"] == 753
    assert result["explanation"][0]["field"] == "hifp_pay"
    text = await with_card("preview", "bill.toml")
    assert "统筹支付 30% = 7.53" in text.out
    assert "25.10" in text.out


async def test_settle_asks_and_takes_no_for_an_answer(centre: Any, with_card: Shell) -> None:
    no = await with_card("settle", "bill.toml", stdin="n\n")
    assert no.status == 1
    assert centre.settlements == 0
    yes = await with_card("settle", "bill.toml", stdin="y\n")
    assert yes.status == 0, yes
    assert centre.settlements == 1
    settle = next(one for one in centre.requests if one.type == MessageType.SETTLE)
    assert settle.card_session == b"session"


async def test_settle_and_what_follows(centre: Any, with_card: Shell) -> None:
    settled = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    assert settled["status"] == "approved"
    assert settled["business_date"] == "2026-11-21"
    assert settled["result"]["split"]["cash_fen"] == 757
    setl_id = settled["result"]["setl_id"]

    known = (await with_card("status", "--json")).json["result"]
    assert (known["state"], known["setl_id"]) == ("settled", setl_id)
    assert known["body"]["setl_id"] == setl_id

    first = (await with_card("receipt", "--json")).json["result"]
    assert first["receipt"]["holder"] == "张*"
    assert not first["receipt"]["is_copy"]
    assert "副本 COPY" not in first["text"]
    assert first["copies_before"] == 0
    second = (await with_card("receipt", setl_id, "--json")).json["result"]
    assert second["receipt"]["is_copy"]
    assert "副本 COPY" in second["text"]
    assert second["copies_before"] == 1

    cancelled = (await with_card("cancel", "--yes", "--json")).json
    assert cancelled["status"] == "approved"
    assert cancelled["result"]["cancels"] == setl_id
    assert centre.settlements == 0
    refund = await with_card("receipt")
    assert "退费结算单" in refund.out
    assert "已撤销 VOID" in (await with_card("receipt", setl_id, "--no-ack")).out

    again = await with_card("cancel", setl_id, "--yes", "--json")
    assert (again.status, again.json["code"]) == (1, ResponseCode.ALREADY_UNDONE)


async def test_a_lost_reply_is_resolved_within_the_command(centre: Any, with_card: Shell) -> None:
    centre.rule(MessageType.SETTLE, centre.lose_reply)
    ran = await with_card("settle", "bill.toml", "--yes", "--json")
    assert ran.status == 0
    assert ran.json["result"]["ended_by"] == "status"
    assert centre.settlements == 1


async def test_a_doubt_is_exit_status_two_and_resolved_later(centre: Any, with_card: Shell) -> None:
    centre.rule(MessageType.SETTLE, centre.lose_reply)
    centre.rule(MessageType.STATUS, *[centre.lose_request] * 100)
    ran = await with_card("settle", "bill.toml", "--yes", "--json")
    assert ran.status == 2, ran
    assert ran.json["status"] == "outcome unknown"
    listed = await with_card("outbox", "--json")
    assert listed.status == 2
    assert [one["state"] for one in listed.json["result"]["attempts"]] == ["unknown"]
    shown = (await with_card("outbox")).out
    assert f"{ran.json['msgid']}  结算 settle" in shown
    assert "结果未知 unknown" in shown

    centre.rules.clear()
    again = await with_card("settle", "bill.toml", "--yes", "--json")
    assert again.status == 0, again
    assert again.json["msgid"] == ran.json["msgid"], "the same bill follows the same attempt"
    assert again.json["result"]["taken_up"]
    assert centre.settlements == 1
    assert (await with_card("outbox", "--json")).status == 0


async def test_a_bill_whose_settlement_was_not_seen_is_not_settled_twice(
    centre: Any, with_card: Shell
) -> None:
    """The power went after the answer was written down and before it was shown."""
    unseen = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    again = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    assert again["status"] == "approved"
    assert again["result"]["taken_up"]
    assert again["result"]["setl_id"] == unseen["result"]["setl_id"]
    assert again["result"]["split"] == unseen["result"]["split"]
    assert centre.settlements == 1
    assert "此前已提交" in (await with_card("settle", "bill.toml", "--yes")).out
    await with_card("cancel", "--yes")
    anew = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    assert anew["result"]["setl_id"] != unseen["result"]["setl_id"], "a cancelled one may come anew"
    assert centre.settlements == 1


async def test_equal_bills_without_an_invoice_are_told_of(centre: Any, with_card: Shell) -> None:
    """They may be two sales: the cashier is told, and decides."""
    bill = BILL.replace('invono = "INV-0001"\n', "")
    (with_card.directory / "plain.toml").write_text(bill, encoding="utf-8")
    first = await with_card("settle", "plain.toml", "--yes", "--json")
    assert "相同账单" not in first.err
    second = await with_card("settle", "plain.toml", "--yes", "--json")
    assert not second.json["result"]["taken_up"]
    assert "相同账单" in second.err
    assert first.json["result"]["setl_id"] in second.err
    assert centre.settlements == 2


async def test_a_doubt_is_told_of_at_sign_on_and_why_it_stays_one(
    centre: Any, with_card: Shell
) -> None:
    """After a power cut the cashier signs on: that is where they learn of it."""
    centre.rule(MessageType.SETTLE, centre.lose_reply)
    centre.rule(MessageType.STATUS, *[centre.lose_request] * 100)
    doubt = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    centre.rules.clear()
    centre.sign_no = "another"  # the sign-on has ended meanwhile
    ran = await with_card("outbox", "--resolve")
    assert ran.status == 2
    assert f"{doubt['msgid']}: 20" in ran.out
    ran = await with_card("sign-on", "--operator", OPERATOR, "--password-file", "password")
    assert ran.status == 0
    assert "1 笔结果未知，请先执行 outbox --resolve" in ran.out
    assert (await with_card("outbox", "--resolve", "--json")).status == 0


async def test_the_last_one_is_never_the_patient_before(centre: Any, with_card: Shell) -> None:
    """While the present patient's settlement is in doubt, `last` doesn't mean another's."""
    before = (await with_card("settle", "bill.toml", "--yes", "--json")).json
    other = BILL.replace("INV-0001", "INV-0002")
    (with_card.directory / "other.toml").write_text(other, encoding="utf-8")
    centre.rule(MessageType.SETTLE, centre.lose_request)
    centre.rule(MessageType.STATUS, *[centre.lose_request] * 100)
    doubt = await with_card("settle", "other.toml", "--yes", "--json")
    assert doubt.status == 2, doubt
    asked = len(centre.requests)
    for command in (("cancel", "--yes"), ("refund", "--line", "1", "--yes"), ("receipt",)):
        ran = await with_card(*command, "--json")
        assert (ran.status, ran.json["msgid"]) == (2, doubt.json["msgid"]), command
    assert len(centre.requests) == asked, "nothing was done to the settlement before"
    ran = await with_card("receipt", doubt.json["msgid"], "--json")
    assert ran.status == 2
    asks = await with_card("cancel", before["result"]["setl_id"], stdin="n\n")
    assert asks.status == 1
    assert "张*  25.10" in asks.err


async def test_outbox_resolves_what_a_killed_command_left(centre: Any, with_card: Shell) -> None:
    started = asyncio.Event()

    async def stuck(_peer: Any, _request: m.Request) -> Any:
        started.set()
        await asyncio.sleep(60)
        raise ConnectionAbortedError

    centre.rule(MessageType.SETTLE, stuck)
    process = await asyncio.create_subprocess_exec(
        str(with_card.program), "settle", "bill.toml", "--yes",
        cwd=with_card.directory, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await asyncio.wait_for(started.wait(), 20)
    process.kill()
    await process.wait()
    with Outbox(with_card.directory / "outbox.sqlite") as outbox:
        (attempt,) = outbox.open_attempts()
        outbox.release(attempt.msgid)  # as if the killed command's time were up
    ran = await with_card("outbox", "--reverse", "--json")
    assert ran.status == 0, ran
    assert ran.json["result"]["resolved"] == [attempt.msgid]
    assert attempt.msgid in centre.tombstones
    events = await with_card("outbox", "--events", attempt.msgid, "--json")
    assert [one["what"] for one in events.json["result"]["events"]][-1] == "reversed"


async def test_reverse_what_was_never_seen_leaves_a_tombstone(
    centre: Any, signed_on: Shell
) -> None:
    msgid = "H11010500001202611211200000000"
    ran = await signed_on("reverse", msgid, "--yes", "--json")
    assert ran.status == 0
    assert ran.json["result"]["result"] == "not_found"
    assert msgid in centre.tombstones


async def test_eligibility_and_why_not(with_card: Shell) -> None:
    yes = (await with_card("eligibility", "--json")).json
    assert yes["result"]["is_entitled"]
    no = (await with_card("eligibility", "--insutype", "330", "--json")).json
    assert no["result"]["reason"] == ResponseCode.COVERAGE_PAUSED


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("settle",), "Missing argument"),
        (("nonsense",), "No such command"),
        (("settle", "bill.toml", "--json"), "needs --yes"),
        (("settle", "absent.toml", "--yes"), "absent.toml"),
        (("receipt",), "no such settlement"),
        (("echo", "--config", "absent.toml"), "absent.toml"),
        (("cancel", "--yes"), "no settlement"),
        (("eligibility", "--date", "yesterday"), "date is not valid"),
    ],
)
async def test_what_is_wrong_here_is_exit_status_three(
    shell: Shell, arguments: tuple[str, ...], text: str
) -> None:
    ran = await shell(*arguments)
    assert ran.status == 3, ran
    assert text in ran.out + ran.err


async def test_a_centre_that_is_not_there_is_a_local_fault(shell: Shell) -> None:
    file = shell.directory / "terminal.toml"
    text = file.read_text().replace("[limits]", "[limits]\nretries_max = 1")
    port = next(line for line in text.splitlines() if line.startswith("port"))
    file.write_text(text.replace(port, "port = 1"))
    ran = await shell("echo", "--json")
    assert ran.status == 3
    assert "cannot connect" in ran.json["detail_en"]


async def test_init_makes_a_private_key_and_a_request(tmp_path: Path, certificates: Path) -> None:
    shell = Shell(tmp_path)
    arguments = (
        "init", "desk", "--institution", "H11010500001", "--terminal", "T09",
        "--ca", str(certificates / "ca.pem"), "--port", "7444", "--json",
    )  # fmt: skip
    made = await shell(*arguments)
    assert made.status == 0, made
    folder = tmp_path / "desk"
    assert stat.S_IMODE((folder / "terminal.key").stat().st_mode) == 0o600
    request = x509.load_pem_x509_csr((folder / "terminal.csr").read_bytes())
    assert request.is_signature_valid
    assert "enrol-terminal" in made.json["result"]["next"]
    key = (folder / "terminal.key").read_bytes()
    again = await shell(*arguments)
    assert again.status == 3
    assert (folder / "terminal.key").read_bytes() == key


async def test_init_refuses_what_the_centre_would(tmp_path: Path, certificates: Path) -> None:
    ran = await Shell(tmp_path)(
        "init", "desk", "--institution", "too short", "--terminal", "T09",
        "--ca", str(certificates / "ca.pem"), "--json",
    )  # fmt: skip
    assert ran.status == 3
    assert "$.terminal.institution" in ran.json["detail_en"]
    assert not (tmp_path / "desk").exists()


@pytest.mark.parametrize(
    ("command", "type_", "asks"),
    [
        (
            (
                "clearing",
                "apply",
                "202610",
                "--type",
                "11",
                "--settled-count",
                "1",
                "--settled",
                "1",
            ),
            MessageType.CLEARING_APPLY,
            "clearing query 202610",
        ),
        (("clearing", "cancel", "7"), MessageType.CLEARING_CANCEL, "clearing query"),
        (
            ("review", "appeal", "2026110000017", "--reason", "see file", "--yes"),
            MessageType.REVIEW_APPEAL,
            "review show 2026110000017",
        ),
    ],
)
async def test_what_is_recorded_without_an_outbox_is_unknown_without_its_answer(
    centre: Any, signed_on: Shell, command: tuple[str, ...], type_: MessageType, asks: str
) -> None:
    """Not a local fault, after which nothing would have been changed; nor a refusal."""
    file = signed_on.directory / "terminal.toml"
    text = file.read_text(encoding="utf-8")
    limits = "[limits]\nrequest_timeout_ms = 300"
    file.write_text(text.replace("[limits]", limits), encoding="utf-8")

    async def silent(_peer: Any, _request: m.Request) -> Any:
        await asyncio.sleep(20)
        return 0, None

    centre.rule(type_, silent, centre.refusing(ResponseCode.SYSTEM_ERROR))
    for _ in range(2):
        ran = await signed_on(*command, "--json")
        assert (ran.status, ran.json["status"]) == (2, "outcome unknown")
        assert asks in ran.json["text_en"]
        assert asks in ran.json["text_zh"]
