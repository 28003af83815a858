"""`cardterminal readers`, `card`, `member`, `eligibility`, `watch`."""

import datetime as dt
from typing import Annotated, Final

import typer
from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.card.profiles.social_security_medical import ITEMS
from protocol.terminal.messages import (
    CardOpened,
    Eligibility,
    EligibilityFound,
    InsuranceState,
    MedicalFile,
    MemberFound,
    MemberQuery,
    MessageType,
    Person,
    PINAction,
    PINResult,
    PINState,
    ProofLevel,
)
from terminals.answer import ClientError, words_of
from terminals.attendance import WatchedReader, attending
from terminals.card_opening import CardOpening
from terminals.commands.attend import counter_of
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, NoCardError, run
from terminals.commands.result import ExitStatus, Result, fault, plain, result_of, show
from terminals.readers.channel import ReaderError
from terminals.readers.pcsc import list_readers, watch
from terminals.receipt import yuan

ReaderName = Annotated[
    str, typer.Option("--reader", "-r", help="读卡器 The reader's name or a part of it.")
]
INSURANCES: Final = {
    "310": "职工医保 employees",
    "320": "公务员补助 civil servants",
    "330": "大额补助 large amounts",
    "340": "离休人员 retired cadres",
    "390": "居民医保 residents",
    "510": "生育保险 maternity",
}
_STATES: Final = {
    InsuranceState.IN_FORCE: "[green]参保 in force[/]",
    InsuranceState.PAUSED: "[yellow]暂停 paused[/]",
    InsuranceState.ENDED: "[red]终止 ended[/]",
}
_PERSON_TYPES: Final = {"11": "在职 active", "12": "退休 retired", "14": "居民 resident"}
_SEXES: Final = {1: "男 male", 2: "女 female"}
_PROOFS: Final = {
    ProofLevel.NONE: "[red]未验证 not proven[/]",
    ProofLevel.UNVERIFIED_CARD: "[yellow]已读未验 read, not verified[/]",
    ProofLevel.GENUINE_CARD: "[green]真卡 genuine[/]",
}
_PINS: Final = {
    PINState.NOT_REQUIRED: "无需密码 not required",
    PINState.REQUIRED: "需密码 required",
    PINState.BLOCKED: "[red]密码锁定 blocked[/]",
    PINState.UNKNOWN: "未知 unknown",
}
_PIN_RESULTS: Final = {
    PINResult.NOT_ASKED: "",
    PINResult.RIGHT: "  [green]密码正确 right[/]",
    PINResult.WRONG: "  [red]密码错误 wrong[/]",
    PINResult.BLOCKED: "  [red]密码已锁定 now blocked[/]",
    PINResult.NOT_GIVEN: "  [yellow]未输入密码 not given[/]",
    PINResult.CHANGED: "  [green]密码已修改 changed[/]",
    PINResult.FAILED: "  [red]卡片拒绝 refused by the card[/]",
}
_VERIFICATIONS: Final = {
    "social_security_card": (
        "内部认证: 卡密钥应答中心挑战, 按城市和芯片号分散",
        "INTERNAL AUTHENTICATE over the centre's challenge, key diversified by region and chip",
    ),
    "egk": (
        "证书链和内部认证",
        "CV certificate chain, and INTERNAL AUTHENTICATE over the centre's challenge",
    ),
}
_LOG_KINDS: Final = {"1": "划入 credit", "2": "医疗结算 settlement"}
_CENTRE_WAITS: Final = frozenset({"card_round_trips", "chip"})
"""Stages in which the centre waits for this terminal; counted as card and wire here."""


def readers(config: ConfigFile = DEFAULT_CONFIG, *, as_json: AsJSON = False) -> None:
    """列出读卡器 List the card readers of this machine."""

    async def act(desk: Desk) -> Result:
        names = await list_readers()
        chosen = [name for name in names if desk.config.reader.name in name]

        def render(console: Console) -> None:
            for name in names:
                console.print(f"{'*' if name in chosen else ' '} {escape(name)}")

        if not names:
            return fault("未发现读卡器", "no card reader was found")
        return Result(
            status=ExitStatus.APPROVED,
            values={"readers": list(names), "chosen": chosen},
            render=render,
        )

    run("readers", config, act, as_json=as_json)


def card(
    reader: ReaderName = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    holder: Annotated[
        bool, typer.Option("--holder/--no-holder", help="读持卡人文件 Read the holder's file.")
    ] = True,
    medical: Annotated[
        bool,
        typer.Option(
            "--medical", help="读医保应用 Read the card's medical file; the holder types the PIN."
        ),
    ] = False,
    change_pin: Annotated[
        bool, typer.Option("--change-pin", help="修改密码 Have the holder change the PIN.")
    ] = False,
    can: Annotated[
        str,
        typer.Option(help="接触号码 Access number printed on a German health card, contactless."),
    ] = "",
    as_json: AsJSON = False,
) -> None:
    """读卡 Open the card in the reader: verified, looked up, with its times."""
    action = PINAction.VERIFY if medical else PINAction.NONE
    if change_pin:
        action = PINAction.CHANGE

    async def act(desk: Desk) -> Result:
        return _opening_result(
            await desk.open_card(
                reader,
                wants_holder=holder,
                wants_medical=medical,
                pin_action=action,
                can=can,
            )
        )

    run("card", config, act, as_json=as_json)


