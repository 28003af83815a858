"""What a simulated card holds: directories, elementary files, and who may do what with them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.card.profiles.social_security_keys import CardKey


@dataclass(frozen=True, slots=True)
class SecurityStatus:
    """What has been proven to the card since the directory was selected.

    Attributes:
        keys: References of the keys by which the outside has authenticated itself.
        is_pin_verified: Whether the holder's PIN was given.
    """

    keys: frozenset[int] = frozenset()
    is_pin_verified: bool = False


AccessCondition = Callable[[SecurityStatus], bool]


def always(_status: SecurityStatus) -> bool:
    """Let everybody."""
    return True


def never(_status: SecurityStatus) -> bool:
    """Let nobody."""
    return False


def pin(status: SecurityStatus) -> bool:
    """Let whoever gave the PIN."""
    return status.is_pin_verified


def key(reference: int) -> AccessCondition:
    """Let whoever authenticated with this key."""
    return lambda status: reference in status.keys


def any_of(*conditions: AccessCondition) -> AccessCondition:
    """Let whoever meets one of the conditions."""
    return lambda status: any(condition(status) for condition in conditions)


def all_of(*conditions: AccessCondition) -> AccessCondition:
    """Let whoever meets all of the conditions."""
    return lambda status: all(condition(status) for condition in conditions)


@dataclass(slots=True)
class RecordFile:
    """An elementary file of records, each beginning with its identifier and length.

    Attributes:
        fid: File identifier.
        sfi: Short file identifier.
        records: In order; in a cyclic file the newest first.
        cyclic_max: How many records a cyclic file keeps; None for a linear one.
    """

    fid: int
    sfi: int
    records: list[bytes]
    read: AccessCondition = always
    update: AccessCondition = never
    cyclic_max: int | None = None


@dataclass(slots=True)
class BinaryFile:
    """A transparent elementary file."""

    fid: int
    sfi: int
    content: bytearray
    read: AccessCondition = always
    update: AccessCondition = never


ElementaryFile = RecordFile | BinaryFile


@dataclass(frozen=True, slots=True)
class PIN:
    """The PIN of a card as issued.

    Attributes:
        digits: Its digits; the card compares them in BCD, padded with F.
        tries_max: How many wrong ones block it.
    """

    digits: str = field(repr=False)
    tries_max: int


@dataclass(slots=True)
class DedicatedFile:
    """A directory.

    Attributes:
        fid: File identifier.
        name: DF name by which it is selected.
        fci: What SELECT answers.
        internal_keys: Keys for INTERNAL AUTHENTICATE by reference (P2).
        external_keys: Keys for EXTERNAL AUTHENTICATE by reference (P2).
    """

    fid: int
    name: bytes
    fci: bytes
    files: tuple[ElementaryFile, ...] = ()
    internal_keys: dict[int, CardKey] = field(default_factory=dict)
    external_keys: dict[int, CardKey] = field(default_factory=dict)

    def file_by_sfi(self, sfi: int) -> ElementaryFile | None:
        """Find a file by its short identifier."""
        return next((each for each in self.files if each.sfi == sfi), None)

    def file_by_fid(self, fid: int) -> ElementaryFile | None:
        """Find a file by its identifier."""
        return next((each for each in self.files if each.fid == fid), None)
