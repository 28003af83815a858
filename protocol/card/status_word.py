"""Status words (ISO/IEC 7816-4:2020, 5.6) and those that social security cards add (LD/T 32)."""

from enum import IntEnum, unique

VERIFY_TRIES = 0x63C0
"""First of the sixteen words `63Cx` that tell how many tries are left."""


@unique
class StatusWord(IntEnum):
    """A status word by its meaning."""

    OK = 0x9000
    DATA_MAY_BE_CORRUPT = 0x6281
    END_OF_FILE = 0x6282
    AUTHENTICATION_FAILED = 0x6300
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    COMMAND_NOT_ACCEPTED = 0x6901
    FILE_STRUCTURE_UNFIT = 0x6981
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_BLOCKED = 0x6983
    REFERENCE_DATA_NOT_USABLE = 0x6984
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_CURRENT_FILE = 0x6986
    SECURE_MESSAGING_INCORRECT = 0x6988
    DATA_INCORRECT = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    FILE_FULL = 0x6A84
    INCORRECT_P1_P2 = 0x6A86
    REFERENCE_DATA_NOT_FOUND = 0x6A88
    OFFSET_OUTSIDE_FILE = 0x6B00
    INSTRUCTION_NOT_SUPPORTED = 0x6D00
    CLASS_NOT_SUPPORTED = 0x6E00
    NO_PRECISE_DIAGNOSIS = 0x6F00
    MAC_INCORRECT = 0x9302
    APPLICATION_LOCKED_FOR_EVER = 0x9303
    FUNDS_INSUFFICIENT = 0x9401
    COUNTER_EXHAUSTED = 0x9402
    KEY_INDEX_UNKNOWN = 0x9403
    MAC_NOT_AVAILABLE = 0x9406


def bytes_available(status_word: int) -> int | None:
    """Say how many bytes GET RESPONSE would bring (`61xx`), 256 for `6100`; None for others."""
    if status_word >> 8 != 0x61:  # noqa: PLR2004 - the status word is its name
        return None
    return (status_word & 0xFF) or 256


def exact_length(status_word: int) -> int | None:
    """Say which Le the card wants instead (`6Cxx`), 256 for `6C00`; None for others."""
    if status_word >> 8 != 0x6C:  # noqa: PLR2004 - the status word is its name
        return None
    return (status_word & 0xFF) or 256


def tries_left(status_word: int) -> int | None:
    """Say how many tries `63Cx` leaves; None for other words."""
    if status_word & 0xFFF0 != VERIFY_TRIES:
        return None
    return status_word & 0x000F
