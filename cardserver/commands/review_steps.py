"""`cardserver review take`, `accept`, `calculate`, `audit` ...: what reviewers do to a case."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated

import typer

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import password_of
from cardserver.commands.review_people import (
    AsJSON,
    CaseNumber,
    OperatorCode,
    PasswordFile,
    desk_of,
    prove_reviewer,
    step,
)
from cardserver.config import load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.review.desk_store import NOTE_SIZE_MAX, ReviewDesk
from cardserver.review.values import Case, Cut, Finding, Refusal, Reviewer, Verdict

Note = Annotated[str, typer.Option(help="说明 For whoever signs next, and the record.")]
Cuts = Annotated[
    list[str] | None,
    typer.Option(
        "--cut",
        metavar="LINE:YUAN:ARTICLE:REASON",
        help="扣减 From a line of the bill (0: the settlement as a whole): 2:12.50:735-15-3:超价."
        " May be given again.",
    ),
]
_CUT = re.compile(r"(\d{1,5}):(\d{1,9})(?:\.(\d{1,2}))?:([^:]{1,40}):(.{1,200})", re.ASCII)


@fail_clearly
def take(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: Annotated[
        int, typer.Argument(metavar="[CASE]", help="案件号 The case; without it --month's next.")
    ] = 0,
    month: Annotated[int, typer.Option(metavar="YYYYMM", help="Take the next of this month.")] = 0,
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Take a case, so that nobody else works on it; without a number the next that is free.

    领取案件。
    """
    if bool(case_no) is bool(month):
        raise AdministrationError("name a case, or --month to take its next 请给出案件号或月份")

    async def act(desk: ReviewDesk, who: Reviewer) -> Case | Refusal:
        return await (desk.take(case_no, who) if case_no else desk.take_next(month, who))

    step(config_file, operator, password_file, act, as_json=as_json)


@fail_clearly
def give_back(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: CaseNumber,
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Give a case back that one has taken.

    退回领取的案件。
    """
    step(
        config_file, operator, password_file, lambda desk, who: desk.give_back(case_no, who),
        as_json=as_json,
    )  # fmt: skip


@fail_clearly
def accept(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: CaseNumber,
    note: Note = "",
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """受理: accept a case that one has taken."""
    said = noted(note)
    step(
        config_file, operator, password_file, lambda desk, who: desk.accept(case_no, who, said),
        as_json=as_json,
    )  # fmt: skip


@fail_clearly
def calculate(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    case_no: CaseNumber,
    *,
    operator: OperatorCode,
    approve: Annotated[bool, typer.Option("--approve", help="同意支付 Nothing is taken.")] = False,
    reject: Annotated[
        str, typer.Option(metavar="ARTICLE", help="不予支付 All that the fund paid; with --note.")
    ] = "",
    cut: Cuts = None,
    note: Note = "",
    password_file: PasswordFile = None,
    as_json: AsJSON = False,
) -> None:
    """核算: propose to approve, to reduce by cuts, or to reject; audit decides."""
    if approve + bool(reject) + bool(cut) != 1:
        raise AdministrationError("say one of --approve, --cut and --reject 请选择一种结论")
    said, cuts = noted(note), cuts_of(cut or ())

    async def act(desk: ReviewDesk, who: Reviewer) -> Case | Refusal:
        if approve:
            finding = Finding(Verdict.APPROVE, (), said)
        elif cuts:
            finding = Finding(Verdict.REDUCE, cuts, said)
        else:
            case = await desk.find(case_no)
            whole_fen = case.fund_pay_fen if case else 0
            finding = Finding(Verdict.REJECT, (Cut(0, whole_fen, reject, said[:200]),), said)
        return await desk.calculate(case_no, who, finding)

    step(config_file, operator, password_file, act, as_json=as_json)


@fail_clearly
def audit(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: CaseNumber,
    note: Note = "",
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """稽查: sign what was calculated; above an amount a second auditor signs too."""
    said = noted(note)
    step(
        config_file, operator, password_file, lambda desk, who: desk.audit(case_no, who, said),
        as_json=as_json,
    )  # fmt: skip


@fail_clearly
def send_back(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: CaseNumber,
    note: Note,
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Have it calculated, or the appeal decided, anew: audit does not agree.

    退回重新核算。
    """
    said = noted(note)
    step(
        config_file, operator, password_file, lambda desk, who: desk.send_back(case_no, who, said),
        as_json=as_json,
    )  # fmt: skip


@fail_clearly
def decide(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    case_no: CaseNumber,
    *,
    operator: OperatorCode,
    grant: Annotated[bool, typer.Option("--grant", help="成立 All is given back.")] = False,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="不成立 The deduction stands.")
    ] = False,
    cut: Cuts = None,
    note: Note,
    password_file: PasswordFile = None,
    as_json: AsJSON = False,
) -> None:
    """申诉裁定: decide an appeal; with cuts it is granted in part, and they are what stays."""
    if grant + dismiss + bool(cut) != 1:
        raise AdministrationError("say one of --grant, --cut and --dismiss 请选择一种结论")
    verdict = Verdict.GRANT if grant else Verdict.DISMISS if dismiss else Verdict.GRANT_PARTLY
    finding = Finding(verdict, cuts_of(cut or ()), noted(note))
    step(
        config_file, operator, password_file,
        lambda desk, who: desk.decide_appeal(case_no, who, finding), as_json=as_json,
    )  # fmt: skip


