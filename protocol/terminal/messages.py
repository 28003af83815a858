"""Every message between a terminal and the centre: MessagePack arrays, one struct a message.

Fields are positional. A later version may append optional fields to any array; a reader ignores
the ones that it does not know. Not here: how messages are cut into frames (`frame.py`), in which
order they may come (`connection.py`), what the codes mean (`codes.py`).

Units: `..._fen` is a hundredth of a yuan, `..._microyuan` a millionth, `..._e4` a ten-thousandth
of a unit, `..._ms` milliseconds, `..._time_ms` milliseconds since 1970-01-01T00:00:00Z. Dates are
ISO 8601 strings. National names are those of the national platform's interface.
"""

import datetime as dt
from enum import IntEnum, unique
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

PROTOCOL_VERSION = 1
CHALLENGES_MAX = 4
STEPS_MAX = 64
FELT_STAGES_MAX = 16
LINES_MAX = 2000
FINDINGS_MAX = 64
LIST_ROWS_MAX = 1000
VISIT_LINES_MAX = 500
"""Of one message: about 60 KiB, so that the answer fits a frame too."""
REFUND_LINES_MAX = 200
"""Of one REFUND: who gives everything back sends a CANCEL."""
TOTALS_MAX = 16
RECONCILE_ROWS_MAX = 500
"""Of one RECONCILE_DETAIL: about 60 KiB; its reply may name as many of each side."""

