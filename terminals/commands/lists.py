"""`cardterminal lists update`, `show`: what the terminal holds of the centre's lists."""

import datetime as dt
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from protocol.terminal.messages import ListPage
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, now_ms, run
from terminals.commands.result import ExitStatus, Result, fault, plain, result_of
from terminals.lists import ListName
from terminals.receipt import decimal, yuan

app = typer.Typer(help="本机名单与目录 Lists that this terminal holds.", no_args_is_help=True)

_NAMES = {
    ListName.REVOCATIONS: "吊销名单 revocations",
    ListName.PARAMETERS: "参数 parameters",
    ListName.MAPPING: "院内对照 mapping",
    ListName.CATALOGUE: "目录 catalogue",
}
_CLASSES = {1: "甲 A", 2: "乙 B", 3: "丙 C"}


@app.command("update")
def update(
    name: Annotated[
        ListName | None, typer.Argument(help="名单 Which list; all unless given.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """更新名单 Download what changed since what is held; goes on where it was broken off."""

    async def act(desk: Desk) -> Result:
        await desk.list_updates.stop()  # this command does it itself, and shows how far it is
        rows = dict.fromkeys(ListName, 0)
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:20} {task.completed:,.0f} 行 rows"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        answer = None
        with progress:
            for one in [name] if name else ListName:
                task = progress.add_task(_NAMES[one])

                def count(page: ListPage, one: ListName = one, task: object = task) -> None:
                    rows[one] += _rows_of(page)
                    progress.update(task, completed=rows[one])  # type: ignore[arg-type]  # rich's own

                answer = await desk.list_updates.update(desk.client, one, count)
                if not answer.is_approved:
                    return result_of(answer)
        assert answer is not None
        values = {
            one.value: {"version": desk.lists.held(one).version, "rows_taken": rows[one]}
            for one in ListName
        }
        return result_of(answer, values, lambda screen: _render(screen, desk))

    run("lists-update", config, act, as_json=as_json)


@app.command("show")
def show_lists(
    item: Annotated[
        str, typer.Argument(help="目录编码或院内编码 An item's code, or the institution's own.")
    ] = "",
    date: Annotated[str, typer.Option(help="日期 YYYY-MM-DD; empty: today.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """显示名单 Show which versions are held, or what they say of an item; asks nobody."""

    async def act(desk: Desk) -> Result:
        await desk.list_updates.stop()
        if item:
            return _item_result(desk, item, date)
        values = {
            one.value: {
                "version": desk.lists.held(one).version,
                "newest": desk.lists.held(one).newest,
                "rows": desk.lists.count(one),
                "is_behind": desk.lists.held(one).is_behind,
                "updated_ms": desk.lists.held(one).updated_ms,
            }
            for one in ListName
        }
        parameters = desk.lists.parameters()
        return Result(
            status=ExitStatus.APPROVED,
            values={"lists": values, "parameters": plain(parameters)},
            render=lambda screen: _render(screen, desk),
        )

    run("lists-show", config, act, as_json=as_json)


def _item_result(desk: Desk, item: str, date: str) -> Result:
    try:
        on = dt.date.fromisoformat(date) if date else dt.date.today()  # noqa: DTZ011 - the counter's day, as its clock has it
    except ValueError as error:
        return fault("日期无效", "the date is not valid", str(error))
    day = on.year * 10_000 + on.month * 100 + on.day
    mapping = desk.lists.mapped(item, day)
    found = desk.lists.item(mapping.item if mapping else item, day)
    if found is None:
        return fault("目录中无此项目", "the lists held have no such item on that day", item)
    parameters = desk.lists.parameters()
    level = parameters.institution_level if parameters else 0
    limit = desk.lists.limit_of(found)

    def render(screen: Console) -> None:
        local = f"{mapping.local_item} -> " if mapping else ""
        screen.print(f"{local}{found.item}  {escape(found.name)}  {_CLASSES[found.item_class]}")
        own = f"自付 self-pay {found.self_pay_ratio_e4 / 100:g} %"
        limited = "无限价 no limit"
        if limit is not None:
            limited = f"限价 limit {decimal(limit, places=6, places_min=0)}"
        screen.print(f"{own}, {limited} ({level} 级 level)")

    values = {"item": plain(found), "mapping": plain(mapping), "price_limit_microyuan": limit}
    return Result(status=ExitStatus.APPROVED, values=values, render=render)


def _rows_of(page: ListPage) -> int:
    own = 0 if page.parameters is None else 1
    return len(page.revocations) + len(page.items) + len(page.mappings) + own


def _render(screen: Console, desk: Desk) -> None:
    table = Table("名单 list", "版本 version", "行 rows", "更新 updated")
    for one in ListName:
        held = desk.lists.held(one)
        when = ""
        if held.updated_ms:
            minutes = (now_ms() - held.updated_ms) / 60_000
            when = f"{minutes:.0f} 分钟前 min ago" if minutes >= 1 else "刚刚 now"
        behind = f" -> {held.newest}" if held.is_behind else ""
        table.add_row(_NAMES[one], f"{held.version}{behind}", f"{desk.lists.count(one):,}", when)
    screen.print(table)
    parameters = desk.lists.parameters()
    if parameters is not None:
        for allowed in parameters.exceptions:
            screen.print(
                f"无卡结算 without a card: {escape(allowed.name)}"
                f" ({', '.join(allowed.med_types)}), 至 up to {yuan(allowed.total_max_fen)}"
            )
        for check in parameters.checks:
            screen.print(f"审核 check: {escape(check.text_zh)} / {escape(check.text_en)}")
