"""What the commands about visits share: beginning one, sending lines, the bill of what is due.

Not here: the commands (`visit.py`), what they show (`visit_screen.py`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from protocol.terminal.bodies import encode_body
from protocol.terminal.messages import (
    VISIT_LINES_MAX,
    Admit,
    Bill,
    CardException,
    Line,
    Lines,
    LinesTaken,
    MessageType,
    Register,
    Registered,
    Visit,
    VisitChanged,
    VisitFound,
    VisitKind,
    VisitLine,
    VisitLineFound,
    VisitLineState,
    VisitQuery,
    VisitState,
)
from terminals.answer import Answer
from terminals.attempt_endings import reply_body_of
from terminals.attempts import Outcome
from terminals.commands.desk import Desk
from terminals.commands.last import LAST, settled_named
from terminals.commands.result import Result, plain, result_of, result_of_attempt
from terminals.commands.settlement import settled_result
from terminals.commands.visit_screen import render_found, render_visit

_BEGINNING: Final = (MessageType.REGISTER, MessageType.ADMIT)


class UsageError(Exception):
    """What was typed is no day, or no visit is known here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a visit is to be settled.

    Attributes:
        visit: As it was named.
        until: The last day whose lines are settled; None for all.
        is_last: Whether a stay must have ended.
    """

    visit: str
    until: dt.date | None
    uses_account: bool = True
    invoice: str = ""
    is_last: bool = False


async def begun(
    desk: Desk, type_: MessageType, body: Register | Admit, exception: CardException | None
) -> Result:
    """Record that a visit begins, and give what it came to."""
    card = None if exception else desk.card
    outcome = await desk.runner.record(
        type_,
        body,
        card_session=card.session if card else b"",
        psn_no=card.psn_no if card else "",
        holder=card.holder if card else "",
    )
    registered = outcome.body
    if not isinstance(registered, Registered):
        return result_of_attempt(outcome)
    begun = registered

    def render(screen: Console) -> None:
        screen.print(f"就诊编号 visit [bold]{begun.mdtrt_id}[/]  {begun.begins}")

    values = {
        "mdtrt_id": begun.mdtrt_id,
        "psn_no": begun.psn_no,
        "begins": begun.begins.isoformat(),
        "registered_time_ms": begun.registered_time_ms,
    }
    return result_of_attempt(outcome, values, render)


async def sent(desk: Desk, mdtrt_id: str, new: Sequence[VisitLine], *, known: int) -> Result:
    """Send lines in as many messages as they need; stop at the first that is not taken."""
    splits: list[object] = []
    outcome: Outcome | None = None
    visit: Visit | None = None
    for part in _parts(new, size_max=desk.config.limits.frame_size_max // 2):
        outcome = await desk.runner.record(MessageType.LINES, Lines(mdtrt_id, part))
        if not isinstance(outcome.body, LinesTaken):
            break
        visit = outcome.body.visit
        splits += [plain(split) for split in outcome.body.line_splits]
    assert outcome is not None
    values: dict[str, object] = {
        "visit": plain(visit),
        "sent": len(splits),
        "known": known,
        "line_splits": splits,
    }
    last = visit
    if last is None:
        return result_of_attempt(outcome, values)
    return result_of_attempt(outcome, values, lambda screen: render_visit(screen, last))


def _parts(lines: Sequence[VisitLine], *, size_max: int) -> Iterator[tuple[VisitLine, ...]]:
    """Cut lines into messages, by count and by bytes."""
    part: list[VisitLine] = []
    size = 0
    for line in lines:
        line_size = len(bytes(encode_body(line)))
        if part and (len(part) == VISIT_LINES_MAX or size + line_size > size_max):
            yield tuple(part)
            part, size = [], 0
        part.append(line)
        size += line_size
    yield tuple(part)


def changed_result(outcome: Outcome) -> Result:
    """Turn the outcome of a change into a result."""
    changed = outcome.body
    if not isinstance(changed, VisitChanged):
        return result_of_attempt(outcome)
    visit = changed.visit
    return result_of_attempt(
        outcome, {"visit": plain(visit)}, lambda screen: render_visit(screen, visit)
    )


async def settled(
    desk: Desk, wanted: Wanted, exception: CardException | None, *, override: str, asks: bool
) -> Result:
    """Settle what is due of a visit."""
    found = await bill_of(desk, wanted)
    if isinstance(found, Answer):
        return result_of(found)
    bill, shown = found
    return await settled_result(
        desk, bill, exception, override=override, asks=asks, shown_lines=shown
    )


async def bill_of(desk: Desk, wanted: Wanted) -> tuple[Bill, list[Line]] | Answer:
    """Make the bill of what is due, and give the lines that it will have."""
    mdtrt_id, until = visit_id(desk, wanted.visit), wanted.until
    answer = await _asked(desk, VisitQuery(mdtrt_id, "", until))
    if not isinstance(answer.body, VisitFound):
        return answer
    (visit,) = answer.body.visits
    goes_on = visit.kind is VisitKind.INPATIENT and visit.state is VisitState.OPEN
    if wanted.is_last and goes_on:
        raise UsageError(
            "住院尚未出院：请先 discharge，或 interim 中途结算"
            " / the stay goes on: discharge it, or settle an interim with `visit interim`"
        )
    known = await all_lines(desk, mdtrt_id)
    if isinstance(known, Answer):
        return known
    shown = [
        Line(one.line.item, one.line.name, one.line.price_microyuan, one.left_e4, one.left_fen)
        for one in known
        if one.state is VisitLineState.UNSETTLED
        and one.left_e4
        and (until is None or one.line.date <= until)
    ]
    bill = Bill(
        insutype=visit.insutype,
        med_type=visit.med_type,
        total_fen=visit.unsettled_fen,
        uses_account=wanted.uses_account,
        invoice=wanted.invoice,
        lines=(),
        discharged=until,
        mdtrt_id=mdtrt_id,
    )
    return bill, shown


async def found_result(
    desk: Desk, query: VisitQuery, *, lines: Sequence[VisitLineFound] = (), **counts: int
) -> Result:
    """Ask how a visit stands, or which there are, and show it."""
    answer = await _asked(desk, query)
    found = answer.body
    if not isinstance(found, VisitFound):
        return result_of(answer)
    values: dict[str, object] = {
        "visits": plain(found.visits),
        "lines": plain(tuple(lines)),
        "settlements": plain(found.settlements),
        **counts,
    }
    return result_of(answer, values, lambda screen: render_found(screen, found, lines))


async def all_lines(desk: Desk, mdtrt_id: str) -> list[VisitLineFound] | Answer:
    """Fetch a visit's lines, page by page."""
    lines: list[VisitLineFound] = []
    first = 0
    while True:
        answer = await _asked(desk, VisitQuery(mdtrt_id, "", None, first, VISIT_LINES_MAX))
        found = answer.body
        if not isinstance(found, VisitFound):
            return answer
        lines += found.lines
        if found.next_line <= first:
            return lines
        first = found.next_line


