"""What is true of every refund: what is given back and what remains are what was settled.

Not here: whose account it moved when, and what else became of the settlement (`auditor.py`).
"""

from collections.abc import Iterator

from msgspec import structs

from protocol.terminal.messages import Bill, Line, Refund, Refunded, Settled, Split
from simulators.split_audit import check_split, parts_of

_MICROYUAN_E4_IN_FEN = 10**8


def remaining_bill(bill: Bill, refund: Refund) -> Bill:
    """Take what is given back from a bill; what is given back whole is no longer in it."""
    taken = {line.line: line.quantity_e4 for line in refund.lines}
    kept = [
        _of_quantity(line, line.quantity_e4 - taken.get(number, 0))
        for number, line in enumerate(bill.lines, 1)
        if line.quantity_e4 != taken.get(number)
    ]
    total_fen = sum(line.gross_fen for line in kept)
    return structs.replace(bill, lines=tuple(kept), total_fen=total_fen)


def check_refund(
    msgid: str, request: Refund, body: Refunded, refunded: tuple[Bill, Settled] | None
) -> Iterator[str]:
    """Hold a refund to the settlement that it names, which its bill and answer tell of."""
    who = f"refund {msgid}"
    if refunded is None:
        yield f"{who} undid settlement {request.setl_id}, which nobody was told of"
        return
    bill, settled = refunded
    if body.refunds != request.setl_id:
        yield f"{who} refunded {body.refunds!r}, asked was {request.setl_id}"
    if body.psn_no != settled.psn_no:
        yield f"{who} is of person {body.psn_no}, its original of {settled.psn_no}"
    back = body.given_back
    shown = (request.fund_pay_fen, request.account_pay_fen, request.cash_fen)
    given = (back.fund_pay_fen, back.account_pay_fen + back.mutual_aid_fen, back.cash_fen)
    if shown != given:
        yield f"{who}: the patient was shown {shown} and gets {given}"
    left = remaining_bill(bill, request)
    if bool(left.lines) != (body.remaining is not None) or bool(left.lines) != bool(body.setl_id):
        yield f"{who}: {len(left.lines)} lines remain, and it settled {body.setl_id!r} anew"
        return
    yield from _check_lines(who, bill, request, body)
    if body.remaining is None:
        if parts_of(back) != parts_of(settled.split):
            yield f"{who} gives back something else than was settled"
        return
    yield from check_split(body.remaining, left.total_fen, f"what remains of {who}")
    if _sum(back, body.remaining) != _sum(settled.split):
        yield f"{who}: what is given back and what remains are not what was settled"


def _check_lines(who: str, bill: Bill, request: Refund, body: Refunded) -> Iterator[str]:
    wanted = []
    for one in request.lines:
        line = bill.lines[one.line - 1]
        rest = _of_quantity(line, line.quantity_e4 - one.quantity_e4)
        wanted.append((one.line, line.item, one.quantity_e4, line.gross_fen - rest.gross_fen))
    given = [(one.line, one.item, one.quantity_e4, one.gross_fen) for one in body.lines]
    if given != wanted:
        yield f"{who} gives back {given}, it should be {wanted}"
    total_fen = sum(one.gross_fen for one in body.lines)
    if body.given_back.total_fen != total_fen:
        yield f"{who} gives back {body.given_back.total_fen} fen for lines of {total_fen}"


def _sum(*splits: Split) -> tuple[tuple[int, ...], dict[str, int]]:
    """Add splits up: their amounts, and what each layer paid."""
    amounts = [
        sum(getattr(split, field) for split in splits)
        for field in Split.__struct_fields__
        if field != "layers"
    ]
    paid: dict[str, int] = {}
    for split in splits:
        for layer in split.layers:
            paid[layer.field] = paid.get(layer.field, 0) + layer.paid_fen
    return tuple(amounts), {field: fen for field, fen in paid.items() if fen}


def _of_quantity(line: Line, quantity_e4: int) -> Line:
    doubled = 2 * line.price_microyuan * quantity_e4
    gross_fen = (doubled + _MICROYUAN_E4_IN_FEN) // (2 * _MICROYUAN_E4_IN_FEN)
    # Of quantity 0 where the whole line is given back; such a one is never sent.
    return structs.replace(line, quantity_e4=quantity_e4, gross_fen=gross_fen)
