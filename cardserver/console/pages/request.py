"""One request: where its time went, what it decided, what it posted."""

from urllib.parse import quote

from nicegui import ui

from cardserver.claims.inquiry_store import ClaimFound, RequestFound, Timed, inquire
from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import CHART_TEXT, asks_on_enter, frame, milliseconds
from cardserver.console.money import yuan
from cardserver.console.pages.refusals import known_code
from cardserver.console.pages.tables import table_of
from cardserver.console.window import type_name
from cardserver.console.words import named, word
from cardserver.observe.stages import in_order
from ledger.calendar import text_of
from ledger.store_errors import StoreError
from protocol.terminal.errors import RemoteProtocolError

_LATEST = 30
_MSGID_SIZE = 30


def request_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.REQUEST)
    async def request(msgid: str = "") -> None:
        with frame(desk, Page.REQUEST) as who:
            if who is not None:
                await _show(desk, who, msgid.strip()[:_MSGID_SIZE])


async def _show(desk: ConsoleDesk, who: Visitor, msgid: str) -> None:
    field = ui.input(word("request.msgid", who.language), value=msgid).style("width: 28rem")
    field.props("data-field=msgid")
    asks_on_enter(field, Page.REQUEST, "msgid")
    if not msgid:
        _latest(desk, who.language)
        return
    try:
        found = await desk.database.fetch_script(inquire(msgid))
    except RemoteProtocolError as error:
        ui.label(str(error)).props("role=alert")
        return
    except StoreError:
        ui.label(word("unavailable", who.language)).props("role=alert")
        return
    for one in found:
        _request(desk, who.language, one)
    stored = {time.recorded_time_ms for one in found for time in one.times}
    kept = [row for row in desk.window.of_msgid(msgid) if row.time_ms not in stored]
    for row in kept:
        time = Timed(row.time_ms, row.type, row.code, row.stages)
        with ui.card().style("width: 100%"):
            ui.label(f"{row.institution}/{row.terminal} · {word('request.kept', who.language)}")
            _stages(desk, who.language, time)
            if row.detail:
                ui.label(row.detail)
    if not found and not kept:
        ui.label(word("request.unknown", who.language)).props("role=alert")


def _latest(desk: ConsoleDesk, language: Language) -> None:
    ui.label(word("request.latest", language)).style("font-weight: bold")
    rows = [
        {
            "key": f"{row.msgid} {row.terminal} {row.time_ms}",
            "time": text_of(row.time_ms, desk.timezone)[11:],
            "type": named("type", type_name(row.type), language),
            "msgid": row.msgid,
            "terminal": f"{row.institution}/{row.terminal}",
            "code": row.code,
            "total": milliseconds(row.total_us),
            "link": f"{Page.REQUEST}?msgid={quote(row.msgid)}",
        }
        for row in desk.window.latest(_LATEST)
    ]
    columns = [
        ("time", word("time", language)),
        ("type", word("type", language)),
        ("msgid", "msgid"),
        ("terminal", word("terminal", language)),
        ("code", word("refusals.code", language)),
        ("total", word("total", language)),
    ]
    table = table_of(columns, language, name="latest", row_key="key")
    table.rows = rows
    table.add_slot(
        "body-cell-msgid",
        '<q-td :props="props"><a :href="props.row.link">{{ props.value }}</a></q-td>',
    )


def _request(desk: ConsoleDesk, language: Language, found: RequestFound) -> None:
    with ui.card().style("width: 100%").props("data-card=request"):
        ui.label(f"{found.institution}/{found.terminal} · {found.msgid}").style("font-weight: bold")
        if found.code is not None and found.recorded_time_ms is not None:
            outcome = f"{type_name(found.type or 0)}: {_outcome(found.code, language)}"
            at = text_of(found.recorded_time_ms, desk.timezone)
            ui.label(f"{word('request.outcome', language)}: {outcome} · {at}")
        for time in found.times:
            _stages(desk, language, time)
        for claim in (found.claim, found.remainder):
            if claim is not None:
                _claim(language, claim)


def _outcome(number: int, language: Language) -> str:
    code = known_code(number)
    if code is None:
        return str(number)
    return f"{number} {code.name} {code.text_zh if language is Language.ZH else code.text_en}"


def _stages(desk: ConsoleDesk, language: Language, time: Timed) -> None:
    """Draw one coming of a request as a bar for each stage, one after the other."""
    stages = in_order(time.stages)
    total_us = sum(microseconds for _, microseconds in stages)
    ui.label(
        f"{text_of(time.recorded_time_ms, desk.timezone)} · {_outcome(time.code, language)}"
        f" · {word('total', language)} {milliseconds(total_us)}"
    )
    begun = 0
    offsets, widths = [], []
    for _, microseconds in stages:
        offsets.append(round(begun / 1000, 3))
        widths.append(round(microseconds / 1000, 3))
        begun += microseconds
    chart = ui.echart(
        {
            "animation": False,
            "textStyle": {"color": CHART_TEXT},
            "grid": {"left": 220, "right": 60, "top": 10, "bottom": 30},
            "xAxis": {"type": "value", "axisLabel": {"formatter": "{value} ms"}},
            "yAxis": {
                "type": "category",
                "inverse": True,
                "data": [named("stage", name, language) for name, _ in stages],
            },
            "series": [
                {
                    "type": "bar",
                    "stack": "time",
                    "silent": True,
                    "data": offsets,
                    "itemStyle": {"color": "transparent"},
                },
                {
                    "type": "bar",
                    "stack": "time",
                    "data": widths,
                    "label": {"show": True, "position": "right", "formatter": "{c} ms"},
                },
            ],
        }
    )
    chart.style(f"width: 100%; height: {4 + 1.6 * len(stages)}rem").props("data-chart=stages")


def _claim(language: Language, claim: ClaimFound) -> None:
    split = claim.split
    ui.label(f"{word('request.claim', language)} {claim.setl_id}").style("font-weight: bold")
    ui.label(
        f"{claim.insutype} · {claim.med_type} · {claim.care_date} · {claim.policy}"
        + (f" · ↶ {claim.undone_by}" if claim.undone_by else "")
    )
    ui.label(
        f"{word('total', language)} {yuan(split.total_fen)}"
        f" · {word('claim.fund', language)} {yuan(split.fund_pay_fen)}"
        f" · {word('claim.account', language)} {yuan(split.account_pay_fen)}"
        f" · {word('claim.cash', language)} {yuan(split.cash_fen)}"
    )
    is_zh = language is Language.ZH
    rows = [
        {
            "key": index,
            "account": f"{posting.account} {posting.name_zh if is_zh else posting.name_en}",
            "debit": yuan(posting.amount_fen) if posting.amount_fen > 0 else "",
            "credit": yuan(-posting.amount_fen) if posting.amount_fen < 0 else "",
        }
        for index, posting in enumerate(claim.postings)
    ]
    columns = [(name, word(name, language)) for name in ("account", "debit", "credit")]
    table = table_of(columns, language, name="postings", row_key="key")
    table.rows = rows
