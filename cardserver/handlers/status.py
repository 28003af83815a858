"""STATUS: what is known of an attempt; and the stored outcome that wins over later refusals."""

from msgspec import Raw

from cardserver.centre import Answer, Exchange
from cardserver.claims.claims_store import find_status
from cardserver.claims.values import request_key
from cardserver.observe.stages import Stage
from cardserver.outcomes import code_of_number
from cardserver.registry.values import Terminal
from ledger.decisions import NotTaken
from ledger.group import repeated
from ledger.ledger_store import read_requests
from protocol.terminal import msgid
from protocol.terminal.bodies import NIL, request_hash
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Status, StatusFound


async def status(exchange: Exchange, body: Status) -> Answer:
    """STATUS: NOT_SEEN is never final; a stored outcome comes with its body."""
    centre = exchange.centre
    terminal = await original_terminal(exchange, body.original_terminal, body.original_msgid)
    if isinstance(terminal, Answer):
        return terminal
    key = request_key(terminal.institution_no, terminal.terminal_no, body.original_msgid)
    # In this order: what ends its progress in between is found stored.
    is_in_progress = centre.writer.is_in_progress(key)
    found = await find_status(centre.database, key, is_in_progress=is_in_progress)
    exchange.clock.end(Stage.LOOKUP)
    return Answer(
        ResponseCode.APPROVED,
        StatusFound(
            state=found.state,
            type=found.type,
            code=found.code,
            setl_id=str(found.entry_no or ""),
            body=Raw(found.body or NIL),
        ),
    )


async def original_terminal(
    exchange: Exchange, terminal_code: str, original_msgid: str
) -> Terminal | Answer:
    """Find the terminal that sent the original; it must be of the asking institution."""
    institution = exchange.session.institution
    if msgid.parse(original_msgid).institution != institution.code:
        return Answer(
            ResponseCode.INVALID_MSGID,
            detail_zh="原报文标识不属于本机构",
            detail_en="the original msgid begins with another institution's code",
        )
    if terminal_code == exchange.session.terminal.code:
        return exchange.session.terminal
    terminal = await exchange.centre.registry.terminal(institution.institution_no, terminal_code)
    if terminal is None:
        return Answer(
            ResponseCode.INVALID_FIELD,
            detail_zh="本机构没有该终端",
            detail_en="original_terminal: this institution has no such terminal",
        )
    return terminal


async def stored_answer(exchange: Exchange) -> Answer | None:
    """Find this very attempt's stored outcome; none where it is not stored."""
    session, request = exchange.session, exchange.request
    key = request_key(
        session.institution.institution_no, session.terminal.terminal_no, request.msgid
    )
    stored = (await exchange.centre.database.fetch_script(read_requests({key}))).get(key)
    if stored is None:
        return None
    outcome = repeated(stored, exchange.type, request_hash(exchange.type, bytes(request.body)))
    if isinstance(outcome, NotTaken):
        return Answer(ResponseCode.MSGID_REUSED)
    return Answer(
        code_of_number(outcome.code),
        outcome.body or None,
        is_duplicate=outcome.is_duplicate,
        business_date=outcome.business_date,
    )
