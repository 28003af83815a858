"""Commands, status words and data objects in words, for a person at a reader.

Not here: decoding that anything is decided by (`profiles/`); nothing goes on from these words.
"""

from collections.abc import Iterator

from protocol.card.apdu import CommandAPDU, Instruction, decode_command
from protocol.card.errors import CardDataError
from protocol.card.pin import CHANGE_REFERENCE_DATA, RESET_RETRY_COUNTER
from protocol.card.profiles import social_security_medical
from protocol.card.profiles.social_security_card import ITEM_SIZES, SSSE_NAME, Item
from protocol.card.status_word import StatusWord, bytes_available, exact_length, tries_left
from protocol.card.tlv import TLV, parse_ber, parse_simple

_SECURE_MESSAGING = 0x0C
_CHANNEL = 0x03
_BY_NAME = 0x04
_SHORT_FILE = 0x80
_DEPTH_MAX = 8
_PRINTABLE_SHARE = 0.9

_INSTRUCTIONS = {
    Instruction.APPLICATION_BLOCK: "APPLICATION BLOCK",
    Instruction.VERIFY: "VERIFY",
    Instruction.MANAGE_SECURITY_ENVIRONMENT: "MANAGE SECURITY ENVIRONMENT",
    Instruction.PERFORM_SECURITY_OPERATION: "PERFORM SECURITY OPERATION",
    Instruction.CHANGE_PIN: "CHANGE PIN",
    Instruction.EXTERNAL_AUTHENTICATE: "EXTERNAL AUTHENTICATE",
    Instruction.GET_CHALLENGE: "GET CHALLENGE",
    Instruction.GENERAL_AUTHENTICATE: "GENERAL AUTHENTICATE",
    Instruction.INTERNAL_AUTHENTICATE: "INTERNAL AUTHENTICATE",
    Instruction.SELECT: "SELECT",
    Instruction.READ_BINARY: "READ BINARY",
    Instruction.READ_RECORD: "READ RECORD",
    Instruction.GET_RESPONSE: "GET RESPONSE",
    Instruction.GET_DATA: "GET DATA",
    Instruction.UPDATE_BINARY: "UPDATE BINARY",
    Instruction.UPDATE_RECORD: "UPDATE RECORD",
    CHANGE_REFERENCE_DATA: "CHANGE REFERENCE DATA",
    RESET_RETRY_COUNTER: "RESET RETRY COUNTER",
    0x16: "CARD BLOCK",
    0x44: "ACTIVATE FILE",
    0x70: "MANAGE CHANNEL",
    0xB1: "READ BINARY (odd)",
    0xE2: "APPEND RECORD",
}

_STATUS_WORDS = {
    StatusWord.OK: "done",
    StatusWord.DATA_MAY_BE_CORRUPT: "part of the data may be corrupt",
    StatusWord.END_OF_FILE: "end of file or record before Le bytes were read",
    StatusWord.AUTHENTICATION_FAILED: "authentication failed",
    StatusWord.MEMORY_FAILURE: "the card's memory failed",
    StatusWord.WRONG_LENGTH: "wrong length",
    StatusWord.COMMAND_NOT_ACCEPTED: "command not accepted in this state",
    StatusWord.FILE_STRUCTURE_UNFIT: "the command does not fit the file's structure",
    StatusWord.SECURITY_STATUS_NOT_SATISFIED: "security status not satisfied: PIN or key first",
    StatusWord.AUTHENTICATION_BLOCKED: "PIN or key is blocked",
    StatusWord.REFERENCE_DATA_NOT_USABLE: "reference data can't be used",
    StatusWord.CONDITIONS_NOT_SATISFIED: "conditions of use not satisfied",
    StatusWord.NO_CURRENT_FILE: "no file is selected",
    StatusWord.SECURE_MESSAGING_INCORRECT: "secure messaging objects are incorrect",
    StatusWord.DATA_INCORRECT: "the command's data are incorrect",
    StatusWord.FUNCTION_NOT_SUPPORTED: "not supported, or application or card blocked",
    StatusWord.FILE_NOT_FOUND: "file or application not found",
    StatusWord.RECORD_NOT_FOUND: "record not found",
    StatusWord.FILE_FULL: "no room in the file",
    StatusWord.INCORRECT_P1_P2: "P1 or P2 is incorrect",
    StatusWord.REFERENCE_DATA_NOT_FOUND: "key or PIN not found",
    StatusWord.OFFSET_OUTSIDE_FILE: "offset outside the file, or wrong P1 and P2",
    StatusWord.INSTRUCTION_NOT_SUPPORTED: "instruction unknown",
    StatusWord.CLASS_NOT_SUPPORTED: "class unknown",
    StatusWord.NO_PRECISE_DIAGNOSIS: "failed, no reason given",
    StatusWord.MAC_INCORRECT: "MAC is incorrect",
    StatusWord.APPLICATION_LOCKED_FOR_EVER: "application locked for ever",
    StatusWord.FUNDS_INSUFFICIENT: "funds insufficient",
    StatusWord.COUNTER_EXHAUSTED: "transaction counter exhausted",
    StatusWord.KEY_INDEX_UNKNOWN: "key index unknown",
    StatusWord.MAC_NOT_AVAILABLE: "MAC not available",
    0x62C1: "transport PIN still set",
    0x62C7: "transport PIN still set, of no digits",
    0x62D0: "PIN not needed",
    0x6882: "secure messaging not supported",
    0x6987: "secure messaging objects are missing",
    0x6A87: "Lc does not fit P1 and P2",
}