def member(
    number: Annotated[str, typer.Argument(help="证件号码 The certificate's number.")],
    certificate_type: Annotated[
        str, typer.Option("--type", help="证件类型 02 identity card, 03 social security card.")
    ] = "02",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """人员查询 Look a person up by a certificate's number, without a card."""

    async def act(desk: Desk) -> Result:
        answer = await desk.client.request(
            MessageType.MEMBER_QUERY, MemberQuery(certificate_type, number)
        )
        if not isinstance(answer.body, MemberFound):
            return result_of(answer)
        person = answer.body.person
        return result_of(answer, {"person": plain(person)}, lambda out: _render_person(out, person))

    run("member", config, act, as_json=as_json)


def eligibility(
    psn_no: Annotated[str, typer.Option(help="人员编号 Whose; empty for the card's.")] = "",
    insutype: Annotated[str, typer.Option(help="险种 Which insurance.")] = "310",
    med_type: Annotated[
        str, typer.Option(help="医疗类别 11 outpatient, 21 inpatient, 41 pharmacy.")
    ] = "11",
    date: Annotated[str, typer.Option(help="日期 Date of care, YYYY-MM-DD; empty: today.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """待遇资格 Ask whether a person is entitled."""

    async def act(desk: Desk) -> Result:
        try:
            day = dt.date.fromisoformat(date) if date else None
        except ValueError as error:
            return fault("日期无效", "the date is not valid", str(error))
        answer = await desk.client.request(
            MessageType.ELIGIBILITY,
            Eligibility(psn_no, insutype, med_type, day),
            card_session=desk.card_session,
        )
        body = answer.body
        if not isinstance(body, EligibilityFound):
            return result_of(answer)

        def render(console: Console) -> None:
            if body.is_entitled:
                console.print("[green]可享受待遇 entitled[/]")
            else:
                zh, en = words_of(body.reason)
                console.print(f"[yellow]不可享受待遇 not entitled[/]: {body.reason} {zh} / {en}")

        return result_of(answer, _values(body), render)

    run("eligibility", config, act, as_json=as_json)


def watch_cards(
    count: Annotated[
        int, typer.Option(min=0, help="读几张后结束 End after so many; 0: never.")
    ] = 0,
    reader: ReaderName = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """监视读卡器 Open every card that is put into a reader, until interrupted."""

    async def act(desk: Desk) -> Result:
        wanted = reader or desk.config.reader.name
        watched = WatchedReader(wanted, lambda: None)
        async with attending(counter_of(desk), watched):
            return await _watch(desk, watched, wanted)

    async def _watch(desk: Desk, watched: WatchedReader, wanted: str) -> Result:
        opened = 0
        async for event in watch():
            watched.note(event)
            if wanted not in event.reader:
                continue
            if not event.is_present:
                desk.forget_card()
                continue
            try:
                result = _opening_result(await desk.open_card(event.reader))
            except (NoCardError, ReaderError, ClientError) as error:
                result = fault("读卡失败", "the card could not be opened", str(error))
            show("card", result, as_json=as_json)
            opened += 1
            if opened == count:
                break
        return Result(
            status=ExitStatus.APPROVED, values={"cards": opened}, text_zh="结束", text_en="ended"
        )

    run("watch", config, act, as_json=as_json)


def _opening_result(opening: CardOpening) -> Result:
    answer, body = opening.answer, opening.answer.body
    times = _times(opening)
    if not isinstance(body, CardOpened):
        return result_of(answer, {"times_ms": times})
    values = {
        "profile": body.profile,
        "card_number": body.card_number,
        "atr": opening.atr.hex().upper(),
        "proof": body.proof.name.lower(),
        "verified_by": _verified_by(body)[1],
        "pin": body.pin.name.lower(),
        "pin_tries": body.pin_tries,
        "pin_result": body.pin_result.name.lower(),
        "holder_name": body.holder_name,
        "holder_id": body.holder_id,
        "person": plain(body.person),
        "medical": None if body.medical is None else plain(body.medical),
        "session_life_ms": body.session_life_ms,
        "round_trips": body.round_trips,
        "exchanges": opening.exchanges,
        "times_ms": times,
    }

    def render(console: Console) -> None:
        tries = f" ({body.pin_tries} 次 tries)" if body.pin_tries >= 0 else ""
        console.print(
            f"[bold]{escape(body.card_number)}[/] {body.profile}  {_PROOFS[body.proof]}"
            f"  密码 PIN: {_PINS[body.pin]}{tries}{_PIN_RESULTS[body.pin_result]}"
        )
        console.print(" ".join(_verified_by(body)))
        if body.holder_name:
            console.print(f"卡内姓名 on the card: {escape(body.holder_name)} {body.holder_id}")
        _render_person(console, body.person)
        if body.medical is not None:
            _render_medical(console, body.medical)
        if answer.stages_us:
            rest = f"网络 wire {times['wire']:.1f} ms, 中心 centre {times['centre']:.1f} ms"
        else:
            rest = f"网络和中心 wire and centre {times['wire']:.1f} ms"
        console.print(
            f"卡命令 exchanges {opening.exchanges}, 往返 round trips {body.round_trips};"
            f" 共 total {times['total']:.1f} ms:"
            f" 上电 power-up {times['power_up']:.1f} ms, 卡 card {times['card']:.1f} ms, {rest},"
            f" 本机 terminal {times['terminal']:.1f} ms"
            f"  (此前连接中心 connecting before {times['prepare']:.1f} ms)"
        )

    return result_of(answer, values, render)


def _times(opening: CardOpening) -> dict[str, float]:
    centre_ms = (
        sum(us for stage, us in opening.answer.stages_us.items() if stage not in _CENTRE_WAITS)
        / 1000
    )
    code_ms = centre_ms + opening.terminal_ms
    wire_ms = (
        opening.total_ms - opening.connect_ms - opening.card_ms - opening.pin_entry_ms - code_ms
    )
    return {
        "total": round(opening.total_ms, 3),
        "prepare": round(opening.prepare_ms, 3),
        "power_up": round(opening.connect_ms, 3),
        "card": round(opening.card_ms, 3),
        "wire": round(max(wire_ms, 0.0), 3),
        "centre": round(centre_ms, 3),
        "terminal": round(opening.terminal_ms, 3),
        "code": round(code_ms, 3),
        "pin_entry": round(opening.pin_entry_ms, 3),
    }


def _verified_by(body: CardOpened) -> tuple[str, str]:
    if body.proof is not ProofLevel.GENUINE_CARD:
        return "卡未自证", "nothing: the card proves nothing, what it says is a claim"
    return _VERIFICATIONS.get(
        body.profile, ("卡密钥应答中心挑战", "the card's key, by the centre's own challenge")
    )


def _render_medical(console: Console, medical: MedicalFile) -> None:
    items = Table(box=None, pad_edge=False)
    for heading in ("数据项 item", "名称 name", "值 value"):
        items.add_column(heading)
    for item in medical.items:
        layout = ITEMS.get(item.tag)
        name = f"{layout.name_zh} {layout.name_en}" if layout else ""
        items.add_row(f"{item.tag:02X}", name, escape(item.text))
    console.print(items)
    if not medical.log:
        return
    log = Table(box=None, pad_edge=False)
    for heading in (
        "序号 no.",
        "类型 kind",
        "终端 terminal",
        "时间 time",
        "账户 account",
        "自付 own",
        "统筹 pool",
    ):
        log.add_column(heading)
    for record in medical.log:
        log.add_row(
            str(record.sequence),
            _LOG_KINDS.get(record.kind, record.kind),
            record.terminal,
            record.time,
            yuan(record.account_fen),
            yuan(record.own_pay_fen),
            yuan(record.pool_fen),
        )
    console.print(log)


def _render_person(console: Console, person: Person) -> None:
    console.print(
        f"[bold]{escape(person.name)}[/] {_SEXES.get(person.sex, '')} {person.birth_date}"
        f"  编号 no. {person.psn_no}"
        f"  账户余额 account [bold]{yuan(person.account_balance_fen)}[/]"
    )
    insurances = Table(box=None, pad_edge=False)
    for heading in ("险种 insurance", "状态 state", "类别 type", "地区 region", "起 from", "止 to"):
        insurances.add_column(heading)
    for one in person.insurances:
        insurances.add_row(
            INSURANCES.get(one.insutype, one.insutype),
            _STATES[one.state],
            _PERSON_TYPES.get(one.person_type[:2], one.person_type),
            one.region,
            str(one.begins),
            str(one.ends or ""),
        )
    console.print(insurances)
    if not person.accumulators:
        return
    used = Table(box=None, pad_edge=False)
    for heading in (
        "年度累计 year",
        "起付 deductible",
        "范围内 in scope",
        "统筹 pool",
        "大额 large",
        "住院 stays",
    ):
        used.add_column(heading, justify="left" if heading.startswith("年") else "right")
    for accumulator in person.accumulators:
        used.add_row(
            f"{accumulator.year} {accumulator.insutype} {accumulator.scheme}",
            yuan(accumulator.deductible_fen),
            yuan(accumulator.in_scope_fen),
            yuan(accumulator.pool_fen),
            yuan(accumulator.large_amount_fen),
            str(accumulator.admissions),
        )
    console.print(used)


def _values(body: Struct) -> dict[str, object]:
    return {name: plain(getattr(body, name)) for name in body.__struct_fields__}
