"""What the registry knows, as values: persons, insurances, cards, institutions, operators.

Dates are integers YYYYMMDD, which compare as dates do; `FOREVER` stands for no end.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum, unique

FOREVER = 99991231


class _Masked(str):
    """Text of which a log shows no more than the last two characters."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} **{str(self)[-2:] if len(self) > 4 else ''}>"  # noqa: PLR2004


class CardNumber(_Masked):
    """A card's printed number."""

    __slots__ = ()


class IDNumber(_Masked):
    """The number of an identity document: of a citizen by GB 11643-1999."""

    __slots__ = ()


class PersonName(_Masked):
    """A person's name; its repr shows nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<PersonName>"


@unique
class IDType(StrEnum):
    """Kind of an identity document (psn_cert_type)."""

    CITIZEN = "01"  # 居民身份证
    HONG_KONG = "04"  # 港澳居民来往内地通行证, H
    MACAO = "05"  # the same, M
    TAIWAN = "06"  # 台湾居民来往大陆通行证
    PERMANENT_RESIDENT = "07"  # 外国人永久居留身份证
    PASSPORT = "08"  # 外国人护照


@unique
class InsuranceState(IntEnum):
    """psn_insu_stas."""

    IN_FORCE = 1
    PAUSED = 2
    ENDED = 4


@unique
class CardState(IntEnum):
    """State of a card in the registry."""

    VALID = 1
    LOST = 2
    REPLACED = 3
    FROZEN = 4


@unique
class RevocationKind(IntEnum):
    """What a row of the revocation list is about."""

    CARD = 1
    CERTIFICATE = 2


@unique
class RevocationReason(IntEnum):
    """Why something is on the revocation list; a card's states keep their numbers."""

    NOT_REVOKED = 0
    LOST = 2
    REPLACED = 3
    FROZEN = 4
    DECEASED = 5
    WITHDRAWN = 6


@unique
class InstitutionKind(IntEnum):
    """Kind of an institution."""

    HOSPITAL = 1
    COMMUNITY = 2
    PHARMACY = 3


@unique
class FilingKind(IntEnum):
    """What a person has filed."""

    DISEASE = 1
    DESIGNATED = 2
    REFERRAL = 3
    SPECIAL_DRUG = 4


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and when.

    Attributes:
        name: The operating system's user, for the audit.
        operator_no: The operator of the fund who acts; 0 where none was named.
    """

    name: str
    now_ms: int
    operator_no: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A person; `deceased_date` is None for the living, `family_no` 0 without mutual aid."""

    person_no: int
    id_number: IDNumber
    name: PersonName
    sex: int
    birth_date: int
    deceased_date: int | None
    family_no: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A document by which a person is known; `ends` is the last day on which it was theirs."""

    person_no: int
    id_type: IDType
    number: IDNumber
    ends: int


@dataclass(frozen=True, slots=True)
class Insurance:
    """One insurance of a person; `ends` is the last day in force."""

    person_no: int
    insutype: str
    begins: int
    ends: int
    state: InsuranceState
    person_type: str
    region: str


@dataclass(frozen=True, slots=True)
class Filing:
    """A filing (备案) of a person; `ends` is the last day on which it holds.

    Attributes:
        code: The chronic or special disease (dise_codg), "referred", or the drug's item; empty
            for a designated institution.
        institution_no: The designated one, or where a referral leads; of a disease or a drug the
            one that it is bound to. 0 is none.
    """

    person_no: int
    kind: FilingKind
    code: str
    institution_no: int
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Card:
    """A card as issued.

    Attributes:
        identity: What its key proves: historical bytes 6-13, or the ICCSN; on cards that prove
            nothing, what they claim: card number (Taiwan) or citizen's number (Thailand) in ASCII.
        region: GB/T 2260 code whose root key it was diversified from; empty for other profiles.
        version: "1.00", "2.00" or "3.00"; "G2.1" of a German health card.
        algorithm: 1 3DES, 2 SSF33, 3 SM4, 4 ECDSA on brainpoolP256r1; 0 on cards without a key.
    """

    card_no: int
    profile: str
    identity: bytes
    region: str
    card_number: CardNumber
    card_id: bytes
    person_no: int
    version: str
    algorithm: int
    card_class: str
    issuer: bytes
    begins: int
    ends: int
    state: CardState


@dataclass(frozen=True, slots=True)
class Institution:
    """A hospital, community centre or pharmacy."""

    institution_no: int
    code: str
    name: str
    kind: InstitutionKind
    level: int
    is_active: bool
    contract_begins: int
    contract_ends: int


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal and the certificate that it presents now.

    Attributes:
        certificate_ends_ms: When that ends, in ms since 1970; 0: not known yet.
    """

    terminal_no: int
    institution_no: int
    code: str
    certificate_sha256: bytes
    is_active: bool
    certificate_ends_ms: int


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator; institution 0 is the fund itself.

    Attributes:
        department: By which work is counted; empty where it was not said.
    """

    operator_no: int
    institution_no: int
    code: str
    name: PersonName
    role: str
    password_hash: str
    is_active: bool
    department: str = ""


@dataclass(frozen=True, slots=True)
class SignOn:
    """A sign-on, and whether all that it rests on may still act; ended ones are kept."""

    sign_no: str
    terminal: Terminal
    operator: Operator
    institution_is_active: bool
    batch_no: int
    begins_time_ms: int
    ends_time_ms: int
    wants_stages: bool
