"""Changes that administrators make to the registry: one transaction each, with its audit row.

They have effect from the next request on. Not here: what requests read (`registry_store.py`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique

from cardserver.claims.audit_store import INSERT_AUDIT
from cardserver.registry import tables
from cardserver.registry.history_store import audit, audit_row, changed
from cardserver.registry.revocation_store import (
    Revocation,
    card_subject,
    certificate_subject,
    list_changes,
)
from cardserver.registry.values import (
    Actor,
    CardState,
    Institution,
    Operator,
    RevocationKind,
    RevocationReason,
)
from ledger.bulk_store import Row, insert, plain, put, select, update
from ledger.database_store import Database
from ledger.scripts import Script

ACTIVE = 1
INACTIVE = 2  # a terminal disabled, an operator locked
FUND = 0  # the institution of the fund's own operators

# Numbers that we give lie above those of imported files, which are theirs to choose.
OPERATOR_NO_FIRST = 1_000_001

NOT_REVOKED = RevocationReason.NOT_REVOKED


class AdministrationError(Exception):
    """The change can't be made; says why. Nothing was changed."""


@unique
class CardChange(Enum):
    """What happened to a card."""

    LOST = "lost"
    FOUND = "found"
    REPLACED = "replaced"
    FROZEN = "frozen"
    RELEASED = "released"


# From which states a change leads where. A replaced card never comes back.
_CARD_CHANGES: dict[CardChange, tuple[frozenset[CardState], CardState]] = {
    CardChange.LOST: (frozenset({CardState.VALID, CardState.FROZEN}), CardState.LOST),
    CardChange.FOUND: (frozenset({CardState.LOST}), CardState.VALID),
    CardChange.REPLACED: (
        frozenset({CardState.VALID, CardState.LOST, CardState.FROZEN}),
        CardState.REPLACED,
    ),
    CardChange.FROZEN: (frozenset({CardState.VALID, CardState.LOST}), CardState.FROZEN),
    CardChange.RELEASED: (frozenset({CardState.FROZEN}), CardState.VALID),
}

_CARD = select(
    tables.card,
    ("card_no", "state", "profile", "region", "identity", "person_no"),
    by=("card_number",),
    lock=True,
)
_DECEASED = select(tables.person, ("deceased_date",), by=("person_no",))
_SET_CARD_STATE = update(tables.card, set=("state",), by=("card_no", "state"))
_OPERATOR = select(tables.operator, ("operator_no",), by=("institution_no", "code"))
_ADD_OPERATOR = insert(
    tables.operator,
    (
        "operator_no", "institution_no", "code", "name", "role", "password_hash", "state",
        "failures", "department",
    ),
)  # fmt: skip
_SET_PASSWORD = update(
    tables.operator, set=("password_hash", "state", "failures"), by=("operator_no",)
)
_SET_DEPARTMENT = update(tables.operator, set=("department",), by=("operator_no",))
_SET_OPERATOR_STATE = update(tables.operator, set=("state", "failures"), by=("operator_no",))
_LAST_OPERATOR_TEXT = "SELECT max(operator_no) FROM operator"
_LAST_OPERATOR = plain("last operator", postgresql=_LAST_OPERATOR_TEXT, sqlite=_LAST_OPERATOR_TEXT)
_TERMINAL = select(
    tables.terminal, ("terminal_no", "certificate_sha256"), by=("institution_no", "code")
)
_TERMINAL_STATE = select(tables.terminal, ("state",), by=("terminal_no",), lock=True)
_ADD_TERMINAL = insert(
    tables.terminal,
    ("terminal_no", "institution_no", "code", "certificate_sha256", "state", "certificate_ends_ms"),
)
_SET_CERTIFICATE = update(
    tables.terminal, set=("certificate_sha256", "certificate_ends_ms"), by=("terminal_no",)
)
_SET_TERMINAL_STATE = update(tables.terminal, set=("state",), by=("terminal_no",))
_LAST_TERMINAL_TEXT = "SELECT max(terminal_no) FROM terminal"
_LAST_TERMINAL = plain("last terminal", postgresql=_LAST_TERMINAL_TEXT, sqlite=_LAST_TERMINAL_TEXT)
_TERMINALS_TEXT = (
    "SELECT i.code, i.name, t.terminal_no, t.code, t.certificate_sha256, t.state,"
    " t.certificate_ends_ms,"
    " (SELECT max(s.begins_time_ms) FROM sign_on s WHERE s.terminal_no = t.terminal_no)"
    " FROM terminal t JOIN institution i ON i.institution_no = t.institution_no"
    " ORDER BY i.code, t.code"
)
_TERMINALS = plain("list terminals", postgresql=_TERMINALS_TEXT, sqlite=_TERMINALS_TEXT)
_PUT_POLICY = put(tables.policy, set=("text", "activated_time_ms"), by=("name", "begins", "sha256"))