_TAGS = {
    0x42: "certification authority reference",
    0x4F: "application identifier",
    0x50: "application label",
    0x5A: "ICCSN, serial number of the card",
    0x5F20: "certificate holder",
    0x5F24: "certificate ends",
    0x5F25: "certificate begins",
    0x5F29: "certificate profile",
    0x5F37: "signature",
    0x61: "application template",
    0x62: "file control parameters",
    0x6F: "file control information",
    0x7C: "dynamic authentication data",
    0x7F21: "card verifiable certificate",
    0x7F49: "public key",
    0x7F4C: "holder authorisation",
    0x7F4E: "certificate body",
    0x81: "plain data, or number of bytes",
    0x82: "file descriptor",
    0x83: "file identifier or key reference",
    0x84: "name of the directory",
    0x85: "proprietary",
    0x86: "algorithm, or public key",
    0x87: "encrypted data",
    0x88: "short file identifier of the directory file",
    0x8A: "life cycle",
    0x8E: "cryptographic checksum",
    0x97: "Le",
    0x99: "status word",
    0x9F0C: "issuer's data",
    0xA5: "proprietary template",
    0xBF0C: "issuer's discretionary data",
}

_HOLDING_OBJECTS = frozenset({0x9F0C})
"""Primitive by their tag, but made of data objects all the same."""

_APPLICATIONS = {
    SSSE_NAME: "社会保障 SSSE",
    social_security_medical.DIRECTORY_NAME: "医疗保险 medical directory",
    bytes.fromhex("D2760001448000"): "eGK root",
    bytes.fromhex("D27600000102"): "eGK health care",
    bytes.fromhex("A000000167455349474E"): "eGK signatures",
    bytes.fromhex("D1580000010000000000000000001100"): "Taiwan NHI",
    bytes.fromhex("A000000054480001"): "Thai identity",
    bytes.fromhex("A000000054480083"): "Thai NHSO",
}

_ITEM_NAMES = {
    Item.CARD_ID: "卡识别码 card id",
    Item.CARD_CLASS: "卡类别 card class",
    Item.VERSION: "规范版本 specification version",
    Item.INITIALISING_ORGANISATION: "初始化机构 initialising organisation",
    Item.ISSUE_DATE: "发卡日期 issue date",
    Item.VALID_TO: "卡有效期 valid to",
    Item.CARD_NUMBER: "卡号 card number",
    Item.SOCIAL_SECURITY_NUMBER: "社会保障号码 social security number",
    Item.NAME: "姓名 name",
    Item.SEX: "性别 sex",
    Item.NATION: "民族 nation",
    Item.BIRTHPLACE: "出生地 birthplace",
    Item.BIRTH_DATE: "出生日期 birth date",
    Item.NAME_EXTENSION: "姓名扩展 name extension",
}
_ITEM_SIZES = {int(item): size for item, size in ITEM_SIZES.items()} | {
    tag: layout.size for tag, layout in social_security_medical.ITEMS.items() if layout.size
}


def explain_command(command: bytes) -> str:
    """Name a command and what its parameters say; nothing of a PIN."""
    try:
        parsed = decode_command(command)
    except CardDataError as malformed:
        return f"not a command: {malformed}"
    words = [_INSTRUCTIONS.get(parsed.ins, f"instruction {parsed.ins:02X}")]
    words += _parameters(parsed)
    if parsed.cla & _SECURE_MESSAGING == _SECURE_MESSAGING:
        words.append("secured")
    if parsed.cla & _CHANNEL and not parsed.cla & _SHORT_FILE:
        words.append(f"channel {parsed.cla & _CHANNEL}")
    return ", ".join(words)


