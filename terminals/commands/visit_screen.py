"""Visits on the screen of a counter. Not here: the commands (`visit.py`)."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.messages import (
    Visit,
    VisitFound,
    VisitKind,
    VisitLineFound,
    VisitLineState,
    VisitState,
)
from terminals.receipt import decimal, yuan

_KINDS: Final = {VisitKind.OUTPATIENT: "门诊 outpatient", VisitKind.INPATIENT: "住院 inpatient"}
_STATES: Final = {
    VisitState.OPEN: "[green]在诊 open[/]",
    VisitState.DISCHARGED: "[yellow]已出院待结算 discharged[/]",
    VisitState.CLOSED: "已结清 closed",
    VisitState.CANCELLED: "[red]已撤销 cancelled[/]",
}
_LINE_STATES: Final = {
    VisitLineState.UNSETTLED: "未结 unsettled",
    VisitLineState.SETTLED: "[dim]已结 settled[/]",
    VisitLineState.CANCELLED: "[red]已撤 cancelled[/]",
}


def render_visit(screen: Console, visit: Visit) -> None:
    """Show how a visit stands."""
    screen.print(
        f"就诊 visit [bold]{visit.mdtrt_id}[/]  {_KINDS[visit.kind]}  {_STATES[visit.state]}"
        f"  {visit.begins} – {visit.ends or ''}  {escape(visit.number)} {escape(visit.diagnosis)}"
    )
    if visit.transferred_from:
        screen.print(f"转自 transferred from {visit.transferred_from}")
    screen.print(
        f"未结 unsettled [bold]{yuan(visit.unsettled_fen)}[/] ({visit.unsettled_count})"
        f"  已结 settled {yuan(visit.settled_fen)}"
    )


def render_found(screen: Console, found: VisitFound, lines: Sequence[VisitLineFound]) -> None:
    """Show visits, and the lines and settlements of one."""
    if not found.visits:
        screen.print("无未结就诊 no visits that are open")
    for visit in found.visits:
        render_visit(screen, visit)
    if lines:
        table = Table(box=None, pad_edge=False)
        for heading in ("流水号 number", "日期 day", "项目 item"):
            table.add_column(heading)
        for heading in ("数量 count", "剩余 left", "金额 worth"):
            table.add_column(heading, justify="right")
        table.add_column("状态 state")
        for one in lines:
            sign = "-" if one.line.quantity_e4 < 0 else ""
            table.add_row(
                escape(one.line.number),
                one.line.date.isoformat(),
                escape(one.line.name),
                sign + decimal(abs(one.line.quantity_e4), places=4, places_min=0),
                decimal(one.left_e4, places=4, places_min=0),
                yuan(one.left_fen),
                f"{_LINE_STATES[one.state]} {one.setl_id}",
            )
        screen.print(table)
    for settled in found.settlements:
        final = "最终 final" if settled.is_final else "中途 interim"
        screen.print(
            f"结算 settlement {settled.setl_id}  至 until {settled.until}"
            f"  {yuan(settled.total_fen)}  {final}"
        )