@dataclass(frozen=True, slots=True)
class TerminalRow:
    """A terminal as an administrator sees it.

    Attributes:
        certificate_ends_ms: When its certificate ends, in ms since 1970; 0: not known yet.
        signed_on_time_ms: Its latest sign-on, or None.
    """

    institution: str
    institution_name: str
    terminal_no: int
    code: str
    certificate_sha256: bytes
    is_active: bool
    certificate_ends_ms: int
    signed_on_time_ms: int | None


async def change_card(
    database: Database, card_number: str, change: CardChange, actor: Actor
) -> tuple[CardState, CardState]:
    """Change a card's state; return the old and the new one.

    Raises:
        AdministrationError: There is no such card, or its state doesn't allow this.
    """
    allowed, new = _CARD_CHANGES[change]

    def script() -> Script[tuple[CardState, CardState]]:
        rows = yield _CARD([(card_number,)])
        if not rows:
            raise AdministrationError("no card has this number")
        _, card_no, state, profile, region, identity, person_no = rows[0]
        old = CardState(state)
        if old not in allowed:
            raise AdministrationError(
                f"the card is {old.name.lower()}, so it can't be {change.value}"
            )
        done = yield _SET_CARD_STATE([(int(new), card_no, int(old))])
        assert done, "the row is locked"
        reason = RevocationReason(new) if new is not CardState.VALID else NOT_REVOKED
        if reason is NOT_REVOKED:
            ((_, deceased_date),) = yield _DECEASED([(person_no,)])
            reason = NOT_REVOKED if deceased_date is None else RevocationReason.DECEASED
        entry = Revocation(
            RevocationKind.CARD, card_subject(profile, region, bytes(identity)), card_no, reason
        )
        yield from list_changes([entry], now_ms=actor.now_ms)
        yield audit(actor, f"card {change.value}", f"card {card_no}", f"was {old.name.lower()}")
        yield changed(
            actor, tables.card.name, (card_no,), person_no=person_no,
            before={"state": int(old)}, after={"state": int(new)},
        )  # fmt: skip
        return old, new

    return await database.transact(script)


async def change_certificate(
    database: Database, sha256: bytes, actor: Actor, *, is_revoked: bool
) -> int:
    """Put a certificate on the revocation list, or take it off; return the list's version."""
    reason = RevocationReason.WITHDRAWN if is_revoked else NOT_REVOKED
    entry = Revocation(RevocationKind.CERTIFICATE, certificate_subject(sha256), 0, reason)

    def script() -> Script[int]:
        version = yield from list_changes([entry], now_ms=actor.now_ms)
        action = "certificate revoked" if is_revoked else "certificate restored"
        yield audit(actor, action, sha256.hex(), f"revocation list {version}")
        return version

    return await database.transact(script)


async def add_operator(  # noqa: PLR0913 - one parameter a column
    database: Database,
    *,
    institution: Institution | None,
    code: str,
    name: str,
    role: str,
    password_hash: str,
    actor: Actor,
    department: str = "",
) -> int:
    """Add an operator of an institution, or of the fund itself; return our number.

    Raises:
        AdministrationError: The institution has an operator of this code.
    """
    institution_no = FUND if institution is None else institution.institution_no

    def script() -> Script[int]:
        if (yield _OPERATOR([(institution_no, code)])):
            raise AdministrationError(f"there is an operator {code} already")
        ((last,),) = yield _LAST_OPERATOR()
        operator_no = max(OPERATOR_NO_FIRST, (last or 0) + 1)
        row = (operator_no, institution_no, code, name, role, password_hash, ACTIVE, 0, department)
        yield _ADD_OPERATOR([row])
        yield audit(actor, "operator added", f"operator {operator_no}", f"role {role}")
        yield changed(
            actor, tables.operator.name, (operator_no,),
            after={"institution_no": institution_no, "code": code, "name": name, "role": role,
                   "department": department},
        )  # fmt: skip
        return operator_no

    return await database.transact(script)


async def set_department(
    database: Database, operator: Operator, department: str, actor: Actor
) -> None:
    """Say to which department an operator belongs from now on; work done stays where it was."""

    def script() -> Script[None]:
        yield _SET_DEPARTMENT([(department, operator.operator_no)])
        yield audit(actor, "operator department", f"operator {operator.operator_no}", department)
        yield changed(
            actor, tables.operator.name, (operator.operator_no,),
            before={"department": operator.department}, after={"department": department},
        )  # fmt: skip

    await database.transact(script)


async def set_password(
    database: Database, operator: Operator, password_hash: str, actor: Actor
) -> None:
    """Give an operator a new password, and unlock them."""

    def script() -> Script[None]:
        yield _SET_PASSWORD([(password_hash, ACTIVE, 0, operator.operator_no)])
        yield audit(actor, "operator password", f"operator {operator.operator_no}", "")
        before = ACTIVE if operator.is_active else INACTIVE
        yield changed(
            actor, tables.operator.name, (operator.operator_no,),
            before={"password": "another one", "state": before},
            after={"password": "a new one", "state": ACTIVE},
        )  # fmt: skip

    await database.transact(script)