async def _asked(desk: Desk, query: VisitQuery) -> Answer:
    by_card = not query.mdtrt_id and not query.psn_no
    return await desk.client.request(
        MessageType.VISIT_QUERY, query, card_session=desk.card_session if by_card else b""
    )


def visit_id(desk: Desk, name: str) -> str:
    """Give a visit's number; 'last' is the one that this terminal began last."""
    if name != LAST:
        return name
    begun = settled_named(desk, LAST, _BEGINNING)
    if isinstance(begun, Result):
        raise UsageError(f"{begun.msgid}: {begun.text_zh} / {begun.text_en}")
    registered = reply_body_of(begun) if begun is not None else None
    if not isinstance(registered, Registered):
        raise UsageError("本机无就诊登记 / no visit was begun at this terminal")
    return registered.mdtrt_id


def day_named(text: str) -> dt.date | None:
    """Read a day; None without one."""
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text} 不是日期 / is no day: YYYY-MM-DD") from None


def quantity_e4_of(text: str) -> int:
    """Read a quantity."""
    whole, _, part = text.partition(".")
    is_number = whole.isascii() and whole.isdecimal() and (not part or part.isdecimal())
    if not is_number or len(part) > 4:  # noqa: PLR2004 - ten-thousandths
        raise UsageError(f"{text} 不是数量 / is no quantity")
    return int(whole + part.ljust(4, "0"))