def explain_status(status_word: int) -> str:
    """Say what a status word means."""
    waiting = bytes_available(status_word)
    if waiting is not None:
        return f"{waiting} bytes wait: GET RESPONSE 00C00000{status_word & 0xFF:02X}"
    wanted = exact_length(status_word)
    if wanted is not None:
        return f"wrong Le: ask for {wanted} bytes"
    tries = tries_left(status_word)
    if tries is not None:
        return f"not verified, {tries} tries left"
    return _STATUS_WORDS.get(status_word, "of no meaning known here")


def explain_data(data: bytes) -> tuple[str, ...]:
    """Say what data an answer holds: data objects, a record of a social security card, or text."""
    if not data:
        return ()
    record = _simple_record(data)
    if record is not None:
        return record
    try:
        objects = parse_ber(data)
    except CardDataError:
        objects = ()
    if any(each.tag in _TAGS for each in objects):
        return tuple(_tree(objects, 0))
    text = _text(data)
    return (f"text {text!r}",) if text else ()


def _parameters(command: CommandAPDU) -> Iterator[str]:
    match command.ins:
        case Instruction.SELECT:
            yield _selected(command)
        case Instruction.READ_RECORD | Instruction.UPDATE_RECORD:
            is_number = command.p2 & 0x07 == 0x04  # noqa: PLR2004 - ISO/IEC 7816-4, table 49
            yield f"{'number' if is_number else 'identifier'} {command.p1:02X}"
            yield f"file {command.p2 >> 3:02X}"
        case Instruction.READ_BINARY | Instruction.UPDATE_BINARY:
            if command.p1 & _SHORT_FILE:
                yield f"file {command.p1 & 0x1F:02X}, offset {command.p2}"
            else:
                yield f"offset {command.p1 << 8 | command.p2}"
        case Instruction.VERIFY:
            yield f"PIN {command.p2:02X}"
            if not command.data:
                yield "asks for its state and takes no try"
        case (
            Instruction.INTERNAL_AUTHENTICATE
            | Instruction.EXTERNAL_AUTHENTICATE
            | Instruction.GENERAL_AUTHENTICATE
        ):
            yield f"key {command.p2:02X}"
    if command.le is not None:
        yield f"Le {command.le}"


def _selected(command: CommandAPDU) -> str:
    if command.p1 & _BY_NAME:
        known = _APPLICATIONS.get(command.data)
        return f"by name {known or command.data.hex().upper()}"
    return f"file {command.data.hex().upper()}" if command.data else "the master file"


def _simple_record(data: bytes) -> tuple[str, ...] | None:
    """Read one record of a social security card; its tag, size and the end all have to fit."""
    try:
        objects = parse_simple(data)
    except CardDataError:
        return None
    if len(objects) != 1 or _ITEM_SIZES.get(objects[0].tag) != len(objects[0].value):
        return None
    tag, value = objects[0].tag, objects[0].value
    layout = social_security_medical.ITEMS.get(tag)
    name = f"{layout.name_zh} {layout.name_en}" if layout else _ITEM_NAMES[Item(tag)]
    text = _text(value.rstrip(b"\0"))
    return (f"{tag:02X} {name}: {value.hex().upper()}" + (f" {text!r}" if text else ""),)


def _tree(objects: tuple[TLV, ...], depth: int) -> Iterator[str]:
    for each in objects:
        name = _TAGS.get(each.tag, "")
        line = f"{'  ' * depth}{each.tag:02X} {name}".rstrip()
        inner: tuple[TLV, ...] = ()
        holds_objects = each.is_constructed or each.tag in _HOLDING_OBJECTS
        if holds_objects and depth < _DEPTH_MAX:
            try:
                inner = parse_ber(each.value)
            except CardDataError:
                inner = ()
        if inner:
            yield line
            yield from _tree(inner, depth + 1)
            continue
        known = _APPLICATIONS.get(each.value)
        text = known or _text(each.value)
        yield f"{line}: {each.value.hex().upper()}" + (f" {text!r}" if text else "")


def _text(data: bytes) -> str:
    """Read bytes as text where nearly all of them are some; the empty text where not."""
    try:
        text = data.decode("gb18030").rstrip("\0 ")
    except UnicodeDecodeError:
        return ""
    if len(text) < 2:  # noqa: PLR2004 - one letter is no sign of text
        return ""
    share = sum(each.isprintable() for each in text) / len(text)
    is_common = all(each.isascii() or "\u4e00" <= each <= "\u9fff" or each == "·" for each in text)
    return text if share > _PRINTABLE_SHARE and is_common and text.isprintable() else ""