async def set_operator_active(
    database: Database, operator: Operator, actor: Actor, *, is_active: bool
) -> None:
    """Lock or unlock an operator."""

    def script() -> Script[None]:
        state = ACTIVE if is_active else INACTIVE
        yield _SET_OPERATOR_STATE([(state, 0, operator.operator_no)])
        action = "operator unlocked" if is_active else "operator locked"
        yield audit(actor, action, f"operator {operator.operator_no}", "")
        before = ACTIVE if operator.is_active else INACTIVE
        yield changed(
            actor, tables.operator.name, (operator.operator_no,),
            before={"state": before}, after={"state": state},
        )  # fmt: skip

    await database.transact(script)


async def enrol_terminal(
    database: Database,
    institution: Institution,
    code: str,
    certificate_sha256: bytes,
    actor: Actor,
    *,
    ends_ms: int,
) -> tuple[int, bool]:
    """Register a terminal's new certificate, which replaces the one it may have had.

    Args:
        database: The centre's.
        institution: Whose terminal it is.
        code: Its code there.
        certificate_sha256: Of the certificate's DER.
        actor: Who does it.
        ends_ms: When the certificate ends, in ms since 1970.

    Returns:
        The terminal's number, and whether the terminal is new.
    """

    def script() -> Script[tuple[int, bool]]:
        rows = yield _TERMINAL([(institution.institution_no, code)])
        digest = certificate_sha256.hex()
        if rows:
            terminal_no: int = rows[0][2]
            yield _SET_CERTIFICATE([(certificate_sha256, ends_ms, terminal_no)])
            yield changed(
                actor, tables.terminal.name, (terminal_no,),
                before={"certificate_sha256": rows[0][3]},
                after={"certificate_sha256": certificate_sha256},
            )  # fmt: skip
            yield audit(actor, "terminal certificate", f"terminal {terminal_no}", digest)
            return terminal_no, False
        ((last,),) = yield _LAST_TERMINAL()
        terminal_no = (last or 0) + 1
        row = (
            terminal_no, institution.institution_no, code, certificate_sha256, ACTIVE, ends_ms,
        )  # fmt: skip
        yield _ADD_TERMINAL([row])
        yield changed(
            actor, tables.terminal.name, (terminal_no,),
            after={"institution_no": institution.institution_no, "code": code,
                   "certificate_sha256": certificate_sha256},
        )  # fmt: skip
        yield audit(actor, "terminal enrolled", f"terminal {terminal_no}", digest)
        return terminal_no, True

    return await database.transact(script)


async def set_terminal_active(
    database: Database, terminal_no: int, actor: Actor, *, is_active: bool
) -> None:
    """Disable a terminal, or let it work again."""

    def script() -> Script[None]:
        state = ACTIVE if is_active else INACTIVE
        ((_, before),) = yield _TERMINAL_STATE([(terminal_no,)])
        yield _SET_TERMINAL_STATE([(state, terminal_no)])
        yield changed(
            actor, tables.terminal.name, (terminal_no,),
            before={"state": before}, after={"state": state},
        )  # fmt: skip
        action = "terminal enabled" if is_active else "terminal disabled"
        yield audit(actor, action, f"terminal {terminal_no}", "")

    await database.transact(script)


async def list_terminals(database: Database) -> list[TerminalRow]:
    """List all terminals by institution."""
    return [
        TerminalRow(
            institution=institution,
            institution_name=name,
            terminal_no=terminal_no,
            code=code,
            certificate_sha256=bytes(digest),
            is_active=state == ACTIVE,
            certificate_ends_ms=ends_ms,
            signed_on_time_ms=signed_on_time_ms,
        )
        for institution, name, terminal_no, code, digest, state, ends_ms, signed_on_time_ms in (
            await database.fetch(_TERMINALS())
        )
    ]


async def activate_policies(
    database: Database, policies: Sequence[tuple[str, int, str]], actor: Actor
) -> None:
    """Activate policies, given as name, first day and text, all or none.

    Of one name and first day, the text activated last applies; earlier ones are kept.
    """

    def script() -> Script[None]:
        rows: list[Row] = []
        audits: list[Row] = []
        for name, begins, text in policies:
            sha256 = hashlib.sha256(text.encode()).digest()
            rows.append((name, begins, sha256, text, actor.now_ms))
            audits.append(audit_row(actor, "policy activated", f"{name}@{begins}", sha256.hex()))
        yield _PUT_POLICY(rows)
        yield INSERT_AUDIT(audits)

    await database.transact(script)


async def record_custody(
    database: Database, custodians: Sequence[Operator], *, action: str, subject: str, actor: Actor
) -> None:
    """Record what custodians do together to a root key: a row for each, naming the others."""
    rows: list[Row] = []
    for custodian in custodians:
        others = ", ".join(one.code for one in custodians if one is not custodian)
        row = audit_row(actor, action, subject, f"with {others}")
        rows.append((*row[:3], custodian.operator_no, *row[4:]))

    def script() -> Script[None]:
        yield INSERT_AUDIT(rows)

    await database.transact(script)
