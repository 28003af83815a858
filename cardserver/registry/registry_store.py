"""Read the registry as requests need it, and keep sign-ons.

Each read is one prepared statement by key, so that reads of one moment can share a query. Not
here: changes that administrators make (`administration_store.py`), bulk loading
(`import_store.py`), balances and accumulators (the ledger's and the claims').
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from collections.abc import Generator

from cardserver.registry import identity_number, tables
from cardserver.registry.values import (
    Card,
    CardNumber,
    CardState,
    Identity,
    IDNumber,
    IDType,
    Institution,
    InstitutionKind,
    Insurance,
    InsuranceState,
    Operator,
    Person,
    PersonName,
    SignOn,
    Terminal,
)
from ledger.bulk_store import Query, Row, Statement, insert, plain, select, update
from ledger.database_store import Database

ACTIVE = 1
LOCKED = 2

CARD_COLUMNS = (
    "card_no", "profile", "identity", "region", "card_number", "card_id", "person_no", "version",
    "algorithm", "card_class", "issuer", "begins", "ends", "state",
)  # fmt: skip
PERSON_COLUMNS = (
    "person_no", "id_number", "name", "sex", "birth_date", "deceased_date", "family_no",
)  # fmt: skip
INSURANCE_COLUMNS = ("insutype", "begins", "ends", "state", "person_type", "region")
INSTITUTION_COLUMNS = (
    "institution_no", "code", "name", "kind", "level", "state", "contract_begins", "contract_ends",
)  # fmt: skip
TERMINAL_COLUMNS = (
    "terminal_no", "institution_no", "code", "certificate_sha256", "state", "certificate_ends_ms",
)  # fmt: skip
OPERATOR_COLUMNS = (
    "operator_no", "institution_no", "code", "name", "role", "password_hash", "state",
    "department",
)  # fmt: skip

_CARD_BY_IDENTITY = select(tables.card, CARD_COLUMNS, by=("profile", "region", "identity"))
_CARD_BY_NUMBER = select(tables.card, CARD_COLUMNS, by=("card_number",))
_CARD_BY_NO = select(tables.card, CARD_COLUMNS, by=("card_no",))
_PERSON = select(tables.person, PERSON_COLUMNS, by=("person_no",))
# By any document that is or was the person's; an index lookup each, shared like the others.
_BY_DOCUMENT = (
    f"SELECT i.number, i.id_type, {', '.join(f'p.{name}' for name in PERSON_COLUMNS)}"
    " FROM identity i JOIN person p ON p.person_no = i.person_no WHERE i.number = "
)
_PERSONS_BY_DOCUMENT = Statement(
    "select persons by document",
    postgresql=_BY_DOCUMENT + "ANY($1::text[])",
    sqlite=_BY_DOCUMENT + "?",
    has_result=True,
    key_count=1,
)
_CARDS_OF_PERSON = select(tables.card, CARD_COLUMNS, by=("person_no",))
_KEPT = select(tables.merged_person, ("kept_person_no",), by=("person_no",))
_MERGED_INTO = select(tables.merged_person, ("person_no",), by=("kept_person_no",))
_IDENTITIES = select(tables.identity, ("number", "id_type", "ends"), by=("person_no",))
_INSURANCES = select(tables.insurance, INSURANCE_COLUMNS, by=("person_no",))
_FAMILY = select(tables.family, ("payer_person_no",), by=("family_no",))
_INSTITUTION = select(tables.institution, INSTITUTION_COLUMNS, by=("institution_no",))
_INSTITUTION_BY_CODE = select(tables.institution, INSTITUTION_COLUMNS, by=("code",))
_TERMINAL = select(tables.terminal, TERMINAL_COLUMNS, by=("terminal_no",))
_TERMINAL_BY_CODE = select(tables.terminal, TERMINAL_COLUMNS, by=("institution_no", "code"))
# For `GroupWriter.append_later`, of a terminal that was enrolled before this was kept.
NOTE_CERTIFICATE_ENDS = update(
    tables.terminal, set=("certificate_ends_ms",), by=("terminal_no", "certificate_sha256")
)
_OPERATOR_BY_CODE = select(tables.operator, OPERATOR_COLUMNS, by=("institution_no", "code"))
_OPERATOR = select(tables.operator, OPERATOR_COLUMNS, by=("operator_no",))

# Asked before money moves: one round trip for all that a sign-on rests on, shared like the others.
_SIGN_ON_TEXT = (
    "SELECT s.sign_no, s.batch_no, s.begins_time_ms, s.ends_time_ms, s.wants_stages, i.state,"
    " t.terminal_no, t.institution_no, t.code, t.certificate_sha256, t.state,"
    " t.certificate_ends_ms,"
    " o.operator_no, o.institution_no, o.code, o.name, o.role, o.password_hash, o.state,"
    " o.department"
    " FROM sign_on s JOIN terminal t ON t.terminal_no = s.terminal_no"
    " JOIN institution i ON i.institution_no = t.institution_no"
    " JOIN operator o ON o.operator_no = s.operator_no WHERE s.sign_no = "
)
_SIGN_ON = Statement(
    "select sign_on with all that it rests on",
    postgresql=_SIGN_ON_TEXT + "ANY($1::text[])",
    sqlite=_SIGN_ON_TEXT + "?",
    has_result=True,
    key_count=1,
)
_OPEN_SIGN_ON = insert(
    tables.sign_on,
    ("sign_no", "terminal_no", "operator_no", "batch_no", "begins_time_ms", "ends_time_ms",
     "wants_stages"),
)  # fmt: skip
_CLOSE_SIGN_ON = update(tables.sign_on, set=("ends_time_ms",), by=("sign_no",))
_FORGIVE = update(tables.operator, set=("failures",), by=("operator_no", "state"))
# Counting and locking are one statement, so that two attempts at once count as two.
_COUNT_FAILURE = plain(
    "count a wrong password",
    postgresql="UPDATE operator SET failures = least(failures + 1, 1000),"
    " state = CASE WHEN failures + 1 >= $2 THEN 2 ELSE state END"
    " WHERE operator_no = $1 RETURNING state",
    sqlite="UPDATE operator SET failures = min(failures + 1, 1000),"
    " state = CASE WHEN failures + 1 >= ?2 THEN 2 ELSE state END"
    " WHERE operator_no = ?1 RETURNING state",
)

# Of one name and first day, only what was activated last applies.
_POLICIES_TEXT = (
    "SELECT text FROM policy p WHERE NOT EXISTS (SELECT 1 FROM policy q"
    " WHERE q.name = p.name AND q.begins = p.begins"
    " AND (q.activated_time_ms, q.sha256) > (p.activated_time_ms, p.sha256))"
    " ORDER BY name, begins"
)
_POLICIES = plain("read the policies", postgresql=_POLICIES_TEXT, sqlite=_POLICIES_TEXT)


class Registry:
    """The fund's registry of persons, cards, insurances, institutions, terminals, operators."""

    def __init__(self, database: Database) -> None:
        """Read from this database, which is open."""
        self._database = database

    # --- cards and persons -------------------------------------------------------------------

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        """Find the card whose key was proven."""
        rows = await self._database.fetch(_CARD_BY_IDENTITY([(profile, region, identity)]))
        return _card(rows[0][3:]) if rows else None

    async def card_by_number(self, card_number: str) -> Card | None:
        """Find a card by its printed number."""
        rows = await self._database.fetch(_CARD_BY_NUMBER([(card_number,)]))
        return _card(rows[0][1:]) if rows else None

    async def card_by_no(self, card_no: int) -> Card | None:
        """Find a card by our number."""
        rows = await self._database.fetch(_CARD_BY_NO([(card_no,)]))
        return _card(rows[0][1:]) if rows else None

    async def person(self, person_no: int) -> Person | None:
        """Find a person by our number."""
        rows = await self._database.fetch(_PERSON([(person_no,)]))
        return _person(rows[0][1:]) if rows else None

    async def person_by_id_number(self, id_number: str) -> Person | None:
        """Find a person by the number of any document, however it was typed.

        A citizen's number may have 15 digits, a small x, blanks or full-width digits; an earlier
        number finds the person too. Where two persons have documents of different kinds with one
        number, a citizen's number goes before others; else nobody is found.
        """
        number = identity_number.normalised(id_number)
        rows = await self._database.fetch(_PERSONS_BY_DOCUMENT([(number,)]))
        if len({row[2] for row in rows}) > 1:
            rows = [row for row in rows if row[1] == IDType.CITIZEN]
        return _person(rows[0][2:]) if rows else None

    async def identities(self, person_no: int) -> list[Identity]:
        """List the documents by which a person is or was known, those that hold first."""
        rows = await self._database.fetch(_IDENTITIES([(person_no,)]))
        found = [
            Identity(person_no, IDType(id_type), IDNumber(number), ends)
            for person_no, number, id_type, ends in rows
        ]
        return sorted(found, key=lambda one: (-one.ends, one.id_type, one.number))

    async def cards_of(self, person_no: int) -> list[Card]:
        """List a person's cards by number."""
        rows = await self._database.fetch(_CARDS_OF_PERSON([(person_no,)]))
        return sorted((_card(row[1:]) for row in rows), key=lambda card: card.card_no)

    async def kept_number(self, person_no: int) -> int:
        """Return under which number a person is kept, who may have been merged."""
        rows = await self._database.fetch(_KEPT([(person_no,)]))
        return rows[0][1] if rows else person_no

    async def merged_into(self, person_no: int) -> list[int]:
        """List further numbers of a person, of records that were merged into theirs."""
        rows = await self._database.fetch(_MERGED_INTO([(person_no,)]))
        return sorted(row[1] for row in rows)

    async def insurances(self, person_no: int) -> list[Insurance]:
        """List a person's insurances: those in force first, then paused, then ended ones."""
        rows = await self._database.fetch(_INSURANCES([(person_no,)]))
        insurances = [_insurance(row) for row in rows]
        insurances.sort(key=lambda one: (one.state, one.insutype, -one.begins))
        return insurances

    async def mutual_aid_payer(self, person: Person) -> int:
        """Find whose personal account aids this person; 0 where no one else's does."""
        if not person.family_no:
            return 0
        rows = await self._database.fetch(_FAMILY([(person.family_no,)]))
        payer_no: int = rows[0][1] if rows else 0
        return 0 if payer_no == person.person_no else payer_no

    # --- institutions, terminals, operators --------------------------------------------------

    async def institution(self, institution_no: int) -> Institution | None:
        """Find an institution by our number."""
        rows = await self._database.fetch(_INSTITUTION([(institution_no,)]))
        return _institution(rows[0][1:]) if rows else None

    async def institution_by_code(self, code: str) -> Institution | None:
        """Find an institution by its code, as certificates name it."""
        rows = await self._database.fetch(_INSTITUTION_BY_CODE([(code,)]))
        return _institution(rows[0][1:]) if rows else None

    async def terminal(self, institution_no: int, code: str) -> Terminal | None:
        """Find an institution's terminal by its code, as certificates name it."""
        rows = await self._database.fetch(_TERMINAL_BY_CODE([(institution_no, code)]))
        return _terminal(rows[0][2:]) if rows else None

    async def terminal_by_no(self, terminal_no: int) -> Terminal | None:
        """Find a terminal by our number."""
        rows = await self._database.fetch(_TERMINAL([(terminal_no,)]))
        return _terminal(rows[0][1:]) if rows else None

    async def operator(self, institution_no: int, code: str) -> Operator | None:
        """Find an institution's operator by operator number; institution 0 is the fund."""
        rows = await self._database.fetch(_OPERATOR_BY_CODE([(institution_no, code)]))
        return _operator(rows[0][2:]) if rows else None

    async def operator_by_no(self, operator_no: int) -> Operator | None:
        """Find an operator by our number."""
        rows = await self._database.fetch(_OPERATOR([(operator_no,)]))
        return _operator(rows[0][1:]) if rows else None

    # --- sign-ons ----------------------------------------------------------------------------

    async def sign_on(self, sign_no: str) -> SignOn | None:
        """Find a sign-on, ended ones too, with the present state of all that it rests on."""
        rows = await self._database.fetch(_SIGN_ON([(sign_no,)]))
        if not rows:
            return None
        _, batch_no, begins_time_ms, ends_time_ms, wants_stages, institution_state, *rest = rows[0]
        return SignOn(
            sign_no=sign_no,
            terminal=_terminal(tuple(rest[: len(TERMINAL_COLUMNS)])),
            operator=_operator(tuple(rest[len(TERMINAL_COLUMNS) :])),
            institution_is_active=institution_state == ACTIVE,
            batch_no=batch_no,
            begins_time_ms=begins_time_ms,
            ends_time_ms=ends_time_ms,
            wants_stages=bool(wants_stages),
        )

    async def open_sign_on(
        self,
        *,
        sign_no: str,
        terminal_no: int,
        operator_no: int,
        begins_time_ms: int,
        ends_time_ms: int,
        business_date: int,
        wants_stages: bool,
    ) -> int:
        """Record a sign-on and forgive the operator's earlier wrong passwords.

        Returns:
            The number of the terminal's working day: the business date, YYYYMMDD, so that signing
            on again on the same day goes on with the same one.
        """
        row = (
            sign_no, terminal_no, operator_no, business_date, begins_time_ms, ends_time_ms,
            int(wants_stages),
        )  # fmt: skip

        def script() -> Generator[Query, list[Row], None]:
            yield _OPEN_SIGN_ON([row])
            # An operator locked meanwhile stays locked, and keeps the count.
            yield _FORGIVE([(0, operator_no, ACTIVE)])

        await self._database.transact(script)
        return business_date

    async def close_sign_on(self, sign_no: str, *, ends_time_ms: int) -> None:
        """End a sign-on now."""

        def script() -> Generator[Query, list[Row], None]:
            yield _CLOSE_SIGN_ON([(ends_time_ms, sign_no)])

        await self._database.transact(script)

    async def record_failure(self, operator_no: int, *, failures_max: int) -> bool:
        """Count a wrong password; say whether the operator is locked now."""

        def script() -> Generator[Query, list[Row], bool]:
            rows = yield _COUNT_FAILURE([(operator_no, failures_max)])
            return bool(rows) and rows[0][0] == LOCKED

        return await self._database.transact(script)

    async def forgive(self, operator_no: int) -> None:
        """Forget wrong passwords, now that the right one was given; who is locked stays locked."""

        def script() -> Generator[Query, list[Row], None]:
            yield _FORGIVE([(0, operator_no, ACTIVE)])

        await self._database.transact(script)

    # --- rules as data -----------------------------------------------------------------------

    async def policies(self) -> list[str]:
        """Read the text of every policy that applies, at whatever time of care."""
        return [row[0] for row in await self._database.fetch(_POLICIES())]