@fail_clearly
def confirm(
    config_file: ConfigFile,
    operator: OperatorCode,
    case_no: CaseNumber,
    note: Note = "",
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Sign the decision of an appeal for the second time.

    申诉裁定复签。
    """
    said = noted(note)
    step(
        config_file, operator, password_file,
        lambda desk, who: desk.confirm_appeal(case_no, who, said), as_json=as_json,
    )  # fmt: skip


@fail_clearly
def recuse(
    config_file: ConfigFile,
    operator: OperatorCode,
    reason: Annotated[str, typer.Option(help="回避理由 Why.")],
    case_no: Annotated[int, typer.Option("--case", help="案件号 Of one case.")] = 0,
    institution: Annotated[str, typer.Option(help="机构 Of all cases of this institution.")] = "",
    password_file: PasswordFile = None,
) -> None:
    """回避: say that one may not review a case, or an institution's cases; it can't be taken back.

    A case that one has taken is given back with it.
    """
    if bool(case_no) is bool(institution):
        raise AdministrationError("name --case or --institution 请给出案件号或机构")
    config = load_config(config_file)
    password = password_of(operator, password_file)

    async def run() -> Refusal | None:
        async with open_database(config) as database:
            registry = Registry(database)
            who = await prove_reviewer(registry, operator, password)
            found = await registry.institution_by_code(institution) if institution else None
            if institution and found is None:
                raise AdministrationError(f"there is no institution {institution}")
            async with desk_of(config, database) as desk:
                return await desk.declare_conflict(
                    who,
                    institution_no=found.institution_no if found else 0,
                    case_no=case_no,
                    reason=reason,
                )

    refusal = asyncio.run(run())
    if refusal is not None:
        raise AdministrationError(f"{refusal.text_en} {refusal.text_zh}")
    typer.echo(f"{operator}: 已回避 noted, {institution or case_no}")


def cuts_of(texts: Sequence[str]) -> tuple[Cut, ...]:
    """Read cuts as typed.

    Raises:
        AdministrationError: One is not LINE:YUAN:ARTICLE:REASON.
    """
    cuts: list[Cut] = []
    for text in texts:
        match = _CUT.fullmatch(text)
        if match is None:
            raise AdministrationError(f"{text!r} is not LINE:YUAN:ARTICLE:REASON 扣减格式错误")
        line, whole, part, article, reason = match.groups()
        fen = int(whole) * 100 + int((part or "0").ljust(2, "0"))
        cuts.append(Cut(int(line), fen, article, reason))
    return tuple(cuts)


def noted(text: str) -> str:
    """Take a note as typed.

    Raises:
        AdministrationError: It is too long.
    """
    note = text.strip()
    if len(note) > NOTE_SIZE_MAX or "\0" in note:
        raise AdministrationError(f"a note has at most {NOTE_SIZE_MAX} characters 说明过长")
    return note
