"""`cardterminal visit`: outpatient visits and inpatient stays, until they are settled."""

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from msgspec.structs import replace

from protocol.terminal.messages import (
    VISIT_LINES_MAX,
    Admit,
    Discharge,
    DischargeCancel,
    LinesCancel,
    MessageType,
    Register,
    VisitCancel,
    VisitLine,
    VisitLineState,
    VisitQuery,
)
from terminals.answer import Answer
from terminals.bill_file import BillFileError
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, Yes, run
from terminals.commands.findings import Override
from terminals.commands.result import Result, fault, result_of
from terminals.commands.settlement import (
    CertificateNumber,
    CertificateType,
    ExceptionName,
    Reason,
    declined,
    may_go_on,
    named_exception,
    preview_result,
    previewed,
)
from terminals.commands.visit_actions import (
    UsageError,
    Wanted,
    all_lines,
    begun,
    bill_of,
    changed_result,
    day_named,
    found_result,
    quantity_e4_of,
    sent,
    settled,
    visit_id,
)
from terminals.visit_file import gross_of, load_lines

app = typer.Typer(
    help="就诊 Outpatient visits and inpatient stays, from registration to settlement.",
    no_args_is_help=True,
)

VisitName = Annotated[
    str, typer.Argument(help="就诊编号 mdtrt_id, or 'last': the one begun last at this terminal.")
]
Day = Annotated[str, typer.Option("--date", help="日期 YYYY-MM-DD; without it, today.")]
Until = Annotated[str, typer.Option(help="截止日期 The last day whose lines count, YYYY-MM-DD.")]
MedType = Annotated[str, typer.Option(help="医疗类别 11 outpatient, 21 inpatient ...")]
Insutype = Annotated[str, typer.Option(help="险种 310 employees, 390 residents ...")]
Number = Annotated[str, typer.Option(help="门诊号/住院号 The institution's own number.")]
Department = Annotated[str, typer.Option(help="科室 Code of the department.")]
Doctor = Annotated[str, typer.Option(help="医师 Code of the doctor.")]
Diagnosis = Annotated[str, typer.Option(help="诊断 Diagnosis, in words.")]
Disease = Annotated[str, typer.Option(help="病种 Code of a chronic or special disease.")]
Emergency = Annotated[bool, typer.Option("--emergency", help="急诊 Came as an emergency.")]
UsesAccount = Annotated[
    bool, typer.Option("--account/--no-account", help="个人账户 Whether the account pays.")
]
Invoice = Annotated[str, typer.Option(help="发票号 The institution's invoice number.")]
Action = Callable[[Desk], Awaitable[Result]]


@app.command()
def register(  # noqa: PLR0913 - each is an option of its own
    *,
    number: Number,
    date: Day = "",
    med_type: MedType = "11",
    insutype: Insutype = "310",
    department: Department = "",
    doctor: Doctor = "",
    diagnosis: Diagnosis = "",
    disease: Disease = "",
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    config: ConfigFile = DEFAULT_CONFIG,
    emergency: Emergency = False,
    as_json: AsJSON = False,
) -> None:
    """挂号登记 Begin an outpatient visit of the patient whose card was opened."""

    async def act(desk: Desk) -> Result:
        named = named_exception(exception, certificate_type, certificate_number)
        body = Register(
            insutype, med_type, day_named(date), number, department, doctor, diagnosis, disease,
            emergency, named,
        )  # fmt: skip
        return await begun(desk, MessageType.REGISTER, body, named)

    _run("visit register", config, act, as_json=as_json)


@app.command()
def admit(  # noqa: PLR0913 - each is an option of its own
    *,
    number: Number,
    date: Day = "",
    transferred_from: Annotated[
        str, typer.Option("--from", help="转出就诊编号 The stay that this one continues.")
    ] = "",
    med_type: MedType = "21",
    insutype: Insutype = "310",
    department: Department = "",
    doctor: Doctor = "",
    diagnosis: Diagnosis = "",
    disease: Disease = "",
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    config: ConfigFile = DEFAULT_CONFIG,
    emergency: Emergency = False,
    as_json: AsJSON = False,
) -> None:
    """入院登记 Begin an inpatient stay of the patient whose card was opened."""

    async def act(desk: Desk) -> Result:
        named = named_exception(exception, certificate_type, certificate_number)
        body = Admit(
            insutype, med_type, day_named(date), number, department, doctor, diagnosis, disease,
            emergency, transferred_from, named,
        )  # fmt: skip
        return await begun(desk, MessageType.ADMIT, body, named)

    _run("visit admit", config, act, as_json=as_json)