def _card(row: Row) -> Card:
    (
        card_no, profile, identity, region, card_number, card_id, person_no, version, algorithm,
        card_class, issuer, begins, ends, state,
    ) = row  # fmt: skip
    return Card(
        card_no=card_no,
        profile=profile,
        identity=bytes(identity),
        region=region,
        card_number=CardNumber(card_number),
        card_id=bytes(card_id),
        person_no=person_no,
        version=version,
        algorithm=algorithm,
        card_class=card_class,
        issuer=bytes(issuer),
        begins=begins,
        ends=ends,
        state=CardState(state),
    )


def _person(row: Row) -> Person:
    person_no, id_number, name, sex, birth_date, deceased_date, family_no = row
    return Person(
        person_no=person_no,
        id_number=IDNumber(id_number),
        name=PersonName(name),
        sex=sex,
        birth_date=birth_date,
        deceased_date=deceased_date,
        family_no=family_no,
    )


def _insurance(row: Row) -> Insurance:
    person_no, insutype, begins, ends, state, person_type, region = row
    return Insurance(person_no, insutype, begins, ends, InsuranceState(state), person_type, region)


def _institution(row: Row) -> Institution:
    institution_no, code, name, kind, level, state, contract_begins, contract_ends = row
    return Institution(
        institution_no=institution_no,
        code=code,
        name=name,
        kind=InstitutionKind(kind),
        level=level,
        is_active=state == ACTIVE,
        contract_begins=contract_begins,
        contract_ends=contract_ends,
    )


def _terminal(row: Row) -> Terminal:
    terminal_no, institution_no, code, certificate_sha256, state, ends_ms = row
    return Terminal(
        terminal_no, institution_no, code, bytes(certificate_sha256), state == ACTIVE, ends_ms
    )


def _operator(row: Row) -> Operator:
    operator_no, institution_no, code, name, role, password_hash, state, department = row
    return Operator(
        operator_no, institution_no, code, PersonName(name), role, password_hash, state == ACTIVE,
        department,
    )  # fmt: skip