Fen = Annotated[int, Meta(ge=-(10**13), le=10**13)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
TimeMs = Annotated[int, Meta(ge=0, le=2**53)]
Msgid = Annotated[str, Meta(max_length=30)]
Code = Annotated[str, Meta(max_length=40)]
Name = Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A code that something is looked up by: without control characters, which no database can hold."""
Text = Annotated[str, Meta(max_length=200)]
VisitText = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A text that is kept in a column of its own, without control characters."""
CardBytes = Annotated[bytes, Meta(max_length=65_538)]
StatusWord = Annotated[int, Meta(ge=0, le=0xFFFF)]
TypeNumber = Annotated[int, Meta(ge=0, le=2**16 - 1)]
CodeNumber = Annotated[int, Meta(ge=0, le=999)]
Ratio = Annotated[int, Meta(ge=0, le=10_000)]
Microyuan = Annotated[int, Meta(ge=0, le=10**13)]
"""A price: up to ten million yuan a unit, as in the catalogue."""
Day = Annotated[int, Meta(ge=0, le=99_991_231)]
"""A date as YYYYMMDD, which takes half of what a str does: lists hold many."""
Position = Annotated[bytes, Meta(max_length=64)]
ClearingType = Annotated[int, Meta(ge=0, le=99)]

REVIEW_CASES_MAX = 100
"""Of one REVIEW_CASES: about 30 KiB."""
REVIEW_CUTS_MAX = 500
ReviewText = Annotated[str, Meta(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What an institution says to an appeal, or is told of it."""
Month = Annotated[int, Meta(ge=0, le=999_912)]
"""A month as YYYYMM."""


@unique
class MessageType(IntEnum):
    """The second element of a request."""

    SIGN_ON = 1
    SIGN_OFF = 2
    ECHO = 3
    CARD_OPEN = 10
    MEMBER_QUERY = 11
    ELIGIBILITY = 12
    ACCUMULATORS = 13
    PREVIEW = 20
    SETTLE = 21
    CANCEL = 22
    REVERSE = 23
    STATUS = 24
    PRINT_ACK = 25
    EXPLAIN = 26
    REFUND = 27
    REGISTER = 30
    ADMIT = 31
    DISCHARGE = 32
    VISIT_CANCEL = 33
    DISCHARGE_CANCEL = 34
    LINES = 35
    LINES_CANCEL = 36
    VISIT_QUERY = 37
    LIST_DOWNLOAD = 40
    RECONCILE = 50
    RECONCILE_DETAIL = 51
    CLEARING_APPLY = 52
    CLEARING_CANCEL = 53
    CLEARING_QUERY = 54
    REVIEW_CASES = 60
    REVIEW_APPEAL = 61


# --- envelopes: what every frame holds ------------------------------------------------------


class StageTime(Struct, frozen=True, array_like=True):
    """How long one stage of a request took, at the centre or at the terminal.

    Attributes:
        stage: The stage's name, as in the metrics.
        microseconds: Its duration.
    """

    stage: Annotated[str, Meta(max_length=40)]
    microseconds: UInt32


class Felt(Struct, frozen=True, array_like=True):
    """What a terminal felt of an earlier request, and how many attempts it still has in doubt.

    Attributes:
        type: The earlier request's `MessageType`.
        msgid: The earlier request's.
        code: The answer's code.
        took_us: From when the cashier asked to the answer, pauses and repetitions included.
        sends: How often it was sent.
        stages: Where the time went at the terminal.
        outbox_count: Attempts in the outbox whose outcome is not known.
        outbox_age_ms: Since when the oldest of them waits.
    """

    type: TypeNumber
    msgid: Msgid
    code: CodeNumber
    took_us: UInt32
    sends: UInt32
    stages: Annotated[tuple[StageTime, ...], Meta(max_length=FELT_STAGES_MAX)] = ()
    outbox_count: UInt32 = 0
    outbox_age_ms: TimeMs = 0


class Request(Struct, frozen=True, array_like=True, tag_field="kind", tag=1):
    """A terminal's request.

    Attributes:
        exchange: Chosen by the terminal, unique among its requests in flight on the connection.
        type: A `MessageType`; kept an integer so that an unknown one can be answered.
        msgid: Institution 12, yyyyMMddHHmmss, sequence 4; the same on every repetition.
        sign_no: From SIGN_ON's reply; empty before.
        terminal: The terminal's code; must be the certificate's.
        operator: The operator signed on.
        card_session: From CARD_OPEN's reply; empty without a card.
        list_version: Of the revocation list that the terminal holds.
        time_left_ms: How long the sender will still wait, measured at sending.
        sent_time_ms: The terminal's clock; reported where it is far from the centre's.
        trace: W3C `traceparent`, or empty.
        body: One of the bodies below, as `type` says; its bytes as sent enter the request hash.
        felt_ms: What the cashier waited for the previous request's answer; 0 unknown.
        felt: The same by stages, with the request that it was; once for each request answered.
    """

    exchange: UInt32
    type: TypeNumber
    msgid: Msgid
    sign_no: Name
    terminal: Name
    operator: Name
    card_session: Annotated[bytes, Meta(max_length=512)]
    list_version: UInt32
    time_left_ms: Annotated[int, Meta(ge=0, le=600_000)]
    sent_time_ms: TimeMs
    trace: Annotated[str, Meta(max_length=55)]
    body: Raw
    felt_ms: UInt32 = 0
    felt: Felt | None = None


class Challenge(Struct, frozen=True, array_like=True):
    """A challenge of the centre's, handed out in advance.

    Attributes:
        number: Names it in CARD_OPEN; valid on this connection only.
        value: 32 random bytes.
        life_ms: How long it may be used, from receipt.
    """

    number: UInt32
    value: Annotated[bytes, Meta(min_length=32, max_length=32)]
    life_ms: UInt32


class Reply(Struct, frozen=True, array_like=True, tag_field="kind", tag=2):
    """The centre's answer to one request.

    Attributes:
        exchange: The request's.
        code: A `ResponseCode`.
        duplicate: Whether the body is an earlier attempt's, repeated.
        business_date: The fund's day to which this belongs.
        centre_time_ms: The centre's clock at answering.
        list_version: The newest revocation list; fetch it where yours is older.
        detail_zh: What the cashier should know beyond the code's own words, in Chinese.
        detail_en: The same in English.
        body: The reply body that belongs to the request's type, or nil on most refusals.
        challenges: Replacements for the ones used or aged; they add to those still held.
        stages: Where this request's time went, when the terminal asked for it in SIGN_ON.
    """

    exchange: UInt32
    code: CodeNumber
    duplicate: bool
    business_date: dt.date
    centre_time_ms: TimeMs
    list_version: UInt32
    detail_zh: Text
    detail_en: Text
    body: Raw
    challenges: Annotated[tuple[Challenge, ...], Meta(max_length=CHALLENGES_MAX)] = ()
    stages: Annotated[tuple[StageTime, ...], Meta(max_length=64)] = ()


class ChallengeSpan(Struct, frozen=True, array_like=True):
    """Where bytes of a challenge are put into a command before it is sent.

    Attributes:
        command_offset: Index of the first byte replaced.
        challenge_offset: Index of the first byte taken from the challenge.
        size: How many bytes.
    """

    command_offset: UInt32
    challenge_offset: UInt32
    size: UInt32


class StepCondition(Struct, frozen=True, array_like=True):
    """Send the step only if an earlier answer of the batch holds these bytes.

    Attributes:
        step: Index of the earlier step in the batch.
        offset: Index into its answer, without status word.
        value: What must stand there.
    """

    step: UInt32
    offset: UInt32
    value: CardBytes


@unique
class PINKind(IntEnum):
    """Which PIN a command carries."""

    CURRENT = 1
    NEW = 2


@unique
class PINFormat(IntEnum):
    """How a PIN is written into a command."""

    BCD = 1
    """Two digits a byte, an odd one padded with F."""
    BLOCK_2 = 2
    """Eight bytes: 2, how many digits, the digits, F (ISO 9564-1:2017, format 2)."""


class PINPlace(Struct, frozen=True, array_like=True):
    """Where the terminal puts a PIN that it asked the holder for.

    Attributes:
        command_offset: Index in the template before which the PIN is inserted.
        kind: Which PIN, a `PINKind`.
        form: How it is written, a `PINFormat`.
        tries_left: What the card said last, to be shown to the holder; -1 unknown.
    """

    command_offset: UInt32
    kind: PINKind
    form: PINFormat
    tries_left: Annotated[int, Meta(ge=-1, le=15)]


class CardStep(Struct, frozen=True, array_like=True):
    """One command of a batch.

    Attributes:
        command: The command APDU (ISO/IEC 7816-3:2006, 12.1); zeros where a challenge goes.
        expected: Status words on which the batch goes on.
        spans: Places for challenge bytes.
        condition: When to skip the step; a skipped step's answer is empty.
        pins: Places for PINs, in a Relay only; the command is then a template without them.
    """

    command: CardBytes
    expected: Annotated[tuple[StatusWord, ...], Meta(max_length=64)]
    spans: Annotated[tuple[ChallengeSpan, ...], Meta(max_length=16)] = ()
    condition: StepCondition | None = None
    pins: Annotated[tuple[PINPlace, ...], Meta(max_length=2)] = ()


@unique
class RelayOutcome(IntEnum):
    """How the terminal's reader fared with a batch."""

    COMPLETED = 0
    UNEXPECTED_STATUS = 1
    CARD_REMOVED = 2
    READER_FAULT = 3


class Relay(Struct, frozen=True, array_like=True, tag_field="kind", tag=3):
    """The centre's push of a batch of card commands within a CARD_OPEN.

    Attributes:
        exchange: The CARD_OPEN's.
        sequence: From 1, one more each batch of the exchange.
        steps: The commands.
        time_left_ms: How long the centre waits for the answers.
    """

    exchange: UInt32
    sequence: UInt32
    steps: Annotated[tuple[CardStep, ...], Meta(max_length=STEPS_MAX)]
    time_left_ms: UInt32


class Relayed(Struct, frozen=True, array_like=True, tag_field="kind", tag=4):
    """The terminal's answers to a `Relay`.

    Attributes:
        exchange: The Relay's.
        sequence: The Relay's.
        outcome: A `RelayOutcome`; with anything but COMPLETED, `answers` ends early.
        answers: The response APDUs in the order of the steps, empty for a skipped step.
        card_time_us: Time spent in reader and card, in microseconds.
    """

    exchange: UInt32
    sequence: UInt32
    outcome: RelayOutcome
    answers: Annotated[tuple[CardBytes, ...], Meta(max_length=STEPS_MAX)]
    card_time_us: UInt32


class Goodbye(Struct, frozen=True, array_like=True, tag_field="kind", tag=5):
    """Sent before a connection is closed on purpose, by either side.

    Attributes:
        code: Why, a `ResponseCode`.
        detail: What was wrong, for the one who can mend it.
    """

    code: CodeNumber
    detail: Text


Message = Request | Reply | Relay | Relayed | Goodbye


# --- session ---------------------------------------------------------------------------------


class OpeningBatch(Struct, frozen=True, array_like=True):
    """What a terminal sends to a card as soon as it is inserted, by the card's ATR.

    Attributes:
        opening: Names it in CARD_OPEN.
        atr: The ATR's bytes to compare.
        atr_mask: Which bits of them; an ATR matches when it has this length and these bits.
        steps: The commands.
    """

    opening: UInt32
    atr: CardBytes
    atr_mask: CardBytes
    steps: Annotated[tuple[CardStep, ...], Meta(max_length=STEPS_MAX)]


class SignOn(Struct, frozen=True, array_like=True):
    """SIGN_ON (9001): prove the operator, agree on a version.

    Attributes:
        operator: Operator number.
        password: Operator's password; checked at the centre, never stored at the terminal.
        operator_type: 1 clerk, 2 self-service, 3 mobile.
        software: Name and version of the terminal's software.
        versions: Protocol versions that the terminal speaks.
        wants_stages: Whether replies should carry stage times.
    """

    operator: Name
    password: Annotated[str, Meta(max_length=128)]
    operator_type: Annotated[int, Meta(ge=1, le=3)]
    software: Text
    versions: Annotated[tuple[UInt32, ...], Meta(min_length=1, max_length=16)]
    wants_stages: bool = False

    def __repr__(self) -> str:
        """Show nothing of the password."""
        return f"SignOn({self.operator!r}, <password>, software={self.software!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # Any: as msgspec has it
        """Show nothing of the password to rich either."""
        return [("operator", self.operator), ("software", self.software)]


class ListVersion(Struct, frozen=True, array_like=True):
    """The newest version of a list that terminals may hold.

    Attributes:
        name: The list, as in `ListDownload`.
        version: Its newest version; 0 where it has none yet.
    """

    name: Code
    version: UInt32


class SignedOn(Struct, frozen=True, array_like=True):
    """SIGN_ON's reply.

    Attributes:
        sign_no: To be carried by every later request, on any connection of the terminal.
        version: The protocol version chosen.
        batch_no: Number of the terminal's working day at the centre.
        fund_zh: The fund's name in Chinese.
        fund_en: The fund's name in English.
        challenges: The first challenges; at most four are alive at once.
        openings: The opening batches, in the order in which their ATR is to be compared.
        in_flight_max: Requests that may be in flight at once.
        frame_size_max: Largest frame payload, in bytes.
        expires_time_ms: When the sign-on ends.
        lists: The newest versions of the lists that LIST_DOWNLOAD gives.
    """

    sign_no: Code
    version: UInt32
    batch_no: UInt32
    fund_zh: Text
    fund_en: Text
    challenges: Annotated[tuple[Challenge, ...], Meta(max_length=CHALLENGES_MAX)]
    openings: Annotated[tuple[OpeningBatch, ...], Meta(max_length=64)]
    in_flight_max: UInt32
    frame_size_max: UInt32
    expires_time_ms: TimeMs
    lists: Annotated[tuple[ListVersion, ...], Meta(max_length=16)] = ()


class SignOff(Struct, frozen=True, array_like=True):
    """SIGN_OFF (9002): end the sign-on; its sign_no is refused from then on."""


class SignedOff(Struct, frozen=True, array_like=True):
    """SIGN_OFF's reply."""


class Echo(Struct, frozen=True, array_like=True):
    """ECHO: is the centre there? Allowed before SIGN_ON.

    Attributes:
        payload: Comes back unchanged.
    """

    payload: Annotated[bytes, Meta(max_length=4096)]


class Echoed(Struct, frozen=True, array_like=True):
    """ECHO's reply."""

    payload: Annotated[bytes, Meta(max_length=4096)]


# --- card and person -------------------------------------------------------------------------


@unique
class PINAction(IntEnum):
    """What the terminal is ready to ask the holder's PIN for."""

    NONE = 0
    VERIFY = 1
    CHANGE = 2


class CardOpen(Struct, frozen=True, array_like=True):
    """CARD_OPEN (1602): a card is in the reader.

    Attributes:
        reader: The reader's name at the terminal; `centre:NAME` for one attached to the centre.
        atr: The card's ATR.
        opening: Which opening batch was sent; 0 none.
        challenge: Number of the challenge put into it; 0 none.
        outcome: How the reader fared with it.
        answers: Its answers.
        wants_holder: Whether to read the holder's file where that needs external authentication.
        card_time_us: Time spent in reader and card so far, in microseconds.
        wants_medical: Whether to read the card's medical file.
        pin_action: A `PINAction`; with NONE no Relay has places for PINs.
    """

    reader: Text
    atr: Annotated[bytes, Meta(max_length=33)]
    opening: UInt32
    challenge: UInt32
    outcome: RelayOutcome
    answers: Annotated[tuple[CardBytes, ...], Meta(max_length=STEPS_MAX)]
    wants_holder: bool
    card_time_us: UInt32
    wants_medical: bool = False
    pin_action: PINAction = PINAction.NONE


@unique
class ProofLevel(IntEnum):
    """What is proven about the one before the counter."""

    NONE = 0
    """Nothing: a number was typed in."""
    UNVERIFIED_CARD = 1
    """A card was read that cannot prove itself."""
    GENUINE_CARD = 2
    """The card proved possession of its key to the centre's own challenge."""


@unique
class InsuranceState(IntEnum):
    """State of one insurance of a person (psn_insu_stas)."""

    IN_FORCE = 1
    PAUSED = 2
    ENDED = 4


class Insurance(Struct, frozen=True, array_like=True):
    """One insurance of a person.

    Attributes:
        insutype: 310 employees, 320 civil servants, 330 large amounts, 340 retired cadres,
            390 residents, 510 maternity.
        state: Whether it is in force now.
        person_type: 11 active, 12 retired, 14 resident (psn_type, its first two digits).
        region: GB/T 2260 code of the insured place.
        begins: First day.
        ends: Last day, or nil.
    """

    insutype: Code
    state: InsuranceState
    person_type: Code
    region: Code
    begins: dt.date
    ends: dt.date | None


class Accumulator(Struct, frozen=True, array_like=True):
    """What one person has used in one year under one insurance and care scheme.

    Attributes:
        year: Calendar year.
        insutype: As in Insurance.
        scheme: `outpatient` or `inpatient`.
        deductible_fen: Deductible borne so far.
        in_scope_fen: In-scope amount so far.
        pool_fen: Paid by the pooled fund so far.
        large_amount_fen: Paid by the large-amount scheme so far.
        admissions: Inpatient stays settled so far.
    """

    year: UInt32
    insutype: Code
    scheme: Code
    deductible_fen: Fen
    in_scope_fen: Fen
    pool_fen: Fen
    large_amount_fen: Fen
    admissions: UInt32


class Person(Struct, frozen=True, array_like=True):
    """A person as the counter needs to see them.

    Attributes:
        psn_no: The fund's number of the person.
        name: Name.
        sex: 1 male, 2 female, 9 not stated.
        birth_date: Date of birth.
        insurances: All insurances, those in force first.
        account_balance_fen: Personal account.
        accumulators: Of the running year.
    """

    psn_no: Code
    name: Text
    sex: Annotated[int, Meta(ge=0, le=9)]
    birth_date: dt.date
    insurances: Annotated[tuple[Insurance, ...], Meta(max_length=64)]
    account_balance_fen: Fen
    accumulators: Annotated[tuple[Accumulator, ...], Meta(max_length=64)]


@unique
class PINState(IntEnum):
    """What VERIFY without data said (ISO/IEC 7816-4:2020, 11.5.6)."""

    NOT_REQUIRED = 0
    REQUIRED = 1
    BLOCKED = 2
    UNKNOWN = 3


@unique
class PINResult(IntEnum):
    """What became of the PIN that CARD_OPEN asked for."""

    NOT_ASKED = 0
    """None was wanted, or none is needed, or the card's PIN was blocked before."""
    RIGHT = 1
    WRONG = 2
    """`pin_tries` says how often it may be tried yet."""
    BLOCKED = 3
    """It was the last try."""
    NOT_GIVEN = 4
    CHANGED = 5
    FAILED = 6
    """The card refused for another reason than the PIN."""


class MedicalItem(Struct, frozen=True, array_like=True):
    """One data item of the card's medical file (EF05 of DF04).

    Attributes:
        tag: The data item's number in 社会保障卡文件结构和数据项 V2.0.
        text: Its value as text: digits, ASCII or GB18030, without padding.
    """

    tag: Annotated[int, Meta(ge=0, le=255)]
    text: Text


class CardLogRecord(Struct, frozen=True, array_like=True):
    """One record of the card's own settlement log (EF08 of DF04).

    Attributes:
        sequence: The card's count.
        kind: 1 credit, 2 medical settlement.
        terminal: Number of the terminal that wrote it, as digits.
        time: YYYYMMDDhhmmss by that terminal's clock.
        account_fen: Personal account.
        own_pay_fen: Paid by the person.
        pool_fen: Paid by the pooled fund.
    """

    sequence: UInt32
    kind: Code
    terminal: Code
    time: Code
    account_fen: UInt32
    own_pay_fen: UInt32
    pool_fen: UInt32


class MedicalFile(Struct, frozen=True, array_like=True):
    """What the card says about its holder's insurance; nothing is decided by it.

    Attributes:
        items: Data items that are on the card.
        log: Newest first.
        marks: Records of EF15, newest first, as they are on the card.
    """

    items: Annotated[tuple[MedicalItem, ...], Meta(max_length=32)]
    log: Annotated[tuple[CardLogRecord, ...], Meta(max_length=30)]
    marks: Annotated[tuple[CardBytes, ...], Meta(max_length=30)]


class CardOpened(Struct, frozen=True, array_like=True):
    """CARD_OPEN's reply.

    Attributes:
        card_session: To be carried in the envelope of later requests.
        session_life_ms: How long it holds.
        profile: The card profile's name.
        card_number: The card's printed number.
        proof: A `ProofLevel`.
        pin: State of the PIN.
        pin_tries: Tries left, where the card said so; -1 unknown.
        holder_name: From the card's holder file; empty where it was not read.
        holder_id: The social-security number from the holder file; empty where not read.
        person: The person that the registry binds to the card.
        round_trips: Round trips between centre and terminal that this took.
        card_time_us: Time in reader and card, in microseconds.
        pin_result: A `PINResult`.
        medical: The card's medical file, where it was wanted and could be read; else nil.
    """

    card_session: Annotated[bytes, Meta(max_length=512)]
    session_life_ms: UInt32
    profile: Code
    card_number: Code
    proof: ProofLevel
    pin: PINState
    pin_tries: Annotated[int, Meta(ge=-1, le=15)]
    holder_name: Text
    holder_id: Code
    person: Person
    round_trips: UInt32
    card_time_us: UInt32
    pin_result: PINResult = PINResult.NOT_ASKED
    medical: MedicalFile | None = None


class MemberQuery(Struct, frozen=True, array_like=True):
    """MEMBER_QUERY (1101): who is this?

    Attributes:
        certificate_type: 02 identity card, 03 social security card.
        certificate_number: The number.
    """

    certificate_type: Annotated[str, Meta(max_length=3)]
    certificate_number: Name


class MemberFound(Struct, frozen=True, array_like=True):
    """MEMBER_QUERY's reply."""

    person: Person


class Eligibility(Struct, frozen=True, array_like=True):
    """ELIGIBILITY (2001): is this person entitled?

    Attributes:
        psn_no: The person; empty for the card session's.
        insutype: Which insurance.
        med_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        date: Date of care; nil for the business date.
    """

    psn_no: Code
    insutype: Code
    med_type: Code
    date: dt.date | None = None


class EligibilityFound(Struct, frozen=True, array_like=True):
    """ELIGIBILITY's reply.

    Attributes:
        is_entitled: Whether SETTLE would find this care covered here.
        reason: The `ResponseCode` that SETTLE would answer; 0 when entitled.
        begins: First day of the coverage found, or nil.
        ends: Last day, or nil.
    """

    is_entitled: bool
    reason: CodeNumber
    begins: dt.date | None
    ends: dt.date | None


class Accumulators(Struct, frozen=True, array_like=True):
    """ACCUMULATORS (5206): what has a person used in a year?

    Attributes:
        psn_no: The person; empty for the card session's.
        year: The year of care; 0 for the running one.
    """

    psn_no: Code
    year: Annotated[int, Meta(ge=0, le=9999)] = 0


class VisitCount(Struct, frozen=True, array_like=True):
    """How often a person was treated in a year, under one insurance.

    Attributes:
        insutype: As in Insurance.
        med_type: 11 outpatient, 21 inpatient, 41 pharmacy ...
        visits: Settlements that stand; those of one visit or stay count once.
    """

    insutype: Code
    med_type: Code
    visits: UInt32


class AccumulatorsFound(Struct, frozen=True, array_like=True):
    """ACCUMULATORS's reply.

    Attributes:
        psn_no: The person.
        year: The year.
        accumulators: What was used of each kind of care, and of each supplementary layer.
        visits: How often the person was treated.
    """

    psn_no: Code
    year: UInt32
    accumulators: Annotated[tuple[Accumulator, ...], Meta(max_length=64)]
    visits: Annotated[tuple[VisitCount, ...], Meta(max_length=64)]


# --- money -----------------------------------------------------------------------------------


class Line(Struct, frozen=True, array_like=True):
    """One line of a bill.

    Attributes:
        item: The catalogue's code.
        name: As printed on the receipt.
        price_microyuan: Unit price in millionths of a yuan.
        quantity_e4: Quantity in ten-thousandths.
        gross_fen: The line's amount; price times quantity, rounded half up to the fen.
    """

    item: Code
    name: Text
    price_microyuan: Microyuan
    quantity_e4: Annotated[int, Meta(ge=1, le=10**10)]
    gross_fen: Annotated[int, Meta(ge=0, le=10**11)]


class Bill(Struct, frozen=True, array_like=True):
    """What is to be settled.

    Attributes:
        insutype: Which insurance pays.
        med_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        total_fen: Sum of the lines; of a visit, of those that are settled now.
        uses_account: Whether the personal account pays what it may.
        invoice: The institution's invoice number.
        lines: The lines; empty where `mdtrt_id` names a visit, and only there.
        admitted: First day of the stay; nil for outpatients, and with a visit.
        discharged: Last day of the stay; nil for outpatients. With a visit, the last day whose
            lines are settled; nil for all.
        disease: The chronic or special disease that this care is for (dise_codg); else empty.
        mdtrt_id: The visit whose lines are settled; empty where the bill brings its own.
        emergency: Whether the patient came as an emergency.
    """

    insutype: Code
    med_type: Code
    total_fen: Annotated[int, Meta(ge=0, le=10**12)]
    uses_account: bool
    invoice: Code
    lines: Annotated[tuple[Line, ...], Meta(max_length=LINES_MAX)]
    admitted: dt.date | None = None
    discharged: dt.date | None = None
    disease: Code = ""
    mdtrt_id: Code = ""
    emergency: bool = False


class CardException(Struct, frozen=True, array_like=True):
    """Why there is no card session, where the policy allows that.

    Attributes:
        name: One of the exceptions that the centre's configuration allows.
        certificate_type: As in MemberQuery.
        certificate_number: Who is treated.
    """

    name: Code
    certificate_type: Annotated[str, Meta(max_length=3)]
    certificate_number: Name


class Preview(Struct, frozen=True, array_like=True):
    """PREVIEW (2101, 2206, 2303): as SETTLE, and nothing is committed.

    Attributes:
        bill: The bill.
        exception: In place of a card session.
        wants_explanation: Whether the reply should explain each step.
        override: As in Settle.
    """

    bill: Bill
    exception: CardException | None = None
    wants_explanation: bool = True
    override: Text = ""


class Layer(Struct, frozen=True, array_like=True):
    """What one layer pays.

    Attributes:
        field: Its national name (hifp_pay, hifob_pay, cvlserv_pay, hifes_pay, hifmi_pay,
            maf_pay, oth_pay).
        paid_fen: What it pays.
    """

    field: Code
    paid_fen: Fen


class Split(Struct, frozen=True, array_like=True):
    """How a bill is divided; every sum adds up to the fen.

    Attributes:
        total_fen: The bill's total.
        fully_own_fen: Fully the patient's own: class C and what is not in the catalogue.
        over_limit_fen: What lies above price limits.
        pre_self_pay_fen: The patient's share of class B, borne before all else.
        in_scope_fen: What is left, and in the scope of the insurance.
        deductible_fen: What of that the deductible takes.
        layers: The funds' layers, in the order in which they paid.
        fund_pay_fen: The sum of the layers.
        hospital_part_fen: What the institution bears.
        person_part_fen: What the person bears.
        account_pay_fen: Of that, from the personal account.
        mutual_aid_fen: Of that, from the family's account.
        cash_fen: Of that, to be paid at the counter.
    """

    total_fen: Fen
    fully_own_fen: Fen
    over_limit_fen: Fen
    pre_self_pay_fen: Fen
    in_scope_fen: Fen
    deductible_fen: Fen
    layers: Annotated[tuple[Layer, ...], Meta(max_length=16)]
    fund_pay_fen: Fen
    hospital_part_fen: Fen
    person_part_fen: Fen
    account_pay_fen: Fen
    mutual_aid_fen: Fen
    cash_fen: Fen


class LineSplit(Struct, frozen=True, array_like=True):
    """How one line is divided.

    Attributes:
        item_class: 1 甲 A, 2 乙 B, 3 丙 C or uncatalogued.
        price_limit_microyuan: The limit applied, or nil.
        self_pay_ratio_e4: In ten-thousandths.
        fully_own_fen: As in Split, of this line.
        over_limit_fen: As in Split, of this line.
        pre_self_pay_fen: As in Split, of this line.
        in_scope_fen: As in Split, of this line.
    """

    item_class: Annotated[int, Meta(ge=1, le=3)]
    price_limit_microyuan: Microyuan | None
    self_pay_ratio_e4: Ratio
    fully_own_fen: Fen
    over_limit_fen: Fen
    pre_self_pay_fen: Fen
    in_scope_fen: Fen


class ExplanationStep(Struct, frozen=True, array_like=True):
    """One step of the calculation.

    Attributes:
        rule: Policy, version and key, e.g. `beijing-employees@2024-01-01/outpatient.bands[0]`.
        text_zh: The step in Chinese, with its figures.
        text_en: The same in English.
        amount_fen: What the step gave.
        field: The field of Split that it adds to; empty for an intermediate figure.
    """

    rule: Annotated[str, Meta(max_length=200)]
    text_zh: Annotated[str, Meta(max_length=500)]
    text_en: Annotated[str, Meta(max_length=500)]
    amount_fen: Fen
    field: Code


class CheckFinding(Struct, frozen=True, array_like=True):
    """What a check at the counter found.

    Attributes:
        rule: The rule's name.
        text_zh: Why, in Chinese, with the figures of this case.
        text_en: The same in English.
        line: The bill's line, from 1; 0 for the bill as a whole.
    """

    rule: Code
    text_zh: Text
    text_en: Text
    line: UInt32


class CheckRefused(Struct, frozen=True, array_like=True):
    """PREVIEW's and SETTLE's reply with CHECK_REFUSED.

    Attributes:
        refusals: What refuses the bill, the reason named in the envelope first.
        warnings: What would only warn.
        override: The role of the operator who may let all of the refusals pass; empty for nobody.
    """

    refusals: Annotated[tuple[CheckFinding, ...], Meta(min_length=1, max_length=FINDINGS_MAX)]
    warnings: Annotated[tuple[CheckFinding, ...], Meta(max_length=FINDINGS_MAX)] = ()
    override: Code = ""


class Previewed(Struct, frozen=True, array_like=True):
    """PREVIEW's reply, and SETTLE's with SPLIT_CHANGED.

    Attributes:
        psn_no: The person.
        split: The bill's division.
        line_splits: The lines', in their order.
        balance_after_fen: What the personal account would hold.
        explanation: Step by step, when asked for and where it fits the frame.
        warnings: What the checks at the counter found, refusals that are overridden too; with
            SPLIT_CHANGED none.
    """

    psn_no: Code
    split: Split
    line_splits: Annotated[tuple[LineSplit, ...], Meta(max_length=LINES_MAX)]
    balance_after_fen: Fen
    explanation: Annotated[tuple[ExplanationStep, ...], Meta(max_length=1000)] = ()
    warnings: Annotated[tuple[CheckFinding, ...], Meta(max_length=FINDINGS_MAX)] = ()


class Settle(Struct, frozen=True, array_like=True):
    """SETTLE (2102, 2207, 2304): commit the bill.

    Attributes:
        bill: The bill.
        fund_pay_fen: What the patient was shown that the funds pay.
        account_pay_fen: What they were shown that their accounts pay, mutual aid included.
        cash_fen: What they were shown to pay themselves.
        exception: In place of a card session.
        override: Why a supervisor lets pass what checks at the counter refuse; else empty.
    """

    bill: Bill
    fund_pay_fen: Fen
    account_pay_fen: Fen
    cash_fen: Fen
    exception: CardException | None = None
    override: Text = ""


class Settled(Struct, frozen=True, array_like=True):
    """SETTLE's reply, and CANCEL's, whose amounts are the exact negative.

    Attributes:
        setl_id: Settlement number.
        psn_no: The person.
        split: The bill's division.
        balance_after_fen: What the personal account holds now.
        settled_time_ms: The centre's time (setl_time).
        cancels: For CANCEL the settlement undone; else empty.
        warnings: As in Previewed.
        clearing_type: Under which it is reconciled and cleared: 11 outpatient, 21 inpatient,
            41 pharmacy; 0 where an older centre did not say.
    """

    setl_id: Code
    psn_no: Code
    split: Split
    balance_after_fen: Fen
    settled_time_ms: TimeMs
    cancels: Code = ""
    warnings: Annotated[tuple[CheckFinding, ...], Meta(max_length=FINDINGS_MAX)] = ()
    clearing_type: ClearingType = 0


class Cancel(Struct, frozen=True, array_like=True):
    """CANCEL (2103, 2208, 2305): a new settlement that is the exact negative.

    Attributes:
        setl_id: The settlement to undo.
        reason: Why, for the audit.
    """

    setl_id: Code
    reason: Text


class Reverse(Struct, frozen=True, array_like=True):
    """REVERSE (2601): whatever became of that msgid, it shall not stand.

    Attributes:
        original_terminal: The terminal that sent it, of the same institution.
        original_msgid: Its msgid.
        reason: Why, for the audit.
    """

    original_terminal: Name
    original_msgid: Msgid
    reason: Text


@unique
class ReverseResult(IntEnum):
    """What REVERSE found."""

    REVERSED = 1
    ALREADY_UNDONE = 2
    NOT_FOUND = 3
    """Never seen: a tombstone now refuses it, should it still arrive."""
    NOT_SETTLED = 4
    """It was refused, so there is nothing to undo."""


class Reversed(Struct, frozen=True, array_like=True):
    """REVERSE's reply.

    Attributes:
        result: A `ReverseResult`.
        setl_id: The settlement undone; empty where there was none.
        undo_setl_id: The settlement that undid it; empty where there was none.
        balance_after_fen: The personal account afterwards; 0 where nothing was undone.
    """

    result: ReverseResult
    setl_id: Code
    undo_setl_id: Code
    balance_after_fen: Fen


class Status(Struct, frozen=True, array_like=True):
    """STATUS: what is known of that msgid?

    Attributes:
        original_terminal: The terminal that sent it, of the same institution.
        original_msgid: Its msgid.
    """

    original_terminal: Name
    original_msgid: Msgid


@unique
class StatusState(IntEnum):
    """What the centre knows of a msgid."""

    NOT_SEEN = 0
    """Never final: the original may be on its way. Repeat the same msgid, or REVERSE."""
    IN_PROGRESS = 1
    SETTLED = 2
    REFUSED = 3
    UNDONE = 4
    TOMBSTONED = 5


class StatusFound(Struct, frozen=True, array_like=True):
    """STATUS's reply.

    Attributes:
        state: A `StatusState`.
        type: The original's message type; 0 when never seen.
        code: Its `ResponseCode`.
        setl_id: Its settlement number, if any.
        body: The original reply's body, byte for byte; nil when there is none.
    """

    state: StatusState
    type: TypeNumber
    code: CodeNumber
    setl_id: Code
    body: Raw


class PrintAck(Struct, frozen=True, array_like=True):
    """PRINT_ACK: did the receipt come out of the printer?

    Attributes:
        setl_id: The settlement.
        is_printed: Whether it did.
    """

    setl_id: Code
    is_printed: bool


class PrintAcked(Struct, frozen=True, array_like=True):
    """PRINT_ACK's reply.

    Attributes:
        copies: How many were printed before this one; above 0 the receipt is a copy.
    """

    copies: UInt32


class Explain(Struct, frozen=True, array_like=True):
    """EXPLAIN: how did a settlement come to what it is?

    Attributes:
        setl_id: The settlement, of the asking institution.
        first_line: Index of the first line wanted.
        first_step: Index of the first step wanted.
    """

    setl_id: Code
    first_line: UInt32 = 0
    first_step: UInt32 = 0


@unique
class ExplainResult(IntEnum):
    """Whether a settlement can be explained."""

    EXPLAINED = 0
    UNDOING = 1
    """It undoes another one; that one is to be explained, and this is its exact negative."""
    NOT_REPRODUCED = 2
    """What was kept of it gives another split, so nothing is explained: tell the fund."""
    FACTS_NOT_KEPT = 3
    """It is older than the keeping of facts."""
    POLICY_NOT_KNOWN = 4
    """The policy version that decided is no longer at hand."""


class Explained(Struct, frozen=True, array_like=True):
    """EXPLAIN's reply.

    Attributes:
        setl_id: The settlement.
        result: An `ExplainResult`; steps come with EXPLAINED only.
        policy: Name, first day and hash of the policy version that decided.
        care_date: The day whose rules applied.
        undoes: The settlement that this one undoes; else empty.
        undone_by: The settlement that undid this one; else empty.
        replaces: The settlement that this one is what remained of, after a refund; else empty.
        split: As settled.
        lines: The bill's, from `first_line` on, as many as fit.
        line_splits: Theirs.
        next_line: Index of the first line that did not come along; 0 when there is none.
        explanation: The steps, from `first_step` on, as many as fit.
        next_step: Index of the first step that did not come along; 0 when there is none.
    """

    setl_id: Code
    result: ExplainResult
    policy: Text
    care_date: dt.date
    undoes: Code
    undone_by: Code
    replaces: Code
    split: Split
    lines: Annotated[tuple[Line, ...], Meta(max_length=LINES_MAX)]
    line_splits: Annotated[tuple[LineSplit, ...], Meta(max_length=LINES_MAX)]
    next_line: UInt32
    explanation: Annotated[tuple[ExplanationStep, ...], Meta(max_length=1000)]
    next_step: UInt32


class RefundLine(Struct, frozen=True, array_like=True):
    """How much of one line is given back.

    Attributes:
        line: Its number in the settlement's bill, from 1.
        quantity_e4: How much, in ten-thousandths.
    """

    line: Annotated[int, Meta(ge=1, le=LINES_MAX)]
    quantity_e4: Annotated[int, Meta(ge=1, le=10**10)]


class Refund(Struct, frozen=True, array_like=True):
    """REFUND: lines of a settlement are given back; what remains is settled anew.

    Attributes:
        setl_id: The settlement, of the asking institution.
        lines: What is given back.
        reason: Why, for the audit.
        commits: Whether to do it; without it the reply shows what it would be, and nothing is kept.
        fund_pay_fen: What the patient was shown that the funds take back.
        account_pay_fen: What they were shown that their accounts get back, mutual aid included.
        cash_fen: What they were shown to get back at the counter.
    """

    setl_id: Code
    lines: Annotated[tuple[RefundLine, ...], Meta(min_length=1, max_length=REFUND_LINES_MAX)]
    reason: Text
    commits: bool
    fund_pay_fen: Fen = 0
    account_pay_fen: Fen = 0
    cash_fen: Fen = 0


class RefundedLine(Struct, frozen=True, array_like=True):
    """One line given back.

    Attributes:
        line: Its number in the bill of the settlement refunded.
        item: The catalogue's code.
        name: As printed on the receipt.
        price_microyuan: Unit price.
        quantity_e4: What was given back.
        gross_fen: What the line was worth less what its rest is worth; so that a line given back
            bit by bit comes to what it was sold for.
    """

    line: UInt32
    item: Code
    name: Text
    price_microyuan: Microyuan
    quantity_e4: Annotated[int, Meta(ge=1, le=10**10)]
    gross_fen: Fen


class Refunded(Struct, frozen=True, array_like=True):
    """REFUND's reply, also with SPLIT_CHANGED.

    Attributes:
        refunds: The settlement refunded.
        undo_setl_id: The settlement that undid it, its exact negative; empty where nothing was
            committed.
        setl_id: The settlement of what remains; empty where nothing remains or was committed.
        psn_no: The person.
        given_back: The split of the settlement refunded less that of what remains.
        remaining: The split of what remains; nil when nothing does.
        lines: The lines given back.
        balance_after_fen: What the personal account holds afterwards.
        settled_time_ms: The centre's time.
        clearing_type: As in Settled, of the settlement refunded and of what remains.
    """

    refunds: Code
    undo_setl_id: Code
    setl_id: Code
    psn_no: Code
    given_back: Split
    remaining: Split | None
    lines: Annotated[tuple[RefundedLine, ...], Meta(max_length=REFUND_LINES_MAX)]
    balance_after_fen: Fen
    settled_time_ms: TimeMs
    clearing_type: ClearingType = 0


# --- visits ----------------------------------------------------------------------------------


@unique
class VisitKind(IntEnum):
    """What a visit is."""

    OUTPATIENT = 1
    """Made by REGISTER."""
    INPATIENT = 2
    """A stay, made by ADMIT."""


@unique
class VisitState(IntEnum):
    """Where a visit stands."""

    OPEN = 1
    DISCHARGED = 2
    """The stay has ended; its final settlement is due, and late lines are still taken."""
    CLOSED = 3
    """Discharged, and all its lines are settled."""
    CANCELLED = 4


@unique
class VisitLineState(IntEnum):
    """Where a line of a visit stands."""

    UNSETTLED = 1
    SETTLED = 2
    CANCELLED = 3


class Register(Struct, frozen=True, array_like=True):
    """REGISTER (2201): an outpatient visit begins.

    Attributes:
        insutype: Which insurance pays.
        med_type: 11 outpatient, and what else the policy knows.
        begins: Day of the visit; nil for the business date.
        number: The institution's own number of the visit.
        department: Code of the department.
        doctor: Code of the doctor.
        diagnosis: In words.
        disease: The chronic or special disease that the visit is for; else empty.
        emergency: Whether the patient came as an emergency.
        exception: In place of a card session.
    """

    insutype: Code
    med_type: Code
    begins: dt.date | None
    number: Name
    department: Name = ""
    doctor: Name = ""
    diagnosis: VisitText = ""
    disease: Name = ""
    emergency: bool = False
    exception: CardException | None = None


class Admit(Struct, frozen=True, array_like=True):
    """ADMIT (2401): an inpatient stay begins.

    Attributes:
        insutype: Which insurance pays.
        med_type: 21 inpatient, and what else the policy knows.
        begins: First day of the stay; nil for the business date.
        number: The institution's own number of the stay.
        department: Code of the department.
        doctor: Code of the doctor.
        diagnosis: On admission, in words.
        disease: The special disease that the stay is for; else empty.
        emergency: Whether the patient came as an emergency.
        transferred_from: The stay that this one continues, of whatever institution; else empty.
        exception: In place of a card session.
    """

    insutype: Code
    med_type: Code
    begins: dt.date | None
    number: Name
    department: Name = ""
    doctor: Name = ""
    diagnosis: VisitText = ""
    disease: Name = ""
    emergency: bool = False
    transferred_from: Code = ""
    exception: CardException | None = None


class Registered(Struct, frozen=True, array_like=True):
    """REGISTER's and ADMIT's reply.

    Attributes:
        mdtrt_id: The visit's number.
        psn_no: The person.
        begins: Its first day.
        registered_time_ms: The centre's time.
    """

    mdtrt_id: Code
    psn_no: Code
    begins: dt.date
    registered_time_ms: TimeMs


class VisitLine(Struct, frozen=True, array_like=True):
    """One line of a visit.

    Attributes:
        number: Unique in the visit, for ever.
        date: Day of the care.
        item: The catalogue's code.
        name: As printed.
        price_microyuan: Unit price in millionths of a yuan.
        quantity_e4: Quantity in ten-thousandths; negative for a refund, never 0.
        gross_fen: Price times quantity, rounded half up; of a refund, negative, what the line
            refunded was worth before less what it is worth after.
        refunds: The number of the line whose quantity is taken back; else empty.
    """

    number: Name
    date: dt.date
    item: Name
    name: VisitText
    price_microyuan: Microyuan
    quantity_e4: Annotated[int, Meta(ge=-(10**10), le=10**10)]
    gross_fen: Annotated[int, Meta(ge=-(10**11), le=10**11)]
    refunds: Name = ""


class Lines(Struct, frozen=True, array_like=True):
    """LINES (2204, 2301): lines of a visit, all of them or none are taken.

    Attributes:
        mdtrt_id: The visit.
        lines: The lines.
    """

    mdtrt_id: Code
    lines: Annotated[tuple[VisitLine, ...], Meta(min_length=1, max_length=VISIT_LINES_MAX)]


class Visit(Struct, frozen=True, array_like=True):
    """A visit as it stands.

    Attributes:
        mdtrt_id: The visit's number.
        psn_no: The person.
        kind: A `VisitKind`.
        state: A `VisitState`.
        insutype: Which insurance pays.
        med_type: As in Register and Admit.
        begins: First day.
        ends: Day of discharge, or nil.
        number: The institution's own number.
        department: Code of the department.
        doctor: Code of the doctor.
        diagnosis: In words; after discharge that of the discharge.
        disease: As registered.
        emergency: As registered.
        transferred_from: The stay that this one continues; else empty.
        lines_count: Lines recorded, cancelled ones too.
        unsettled_count: Lines that a settlement would take now, refunds set off.
        unsettled_fen: Their sum: the bill's total.
        settled_fen: Sum of the settlements that stand.
    """

    mdtrt_id: Code
    psn_no: Code
    kind: VisitKind
    state: VisitState
    insutype: Code
    med_type: Code
    begins: dt.date
    ends: dt.date | None
    number: Name
    department: Name
    doctor: Name
    diagnosis: VisitText
    disease: Name
    emergency: bool
    transferred_from: Code
    lines_count: UInt32
    unsettled_count: UInt32
    unsettled_fen: Fen
    settled_fen: Fen


class LinesTaken(Struct, frozen=True, array_like=True):
    """LINES's reply.

    Attributes:
        visit: As it stands now.
        line_splits: The lines' division by the catalogue of their day, in their order; of a
            refund, negative.
    """

    visit: Visit
    line_splits: Annotated[tuple[LineSplit, ...], Meta(max_length=VISIT_LINES_MAX)]


class LinesCancel(Struct, frozen=True, array_like=True):
    """LINES_CANCEL (2205, 2302): lines that are not settled were never meant.

    Attributes:
        mdtrt_id: The visit.
        numbers: The lines; empty for all that are not settled.
        reason: Why, for the audit.
    """

    mdtrt_id: Code
    numbers: Annotated[tuple[Name, ...], Meta(max_length=VISIT_LINES_MAX)]
    reason: Text


class Discharge(Struct, frozen=True, array_like=True):
    """DISCHARGE (2402): a stay ends.

    Attributes:
        mdtrt_id: The stay.
        ends: Its last day; nil for the business date.
        outcome: How it ended (dscg_way): 1 cured, 2 transferred ... 5 died, 9 other.
        diagnosis: On discharge, in words.
    """

    mdtrt_id: Code
    ends: dt.date | None
    outcome: Name = ""
    diagnosis: VisitText = ""


class VisitCancel(Struct, frozen=True, array_like=True):
    """VISIT_CANCEL (2202, 2404): REGISTER or ADMIT was never meant.

    Attributes:
        mdtrt_id: The visit.
        reason: Why, for the audit.
    """

    mdtrt_id: Code
    reason: Text


class DischargeCancel(Struct, frozen=True, array_like=True):
    """DISCHARGE_CANCEL (2405): the stay goes on.

    Attributes:
        mdtrt_id: The stay.
        reason: Why, for the audit.
    """

    mdtrt_id: Code
    reason: Text


class VisitChanged(Struct, frozen=True, array_like=True):
    """The reply of DISCHARGE, VISIT_CANCEL, DISCHARGE_CANCEL and LINES_CANCEL.

    Attributes:
        visit: As it stands now.
        changed_time_ms: The centre's time.
    """

    visit: Visit
    changed_time_ms: TimeMs


class VisitQuery(Struct, frozen=True, array_like=True):
    """VISIT_QUERY: how does a visit stand, or which visits are there?

    Attributes:
        mdtrt_id: The visit; empty for the person's visits that are neither closed nor cancelled.
        psn_no: Whose, without `mdtrt_id`; empty for the card session's.
        until: Count as unsettled the lines up to this day; nil for all.
        first_line: Index of the first line wanted.
        lines_max: How many lines are wanted.
    """

    mdtrt_id: Code
    psn_no: Code = ""
    until: dt.date | None = None
    first_line: UInt32 = 0
    lines_max: Annotated[int, Meta(ge=0, le=VISIT_LINES_MAX)] = 0


class VisitLineFound(Struct, frozen=True, array_like=True):
    """A line of a visit as it stands.

    Attributes:
        line: As it was sent.
        state: A `VisitLineState`.
        setl_id: The settlement that took it; else empty.
        left_e4: Quantity less what was refunded; of a refund, 0.
        left_fen: What that is worth.
    """

    line: VisitLine
    state: VisitLineState
    setl_id: Code
    left_e4: Annotated[int, Meta(ge=0, le=10**10)]
    left_fen: Fen


class VisitSettlement(Struct, frozen=True, array_like=True):
    """A settlement of a visit that stands.

    Attributes:
        setl_id: The settlement.
        until: The last day whose lines it took.
        total_fen: Its bill's total.
        is_final: Whether it was made after discharge and left nothing.
    """

    setl_id: Code
    until: dt.date
    total_fen: Fen
    is_final: bool


class VisitFound(Struct, frozen=True, array_like=True):
    """VISIT_QUERY's reply.

    Attributes:
        visits: The visit asked for, or the person's, the newest first.
        lines: Lines of the visit asked for, in the order of arrival.
        next_line: Index of the first line that did not come along; 0 when there is none.
        settlements: Those of the visit asked for.
    """

    visits: Annotated[tuple[Visit, ...], Meta(max_length=64)]
    lines: Annotated[tuple[VisitLineFound, ...], Meta(max_length=VISIT_LINES_MAX)] = ()
    next_line: UInt32 = 0
    settlements: Annotated[tuple[VisitSettlement, ...], Meta(max_length=256)] = ()


# --- lists -----------------------------------------------------------------------------------


class ListDownload(Struct, frozen=True, array_like=True):
    """LIST_DOWNLOAD (1301 to 1319): what changed in a list since a version?

    Attributes:
        name: `revocations`, `catalogue`, `mapping` or `parameters`.
        version: The version that the terminal holds whole; 0 none.
        after: `next` of the page before; empty for the first.
        size_max: The largest body that the terminal takes, in bytes; 0 for 60,000.
    """

    name: Code
    version: UInt32
    after: Position
    size_max: UInt32


class RevocationRow(Struct, frozen=True, array_like=True):
    """What is not to be taken, or no longer is on the list.

    Attributes:
        kind: 1 a card, 2 a certificate.
        subject: What it is about: the first 16 bytes of a SHA-256, as the text above says.
        reason: 2 lost, 3 replaced, 4 frozen, 5 its holder has died, 6 withdrawn; 0 taken off the
            list.
    """

    kind: Annotated[int, Meta(ge=1, le=2)]
    subject: Annotated[bytes, Meta(min_length=16, max_length=16)]
    reason: Annotated[int, Meta(ge=0, le=15)]


class ItemRow(Struct, frozen=True, array_like=True):
    """An item of the catalogue from a first day on; takes the place of a row of the same two.

    Attributes:
        item: The catalogue's code.
        begins: First day, YYYYMMDD.
        ends: Last day, YYYYMMDD; 99991231 until the item's next row begins.
        is_struck: Whether the row is to be forgotten: it was never right.
        name: The item's name.
        item_class: 1 甲 A, 2 乙 B, 3 丙 C.
        self_pay_ratio_e4: The patient's own share of class B.
        price_limit_microyuan: The highest unit price in scope at institutions without a limit of
            their level's own, or nil.
        level_limits: The same by level, from pharmacies (0) to level 3; empty where none differs.
        kind: 1 drug, 2 service, 3 consumable.
        unit: In which quantities count; may be empty.
        sex: 0 for all, 1 men only, 2 women only.
        age_from: For whom it is, in full years.
        age_below: Of which age one is too old for it; 0 none.
        daily_quantity_max_e4: How much a person may get in a day; 0 without limit.
    """

    item: Code
    begins: Day
    ends: Day
    is_struck: bool
    name: Text
    item_class: Annotated[int, Meta(ge=1, le=3)]
    self_pay_ratio_e4: Ratio
    price_limit_microyuan: Microyuan | None
    level_limits: Annotated[tuple[Microyuan | None, ...], Meta(max_length=4)]
    kind: Annotated[int, Meta(ge=1, le=3)]
    unit: Code
    sex: Annotated[int, Meta(ge=0, le=2)]
    age_from: Annotated[int, Meta(ge=0, le=200)]
    age_below: Annotated[int, Meta(ge=0, le=200)]
    daily_quantity_max_e4: Annotated[int, Meta(ge=0, le=10**10)]


class MappingRow(Struct, frozen=True, array_like=True):
    """The institution's own code for an item, from a first day on; as `ItemRow`.

    Attributes:
        local_item: The institution's own code.
        begins: First day, YYYYMMDD.
        ends: Last day, YYYYMMDD; 99991231 until the code's next row begins.
        is_struck: Whether the row is to be forgotten.
        item: The catalogue's code.
        local_name: What the institution calls it; may be empty.
    """

    local_item: Code
    begins: Day
    ends: Day
    is_struck: bool
    item: Code
    local_name: Text


class NamedCode(Struct, frozen=True, array_like=True):
    """A code and what it is called.

    Attributes:
        code: The code.
        text_zh: What it is called, in Chinese.
        text_en: The same in English.
    """

    code: Code
    text_zh: Text
    text_en: Text


class CodeText(Struct, frozen=True, array_like=True):
    """A response code, so that an older terminal can show and follow a newer one.

    Attributes:
        code: The number.
        retry: The name of its advice, as under Retry.
        text_zh: What it says, in Chinese.
        text_en: The same in English.
    """

    code: CodeNumber
    retry: Code
    text_zh: Text
    text_en: Text


class AllowedException(Struct, frozen=True, array_like=True):
    """A reason for which there may be no card session.

    Attributes:
        name: Goes into `CardException`.
        med_types: For which kinds of care.
        total_max_fen: Up to which total of a bill.
    """

    name: Code
    med_types: Annotated[tuple[Code, ...], Meta(max_length=64)]
    total_max_fen: Fen


class Parameters(Struct, frozen=True, array_like=True):
    """What a terminal should know to say it before the centre does.

    Attributes:
        institution_level: Of the asking institution: whose price limits hold; 0 pharmacy.
        card_session_life_ms: How long a card session holds.
        fresh_card_above_fen: Above which total of a bill the card must have just been opened.
        exceptions: What is allowed without a card session.
        med_types: The kinds of care that some policy in force covers.
        insutypes: The insurances that some policy in force is of.
        codes: Every code that the centre may answer.
        checks: The checks at the counter that are in force.
    """

    institution_level: Annotated[int, Meta(ge=0, le=9)]
    card_session_life_ms: UInt32
    fresh_card_above_fen: Fen
    exceptions: Annotated[tuple[AllowedException, ...], Meta(max_length=64)]
    med_types: Annotated[tuple[NamedCode, ...], Meta(max_length=64)]
    insutypes: Annotated[tuple[NamedCode, ...], Meta(max_length=64)]
    codes: Annotated[tuple[CodeText, ...], Meta(max_length=900)]
    checks: Annotated[tuple[NamedCode, ...], Meta(max_length=500)]


class ListPage(Struct, frozen=True, array_like=True):
    """LIST_DOWNLOAD's reply: rows of one list; the arrays of the others are empty.

    Attributes:
        name: The list.
        version: With the last page, the version that the terminal now holds.
        based_on: The version asked from; 0 where the centre does not know it: what was held before
            is to be forgotten first.
        is_last: Whether there is no further page now.
        next: Goes into `after` of the next page's request.
        revocations: Rows of `revocations`.
        items: Rows of `catalogue`.
        mappings: Rows of `mapping`, those of the asking institution.
        parameters: All `parameters`, where they differ from those of the version asked from.
    """

    name: Code
    version: UInt32
    based_on: UInt32
    is_last: bool
    next: Position
    revocations: Annotated[tuple[RevocationRow, ...], Meta(max_length=LIST_ROWS_MAX)]
    items: Annotated[tuple[ItemRow, ...], Meta(max_length=LIST_ROWS_MAX)]
    mappings: Annotated[tuple[MappingRow, ...], Meta(max_length=LIST_ROWS_MAX)]
    parameters: Parameters | None


# --- reconciliation --------------------------------------------------------------------------


@unique
class ReconcileScope(IntEnum):
    """Whose day is reconciled."""

    TERMINAL = 1
    """What this terminal did."""
    INSTITUTION = 2
    """What all terminals of the institution did."""


@unique
class ReconcileOutcome(IntEnum):
    """What comparing two sides' totals found (stmt_rslt)."""

    EQUAL = 0
    CENTRE_MORE = 1
    """In nothing has the centre less, in something more."""
    INSTITUTION_MORE = 2
    """In nothing has the institution less, in something more."""
    DIFFER = 3
    """In something each has more."""


@unique
class RowState(IntEnum):
    """Whether what a row says still stands."""

    STANDS = 1
    UNDONE = 2
    """Cancelled, reversed or refunded since, on whichever day."""


@unique
class DifferenceKind(IntEnum):
    """How the two sides' rows differ; where several apply, the first."""

    ONLY_CENTRE = 1
    ONLY_INSTITUTION = 2
    AMOUNTS_DIFFER = 3
    """Amounts, clearing type or settlement number."""
    STATE_DIFFERS = 4


@unique
class ReconcileAdvice(IntEnum):
    """What the institution does next about a difference."""

    STATUS = 1
    """Ask STATUS of the msgid and take what it says into your own books."""
    REVERSE = 2
    """REVERSE the msgid; a CANCEL instead where its receipt is printed."""
    REPEAT = 3
    """Send it again under the same msgid: the centre has not seen it."""
    ASK_FUND = 4
    """Tell the fund; it can't be mended from here."""
    CORRECT = 5
    """Mend your own books by the centre's reply: its business date, or its refusal."""


class DayTotal(Struct, frozen=True, array_like=True):
    """One side's totals of a day, a clearing type, and whether money was taken back.

    Attributes:
        clearing_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        is_refund: Of cancels, reversals and refunds, whose amounts are negative; else of
            settlements, whether or not they were undone later.
        count: How many.
        total_fen: The bills.
        fund_pay_fen: What the funds pay.
        account_pay_fen: What personal accounts pay, mutual aid included.
        cash_fen: What patients pay.
    """

    clearing_type: ClearingType
    is_refund: bool
    count: UInt32
    total_fen: Fen
    fund_pay_fen: Fen
    account_pay_fen: Fen
    cash_fen: Fen


class Reconcile(Struct, frozen=True, array_like=True):
    """RECONCILE (3201): do our totals of a business date agree with yours?

    Attributes:
        business_date: The day; a row belongs to the date that its reply named.
        scope: A `ReconcileScope`.
        totals: What this side has; a clearing type without rows may be left out.
    """

    business_date: dt.date
    scope: ReconcileScope
    totals: Annotated[tuple[DayTotal, ...], Meta(max_length=TOTALS_MAX)]


class TotalCompared(Struct, frozen=True, array_like=True):
    """One clearing type of both sides, refunds apart.

    Attributes:
        outcome: A `ReconcileOutcome`; refunds are compared without their sign.
        centre: The centre's total.
        institution: The institution's, as it was sent.
    """

    outcome: ReconcileOutcome
    centre: DayTotal
    institution: DayTotal


class Reconciled(Struct, frozen=True, array_like=True):
    """RECONCILE's reply.

    Attributes:
        reconcile_id: Names this comparison in RECONCILE_DETAIL; the same totals again get the
            same one.
        outcome: A `ReconcileOutcome` over all clearing types.
        is_provisional: Whether the day is not over yet: ask again once it is.
        wants_detail: Whether RECONCILE_DETAIL is to follow: the totals differ, or differences of
            an earlier comparison are still open.
        compared: Each clearing type of either side.
        open_count: Differences of this day and scope that are known and not resolved.
    """

    reconcile_id: Code
    outcome: ReconcileOutcome
    is_provisional: bool
    wants_detail: bool
    compared: Annotated[tuple[TotalCompared, ...], Meta(max_length=2 * TOTALS_MAX)]
    open_count: UInt32


class ReconcileRow(Struct, frozen=True, array_like=True):
    """One settlement or undoing of a day. Terminal, msgid and `is_refund` name it.

    Attributes:
        msgid: The request's that made it.
        terminal: The terminal that sent it.
        is_refund: Whether it took money back; a REFUND is two rows, of what it undid and what
            remained.
        setl_id: The settlement's number, or the undoing's own; empty where it is not known.
        clearing_type: As in DayTotal.
        total_fen: The bill; negative in an undoing, as are the amounts below.
        fund_pay_fen: What the funds pay.
        account_pay_fen: What personal accounts pay, mutual aid included.
        cash_fen: What the patient pays.
        state: A `RowState`.
    """

    msgid: Msgid
    terminal: Name
    is_refund: bool
    setl_id: Code
    clearing_type: ClearingType
    total_fen: Fen
    fund_pay_fen: Fen
    account_pay_fen: Fen
    cash_fen: Fen
    state: RowState


class RowKey(Struct, frozen=True, array_like=True):
    """What names a row, and the order of rows: by msgid, then terminal, then `is_refund`.

    Attributes:
        msgid: Compared byte by byte.
        terminal: Compared byte by byte in UTF-8.
        is_refund: False before true.
    """

    msgid: Msgid
    terminal: Name
    is_refund: bool


class ReconcileDetail(Struct, frozen=True, array_like=True):
    """RECONCILE_DETAIL (3202): here are our rows from there on; how do they differ from yours?

    Attributes:
        reconcile_id: From RECONCILE's reply.
        after: The row after which these come: `next_after` of the page before; nil at first.
        rows: This side's next rows in the order of RowKey, none left out between them.
        is_last: Whether this side has no more rows after these.
    """

    reconcile_id: Code
    after: RowKey | None
    rows: Annotated[tuple[ReconcileRow, ...], Meta(max_length=RECONCILE_ROWS_MAX)]
    is_last: bool


class RowDifference(Struct, frozen=True, array_like=True):
    """One row on which the two sides differ.

    Attributes:
        kind: A `DifferenceKind`.
        advice: A `ReconcileAdvice`.
        centre: The centre's row; nil where it has none on this day.
        institution: The institution's row; nil where it has none.
        known: What the centre knows of the msgid that only the institution has, a `StatusState`.
        known_code: The `ResponseCode` of that.
        known_date: The business date of that; nil where the centre has not seen it.
    """

    kind: DifferenceKind
    advice: ReconcileAdvice
    centre: ReconcileRow | None
    institution: ReconcileRow | None
    known: StatusState = StatusState.NOT_SEEN
    known_code: CodeNumber = 0
    known_date: dt.date | None = None


class ReconcileDetailed(Struct, frozen=True, array_like=True):
    """RECONCILE_DETAIL's reply.

    Attributes:
        differences: In the order of RowKey.
        next_after: Up to where both sides are compared: go on with the rows after it; nil when
            all is compared.
        open_count: As in Reconciled.
    """

    differences: Annotated[tuple[RowDifference, ...], Meta(max_length=2 * RECONCILE_ROWS_MAX)]
    next_after: RowKey | None
    open_count: UInt32


# --- clearing --------------------------------------------------------------------------------


@unique
class ClearingState(IntEnum):
    """How far a month's clearing of one clearing type has come."""

    OPEN = 1
    """Nobody has applied for it, and it is not cleared."""
    APPLIED = 2
    CLEARED = 3
    """What it comes to is fixed; the bank is not told yet, or there is nothing to pay."""
    INSTRUCTED = 4
    PAID = 5
    RETURNED = 6
    """The bank returned the payment; it is paid again."""


class ClearingTotal(Struct, frozen=True, array_like=True):
    """One side's totals of a month and clearing type: what the fund owes, without patients' cash.

    Attributes:
        clearing_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        settled_count: Settlements of the month of which funds or accounts pay something.
        settled_fen: What they pay.
        undone_count: Such settlements cancelled, reversed or refunded in the month, whenever they
            were made.
        undone_fen: What that takes back; 0 or less.
    """

    clearing_type: ClearingType
    settled_count: UInt32
    settled_fen: Fen
    undone_count: UInt32
    undone_fen: Fen


class ClearingApply(Struct, frozen=True, array_like=True):
    """CLEARING_APPLY (3203): clear this month of ours; this is what it comes to here.

    Attributes:
        month: One that is over, or whose period is closed.
        total: What this side has, of one clearing type.
    """

    month: Month
    total: ClearingTotal


class ClearingApplied(Struct, frozen=True, array_like=True):
    """CLEARING_APPLY's reply.

    Attributes:
        application_id: Names the application; empty where the totals differ: then nothing is kept.
        centre: The centre's total.
        institution: The institution's, as it was sent.
    """

    application_id: Code
    centre: ClearingTotal
    institution: ClearingTotal


class ClearingCancel(Struct, frozen=True, array_like=True):
    """CLEARING_CANCEL (3204): take an application back, while it is not cleared.

    Attributes:
        application_id: From CLEARING_APPLY's reply.
    """

    application_id: Code


class ClearingCancelled(Struct, frozen=True, array_like=True):
    """CLEARING_CANCEL's reply.

    Attributes:
        application_id: The one that stands no longer.
    """

    application_id: Code


class ClearingQuery(Struct, frozen=True, array_like=True):
    """CLEARING_QUERY (3205A): how far is a month of ours, and what does it come to?

    Attributes:
        month: Any month.
    """

    month: Month


class ClearingFound(Struct, frozen=True, array_like=True):
    """One clearing type of a month.

    Once it is cleared, `applied_fen` = `paid_fen` + `withheld_fen` + `review_fen` + `cap_fen`.

    Attributes:
        state: A `ClearingState`.
        total: The centre's total.
        application_id: Of the application that stands; empty: none does.
        clearing_id: The clearing's number; empty while it is not cleared.
        brought_fen: Carried here from the month before; 0 or less.
        applied_fen: What is cleared.
        review_fen: Deducted after review, less what was given back.
        cap_fen: Cut by a cap on total; below 0 what a yearly cap gives back.
        withheld_fen: Kept as deposit.
        paid_fen: To be paid, or paid.
        carried_fen: Carried to the next month; 0 or less.
        reason: Why the bank returned the payment.
    """

    state: ClearingState
    total: ClearingTotal
    application_id: Code
    clearing_id: Code
    brought_fen: Fen
    applied_fen: Fen
    review_fen: Fen
    cap_fen: Fen
    withheld_fen: Fen
    paid_fen: Fen
    carried_fen: Fen
    reason: Annotated[str, Meta(max_length=200)]


class ClearingsFound(Struct, frozen=True, array_like=True):
    """CLEARING_QUERY's reply.

    Attributes:
        month: As asked.
        is_closed: Whether nothing is posted to the month any more.
        clearings: By clearing type; those of which there is nothing are left out.
    """

    month: Month
    is_closed: bool
    clearings: Annotated[tuple[ClearingFound, ...], Meta(max_length=TOTALS_MAX)]


# --- review ----------------------------------------------------------------------------------


class ReviewCases(Struct, frozen=True, array_like=True):
    """REVIEW_CASES: which of our settlements are reviewed, and what was decided?

    Attributes:
        month: Of the settlements, as they were cleared, YYYYMM; 0 for all months.
        case_no: One case alone, with what was deducted line by line; else empty.
        after: Those after this case: `next_after` of the page before; empty at first.
    """

    month: Month
    case_no: Code = ""
    after: Code = ""


@unique
class ReviewState(IntEnum):
    """How a reviewed settlement stands for its institution."""

    UNDER_REVIEW = 1
    """Nothing is decided."""
    DECIDED = 2
    """Something is deducted; the institution may appeal until `appeal_until`."""
    APPEALED = 3
    """The deduction stands until the appeal is decided."""
    FINAL = 4
    CLOSED = 5
    """The settlement was undone; nothing is deducted."""


@unique
class ReviewVerdict(IntEnum):
    """What the review of a settlement came to."""

    NONE = 0
    """Nothing yet."""
    APPROVED = 1
    """Nothing is deducted."""
    REDUCED = 2
    """A part of what the funds paid is deducted."""
    REJECTED = 3
    """All that the funds paid is deducted."""


@unique
class AppealResult(IntEnum):
    """What became of an appeal."""

    NONE = 0
    """None was filed."""
    PENDING = 1
    GRANTED = 2
    """The deduction is given back."""
    GRANTED_PARTLY = 3
    """A part of it is given back."""
    DISMISSED = 4


class ReviewCut(Struct, frozen=True, array_like=True):
    """An amount deducted, and why.

    Attributes:
        line: Of the bill, from 1; 0 the settlement as a whole.
        amount_fen: How much.
        article: The code of the provision that was broken.
        article_zh: What it says, in Chinese.
        article_en: The same in English.
        reason: What the reviewers found.
    """

    line: UInt32
    amount_fen: Fen
    article: Code
    article_zh: Text
    article_en: Text
    reason: Text


class ReviewCase(Struct, frozen=True, array_like=True):
    """A settlement that is or was reviewed.

    Attributes:
        case_no: Names the case in REVIEW_APPEAL.
        month: In which it was settled, as months are cleared, YYYYMM.
        setl_id: The settlement.
        msgid: The request's that made it.
        terminal: Which terminal sent that.
        business_date: The settlement's.
        clearing_type: 11 outpatient, 21 inpatient, 41 pharmacy.
        total_fen: The bill.
        fund_pay_fen: What the funds paid: no more can be deducted.
        state: A `ReviewState`.
        verdict: A `ReviewVerdict`.
        deduction_fen: What is deducted now.
        decided_time_ms: When that was decided; 0 not yet.
        appeal_until: The last day on which an appeal is taken; nil where none is.
        appeal: An `AppealResult`.
        appeal_reason: What the institution said.
        appeal_answer: What the fund answered.
        cuts: What the deduction is made of; empty unless one case was asked for.
    """

    case_no: Code
    month: Month
    setl_id: Code
    msgid: Msgid
    terminal: Code
    business_date: dt.date
    clearing_type: Annotated[int, Meta(ge=0, le=99)]
    total_fen: Fen
    fund_pay_fen: Fen
    state: ReviewState
    verdict: ReviewVerdict
    deduction_fen: Fen
    decided_time_ms: TimeMs
    appeal_until: dt.date | None
    appeal: AppealResult
    appeal_reason: ReviewText = ""
    appeal_answer: ReviewText = ""
    cuts: Annotated[tuple[ReviewCut, ...], Meta(max_length=REVIEW_CUTS_MAX)] = ()


class ReviewCasesFound(Struct, frozen=True, array_like=True):
    """REVIEW_CASES's reply.

    Attributes:
        cases: In the order of their numbers.
        next_after: Goes into `after` of the next page's request; empty where there is none.
    """

    cases: Annotated[tuple[ReviewCase, ...], Meta(max_length=REVIEW_CASES_MAX)]
    next_after: Code = ""


class ReviewAppeal(Struct, frozen=True, array_like=True):
    """REVIEW_APPEAL: we don't agree with a deduction. Repeated, it changes nothing more.

    Attributes:
        case_no: The case.
        reason: Why, for the auditors who decide.
    """

    case_no: Code
    reason: ReviewText


class ReviewAppealed(Struct, frozen=True, array_like=True):
    """REVIEW_APPEAL's reply.

    Attributes:
        case: As it stands now.
        filed_time_ms: When the appeal was filed.
    """

    case: ReviewCase
    filed_time_ms: TimeMs