@app.command()
def lines(
    visit: VisitName,
    file: Annotated[Path, typer.Argument(help="明细文件 The lines, TOML, JSON or CSV.")],
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """上传明细 Record lines of a visit; what it has already is not sent again."""

    async def act(desk: Desk) -> Result:
        today = dt.datetime.now(ZoneInfo(desk.config.terminal.time_zone)).date()
        try:
            load_lines(file, today=today, finder=desk.lists)
            mdtrt_id = visit_id(desk, visit)
            known = await all_lines(desk, mdtrt_id)
            if isinstance(known, Answer):
                return result_of(known)
            stand = [one.line for one in known if one.state is not VisitLineState.CANCELLED]
            days = {line.number: line.date for line in stand}
            asked = load_lines(file, today=today, finder=desk.lists, known_days=days)
        except BillFileError as error:
            return fault("明细文件错误", "the file has no lines", str(error))
        # A newer catalogue may give an item another name; a line without a day has its first one.
        had = {replace(line, name="") for line in stand}
        new = [line for line in asked if replace(line, name="") not in had]
        if not new:
            return await found_result(desk, VisitQuery(mdtrt_id), sent=0, known=len(asked))
        return await sent(desk, mdtrt_id, new, known=len(asked) - len(new))

    _run("visit lines", config, act, as_json=as_json)


@app.command("cancel-lines")
def cancel_lines(
    visit: VisitName,
    numbers: Annotated[
        list[str] | None, typer.Argument(help="明细流水号 Which; see --all.")
    ] = None,
    reason: Reason = "录入错误 entered by mistake",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="全部未结算明细 All that are not settled.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """撤销明细 Take lines back that are not settled, as if they had not been sent."""

    async def act(desk: Desk) -> Result:
        named = tuple(numbers or ())
        if everything is bool(named):
            return fault("须给出流水号，或 --all", "name lines, or all of them with --all")
        if len(named) > VISIT_LINES_MAX:
            return fault("明细过多", f"at most {VISIT_LINES_MAX} at once")
        mdtrt_id = visit_id(desk, visit)
        body = LinesCancel(mdtrt_id, named, reason)
        return changed_result(await desk.runner.record(MessageType.LINES_CANCEL, body))

    _run("visit cancel-lines", config, act, as_json=as_json)


@app.command("refund-line")
def refund_line(
    visit: VisitName,
    line: Annotated[str, typer.Argument(help="原明细流水号 The line refunded.")],
    number: Annotated[str, typer.Option(help="退费流水号 The refund's own number.")],
    count: Annotated[
        str, typer.Option(help="数量 How many are given back; without it, all that is left.")
    ] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """退费 Give back a part of a line, or all of it, before it is settled."""

    async def act(desk: Desk) -> Result:
        mdtrt_id = visit_id(desk, visit)
        known = await all_lines(desk, mdtrt_id)
        if isinstance(known, Answer):
            return result_of(known)
        found = next((one for one in known if one.line.number == line), None)
        if found is None:
            return fault("无此明细", "the visit has no such line", line)
        taken_e4 = quantity_e4_of(count) if count else found.left_e4
        left_e4 = max(found.left_e4 - taken_e4, 0)
        price = found.line.price_microyuan
        zone = ZoneInfo(desk.config.terminal.time_zone)
        refund = VisitLine(
            number=number,
            date=max(found.line.date, dt.datetime.now(zone).date()),
            item=found.line.item,
            name=found.line.name,
            price_microyuan=price,
            quantity_e4=-taken_e4,
            gross_fen=gross_of(price, left_e4) - gross_of(price, found.left_e4),
            refunds=line,
        )
        return await sent(desk, mdtrt_id, [refund], known=0)

    _run("visit refund-line", config, act, as_json=as_json)


@app.command()
def preview(  # noqa: PLR0913 - each is an option of its own
    visit: VisitName,
    *,
    until: Until = "",
    override: Override = "",
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    config: ConfigFile = DEFAULT_CONFIG,
    account: UsesAccount = True,
    as_json: AsJSON = False,
) -> None:
    """预结算 Show how the unsettled lines would split; nothing is committed."""

    async def act(desk: Desk) -> Result:
        named = named_exception(exception, certificate_type, certificate_number)
        bill = await bill_of(desk, Wanted(visit, day_named(until), uses_account=account))
        if isinstance(bill, Answer):
            return result_of(bill)
        asked, shown = bill
        return preview_result(await previewed(desk, asked, named, override), shown)

    _run("visit preview", config, act, as_json=as_json)


@app.command()
def settle(  # noqa: PLR0913 - each is an option of its own
    visit: VisitName,
    *,
    invoice: Invoice = "",
    override: Override = "",
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    config: ConfigFile = DEFAULT_CONFIG,
    account: UsesAccount = True,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """结算 Settle all unsettled lines; a stay must have been discharged."""

    async def act(desk: Desk) -> Result:
        if as_json and not yes:
            return declined(as_json=True)
        named = named_exception(exception, certificate_type, certificate_number)
        wanted = Wanted(visit, None, uses_account=account, invoice=invoice, is_last=True)
        return await settled(desk, wanted, named, override=override, asks=not yes)

    _run("visit settle", config, act, as_json=as_json)


@app.command()
def interim(  # noqa: PLR0913 - each is an option of its own
    visit: VisitName,
    *,
    until: Until,
    invoice: Invoice = "",
    override: Override = "",
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    config: ConfigFile = DEFAULT_CONFIG,
    account: UsesAccount = True,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """中途结算 Settle the unsettled lines up to a day; the stay goes on."""

    async def act(desk: Desk) -> Result:
        if as_json and not yes:
            return declined(as_json=True)
        named = named_exception(exception, certificate_type, certificate_number)
        wanted = Wanted(visit, day_named(until), uses_account=account, invoice=invoice)
        return await settled(desk, wanted, named, override=override, asks=not yes)

    _run("visit interim", config, act, as_json=as_json)


@app.command()
def discharge(
    visit: VisitName,
    date: Day = "",
    outcome: Annotated[str, typer.Option(help="离院方式 1 cured, 2 transferred ...")] = "1",
    diagnosis: Diagnosis = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """出院 End a stay; its final settlement follows."""

    async def act(desk: Desk) -> Result:
        body = Discharge(visit_id(desk, visit), day_named(date), outcome, diagnosis)
        return changed_result(await desk.runner.record(MessageType.DISCHARGE, body))

    _run("visit discharge", config, act, as_json=as_json)


@app.command("discharge-cancel")
def discharge_cancel(
    visit: VisitName,
    reason: Reason = "继续住院 the stay goes on",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """撤销出院 Have a stay go on, while no settlement made since its discharge stands."""

    async def act(desk: Desk) -> Result:
        body = DischargeCancel(visit_id(desk, visit), reason)
        question = f"撤销出院 cancel the discharge of {body.mdtrt_id}?"
        if not may_go_on(question, yes=yes, as_json=as_json):
            return declined(as_json=as_json)
        return changed_result(await desk.runner.record(MessageType.DISCHARGE_CANCEL, body))

    _run("visit discharge-cancel", config, act, as_json=as_json)


@app.command()
def cancel(
    visit: VisitName,
    reason: Reason = "登记错误 registered by mistake",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """撤销登记 Take a registration or admission back, while nothing of it is settled."""

    async def act(desk: Desk) -> Result:
        body = VisitCancel(visit_id(desk, visit), reason)
        if not may_go_on(f"撤销登记 cancel visit {body.mdtrt_id}?", yes=yes, as_json=as_json):
            return declined(as_json=as_json)
        return changed_result(await desk.runner.record(MessageType.VISIT_CANCEL, body))

    _run("visit cancel", config, act, as_json=as_json)


@app.command()
def show(
    visit: Annotated[
        str, typer.Argument(help="就诊编号 mdtrt_id, or 'last'; without it, the patient's.")
    ] = "",
    until: Until = "",
    psn_no: Annotated[
        str, typer.Option("--person", help="人员编号 Whose, without a card and a visit.")
    ] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """查询 Show how a visit stands with its lines, or which visits a patient has here."""

    async def act(desk: Desk) -> Result:
        if not visit:
            return await found_result(desk, VisitQuery("", psn_no))
        mdtrt_id = visit_id(desk, visit)
        known = await all_lines(desk, mdtrt_id)
        if isinstance(known, Answer):
            return result_of(known)
        return await found_result(desk, VisitQuery(mdtrt_id, "", day_named(until)), lines=known)

    _run("visit show", config, act, as_json=as_json)


def _run(name: str, config: Path, act: Action, *, as_json: bool) -> None:
    async def with_words(desk: Desk) -> Result:
        try:
            return await act(desk)
        except UsageError as error:
            return fault("参数错误", "this can't be meant", str(error))

    run(name, config, with_words, as_json=as_json)
