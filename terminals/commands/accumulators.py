"""`cardterminal accumulators`: what a person has used in a year."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from protocol.terminal.messages import Accumulators, AccumulatorsFound, MessageType
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, run
from terminals.commands.result import Result, plain, result_of
from terminals.receipt import LAYERS, MED_TYPES, yuan

_SCHEMES = {"outpatient": ("门诊", "outpatient"), "inpatient": ("住院", "inpatient")}


def accumulators(
    psn_no: Annotated[
        str, typer.Argument(help="人员编号 The person; without one whose card was opened.")
    ] = "",
    year: Annotated[int, typer.Option(min=0, max=9999, help="年度 Of which year; 0 this one.")] = 0,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """累计 Show what a person has used in a year: deductible, in scope, paid, how often treated."""

    async def act(desk: Desk) -> Result:
        answer = await desk.client.request(
            MessageType.ACCUMULATORS,
            Accumulators(psn_no, year),
            card_session=b"" if psn_no else desk.card_session,
        )
        found = answer.body
        if not isinstance(found, AccumulatorsFound):
            return result_of(answer)
        values = {
            "psn_no": found.psn_no,
            "year": found.year,
            "accumulators": plain(found.accumulators),
            "visits": plain(found.visits),
        }
        return result_of(answer, values, lambda screen: _render(screen, found))

    run("accumulators", config, act, as_json=as_json)


def _render(screen: Console, found: AccumulatorsFound) -> None:
    screen.print(f"参保人 patient [bold]{found.psn_no}[/]  年度 year [bold]{found.year}[/]")
    table = Table(box=None, pad_edge=False)
    table.add_column("险种 insurance")
    table.add_column("类别 of")
    for heading in (
        "起付线 deductible",
        "范围内 in scope",
        "已支付 paid",
        "大额 large amount",
        "住院次数 stays",
    ):
        table.add_column(heading, justify="right")
    for one in found.accumulators:
        name = " ".join(_SCHEMES.get(one.scheme) or LAYERS.get(one.scheme) or (one.scheme,))
        table.add_row(
            one.insutype,
            name,
            yuan(one.deductible_fen),
            yuan(one.in_scope_fen),
            yuan(one.pool_fen),
            yuan(one.large_amount_fen),
            str(one.admissions),
        )
    if found.accumulators:
        screen.print(table)
    else:
        screen.print("本年度无累计 nothing was used in this year")
    for count in found.visits:
        care = " ".join(MED_TYPES.get(count.med_type, (count.med_type,)))
        screen.print(f"{count.insutype} {care}: {count.visits} 次就诊 visits")
