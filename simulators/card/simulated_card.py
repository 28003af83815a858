"""A simulated card: commands in, answers out, with the state that a real one keeps in between.

It behaves as a T=0 card does (ISO/IEC 7816-3:2006, 10) unless told otherwise: an answer to a
command with data is fetched by GET RESPONSE, a wrong Le is answered `6Cxx`. Not here: what is on
the card (`social_security_card.py`), how it gets into a reader (`virtual_reader.py`).
"""

from collections.abc import Callable
from hmac import compare_digest
from typing import Protocol

from protocol.card.apdu import CommandAPDU, Instruction, decode_command
from protocol.card.errors import AlgorithmUnsupportedError, CardDataError
from protocol.card.profiles.social_security_keys import (
    MAC_SIZE,
    Algorithm,
    CardKey,
    authentication_data,
    message_authentication_code,
    session_key,
)
from protocol.card.status_word import VERIFY_TRIES, StatusWord
from simulators.card.file_system import (
    PIN,
    BinaryFile,
    DedicatedFile,
    RecordFile,
    SecurityStatus,
)
from terminals.readers.channel import CardChannel

_CHALLENGE_SIZES = (4, 8, 16)
_AUTHENTICATION_SIZES = (16, 17)  # with or without the key's version
_BY_NAME = 0x04
_BY_FID = (0x00, 0x02)
_MASTER_FILE = 0x3F00
_SECURE_MESSAGING = 0x04
_EXTERNAL_TRIES_MAX = 15
_HALF = 8

Answer = tuple[bytes, int]


class PoweredCard(CardChannel, Protocol):
    """A card that can be put into a reader: it answers, and forgets when it is reset."""

    def reset(self) -> None:
        """Forget all but what is written."""
        ...


class _RefusedError(Exception):
    """The card answers with a status word instead of doing what was asked."""

    def __init__(self, status_word: int) -> None:
        super().__init__(f"{status_word:04X}")
        self.status_word = status_word


class SimulatedCard:
    """One card, as a channel: powered, with an ATR, answering commands.

    Args:
        atr: Answer to reset.
        algorithm: The cipher of its keys.
        directories: Directories below the master file; the first is selected by nothing.
        pin: The holder's PIN; None where the card asks for none.
        random_bytes: Where its challenges come from.
        is_block_transfer: Whether it talks T=1 or contactless, where an answer comes with its
            command; else T=0, where it waits for GET RESPONSE.
    """

    def __init__(
        self,
        *,
        atr: bytes,
        algorithm: Algorithm,
        directories: tuple[DedicatedFile, ...],
        pin: PIN | None,
        random_bytes: Callable[[int], bytes],
        is_block_transfer: bool = False,
    ) -> None:
        self._atr = atr
        self._algorithm = algorithm
        self._directories = directories
        self._pin = pin
        self._pin_tries = pin.tries_max if pin else 0
        self._pin_digits = pin.digits if pin else ""
        self._external_tries = _EXTERNAL_TRIES_MAX
        self._random_bytes = random_bytes
        self._is_block_transfer = is_block_transfer
        self.commands_count = 0
        self._handlers: dict[tuple[int, int], Callable[[CommandAPDU], Answer]] = {
            (0x00, Instruction.SELECT): self._select,
            (0x00, Instruction.READ_RECORD): self._read_record,
            (0x00, Instruction.UPDATE_RECORD): self._update_record,
            (0x04, Instruction.UPDATE_RECORD): self._update_record,
            (0x00, Instruction.READ_BINARY): self._read_binary,
            (0x00, Instruction.UPDATE_BINARY): self._update_binary,
            (0x04, Instruction.UPDATE_BINARY): self._update_binary,
            (0x00, Instruction.GET_CHALLENGE): self._get_challenge,
            (0x00, Instruction.INTERNAL_AUTHENTICATE): self._internal_authenticate,
            (0x00, Instruction.EXTERNAL_AUTHENTICATE): self._external_authenticate,
            (0x00, Instruction.VERIFY): self._verify,
            (0x80, Instruction.CHANGE_PIN): self._change_pin,
        }
        self.reset()

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._atr

    def reset(self) -> None:
        """Forget all but what is written: what a reset or a loss of power does."""
        self._directory: DedicatedFile | None = None
        self._file: RecordFile | BinaryFile | None = None
        self._security = SecurityStatus()
        self._challenge = b""
        self._waiting = b""

    def transmit(self, command: bytes) -> bytes:
        """Answer one command."""
        self.commands_count += 1
        try:
            parsed = decode_command(command)
        except CardDataError:
            return _encode(b"", StatusWord.WRONG_LENGTH)
        if parsed.ins == Instruction.GET_RESPONSE:
            return self._get_response(parsed)
        self._waiting = b""
        try:
            data, status_word = self._execute(parsed)
        except _RefusedError as refused:
            return _encode(b"", refused.status_word)
        if data and parsed.data and parsed.le is None and not self._is_block_transfer:
            self._waiting = data
            return _encode(b"", 0x6100 | len(data) & 0xFF)
        return _encode(data, status_word)

    def _execute(self, command: CommandAPDU) -> Answer:
        handler = self._handlers.get((command.cla, command.ins))
        if handler is not None:
            return handler(command)
        known = {int(each) for each in Instruction}
        if command.ins in known:
            raise _RefusedError(StatusWord.CLASS_NOT_SUPPORTED)
        raise _RefusedError(StatusWord.INSTRUCTION_NOT_SUPPORTED)

    def _get_response(self, command: CommandAPDU) -> bytes:
        if not self._waiting:
            return _encode(b"", StatusWord.CONDITIONS_NOT_SATISFIED)
        if command.le != len(self._waiting):
            return _encode(b"", 0x6C00 | len(self._waiting) & 0xFF)
        data, self._waiting = self._waiting, b""
        return _encode(data, StatusWord.OK)

    def _select(self, command: CommandAPDU) -> Answer:
        if command.p1 == _BY_NAME:
            found = [each for each in self._directories if each.name == command.data]
        elif command.p1 in _BY_FID and len(command.data) == 2:  # noqa: PLR2004 - a FID
            fid = int.from_bytes(command.data, "big")
            if fid == _MASTER_FILE:
                self._directory, self._file, self._security = None, None, SecurityStatus()
                return b"", StatusWord.OK
            file = self._directory.file_by_fid(fid) if self._directory else None
            if file is not None:
                self._file = file
                return b"", StatusWord.OK
            found = [each for each in self._directories if each.fid == fid]
        else:
            raise _RefusedError(StatusWord.INCORRECT_P1_P2)
        if not found:
            raise _RefusedError(StatusWord.FILE_NOT_FOUND)
        self._directory = found[0]
        self._file = None
        # What was proven holds within its directory only (part 5).
        self._security = SecurityStatus()
        return found[0].fci, StatusWord.OK

    def _read_record(self, command: CommandAPDU) -> Answer:
        file = self._record_file(command.p2)
        self._require(file.read(self._security))
        record = file.records[_record_index(file, command)]
        if command.le != len(record):
            raise _RefusedError(0x6C00 | len(record) & 0xFF)
        return record, StatusWord.OK

    def _update_record(self, command: CommandAPDU) -> Answer:
        file = self._record_file(command.p2)
        self._require(file.update(self._security))
        data = self._without_mac(command)
        if file.cyclic_max is not None:
            file.records.insert(0, data)
            del file.records[file.cyclic_max :]
            return b"", StatusWord.OK
        index = _record_index(file, command)
        if len(data) != len(file.records[index]):
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        file.records[index] = data
        return b"", StatusWord.OK

    def _read_binary(self, command: CommandAPDU) -> Answer:
        file, offset = self._binary_file(command)
        self._require(file.read(self._security))
        if offset >= len(file.content):
            raise _RefusedError(StatusWord.OFFSET_OUTSIDE_FILE)
        if command.le is None:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        data = bytes(file.content[offset : offset + command.le])
        if len(data) < command.le and command.le != 256:  # noqa: PLR2004 - 256 asks for all
            return data, StatusWord.END_OF_FILE
        return data, StatusWord.OK

    def _update_binary(self, command: CommandAPDU) -> Answer:
        file, offset = self._binary_file(command)
        self._require(file.update(self._security))
        data = self._without_mac(command)
        if offset + len(data) > len(file.content):
            raise _RefusedError(StatusWord.FILE_FULL)
        file.content[offset : offset + len(data)] = data
        return b"", StatusWord.OK

    def _get_challenge(self, command: CommandAPDU) -> Answer:
        if command.le not in _CHALLENGE_SIZES:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        self._challenge = self._random_bytes(command.le)
        return self._challenge, StatusWord.OK

    def _internal_authenticate(self, command: CommandAPDU) -> Answer:
        key = self._selected().internal_keys.get(command.p2)
        if key is None:
            raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
        if len(command.data) not in _AUTHENTICATION_SIZES:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        factor, original = command.data[:_HALF], command.data[_HALF : 2 * _HALF]
        return self._authentication(key, factor=factor, original=original), StatusWord.OK

    def _external_authenticate(self, command: CommandAPDU) -> Answer:
        key = self._selected().external_keys.get(command.p2)
        if key is None:
            raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
        if len(command.data) not in _AUTHENTICATION_SIZES:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        if not self._external_tries:
            raise _RefusedError(StatusWord.AUTHENTICATION_BLOCKED)
        factor, self._challenge = self._challenge[:_HALF], b""
        if not factor:
            raise _RefusedError(StatusWord.CONDITIONS_NOT_SATISFIED)
        original = command.data[_HALF : 2 * _HALF]
        wanted = self._authentication(key, factor=factor, original=original)
        if not compare_digest(wanted, command.data[:_HALF]):
            self._external_tries -= 1
            raise _RefusedError(VERIFY_TRIES | self._external_tries)
        self._external_tries = _EXTERNAL_TRIES_MAX
        self._security = SecurityStatus(
            self._security.keys | {command.p2}, self._security.is_pin_verified
        )
        return b"", StatusWord.OK

    def _authentication(self, key: CardKey, *, factor: bytes, original: bytes) -> bytes:
        """Answer a challenge; a card whose cipher nobody outside knows answers with noise."""
        try:
            session = session_key(self._algorithm, key, factor)
            return authentication_data(self._algorithm, session, original)
        except AlgorithmUnsupportedError:
            return self._random_bytes(_HALF)

    def _verify(self, command: CommandAPDU) -> Answer:
        if self._pin is None:
            return b"", StatusWord.OK
        if not self._pin_tries:
            raise _RefusedError(StatusWord.AUTHENTICATION_BLOCKED)
        if not command.data:
            if self._security.is_pin_verified:
                return b"", StatusWord.OK
            raise _RefusedError(VERIFY_TRIES | self._pin_tries)
        self._compare_pin(command.data)
        self._security = SecurityStatus(self._security.keys, is_pin_verified=True)
        return b"", StatusWord.OK

    def _change_pin(self, command: CommandAPDU) -> Answer:
        old, separator, new = _split_pins(command.data)
        if self._pin is None or not separator:
            raise _RefusedError(StatusWord.DATA_INCORRECT)
        if not self._pin_tries:
            raise _RefusedError(StatusWord.AUTHENTICATION_BLOCKED)
        self._compare_pin(old)
        self._pin_digits = new.hex().rstrip("f")
        return b"", StatusWord.OK

    def _compare_pin(self, data: bytes) -> None:
        assert self._pin is not None
        if compare_digest(data.hex().rstrip("f"), self._pin_digits):
            self._pin_tries = self._pin.tries_max
            return
        self._pin_tries -= 1
        self._security = SecurityStatus(self._security.keys)
        raise _RefusedError(VERIFY_TRIES | self._pin_tries)

    def _without_mac(self, command: CommandAPDU) -> bytes:
        """Check the MAC of a command that carries one, and take it off (part 4)."""
        if not command.cla & _SECURE_MESSAGING:
            return command.data
        if len(command.data) <= MAC_SIZE or not self._challenge:
            raise _RefusedError(StatusWord.SECURE_MESSAGING_INCORRECT)
        data, mac = command.data[:-MAC_SIZE], command.data[-MAC_SIZE:]
        header = bytes((command.cla, command.ins, command.p1, command.p2, len(command.data)))
        factor, self._challenge = self._challenge[:_HALF], b""
        for key in self._selected().external_keys.values():
            session = session_key(self._algorithm, key, factor)
            wanted = message_authentication_code(self._algorithm, session, header + data)
            if compare_digest(wanted, mac):
                return data
        raise _RefusedError(StatusWord.MAC_INCORRECT)

    def _record_file(self, p2: int) -> RecordFile:
        file = self._selected().file_by_sfi(p2 >> 3) if p2 >> 3 else self._file
        if file is None:
            raise _RefusedError(StatusWord.FILE_NOT_FOUND)
        if not isinstance(file, RecordFile):
            raise _RefusedError(StatusWord.FILE_STRUCTURE_UNFIT)
        self._file = file
        return file

    def _binary_file(self, command: CommandAPDU) -> tuple[BinaryFile, int]:
        if command.p1 & 0x80:
            file = self._selected().file_by_sfi(command.p1 & 0x1F)
            offset = command.p2
        else:
            file = self._file
            offset = command.p1 << 8 | command.p2
        if file is None:
            raise _RefusedError(StatusWord.FILE_NOT_FOUND)
        if not isinstance(file, BinaryFile):
            raise _RefusedError(StatusWord.FILE_STRUCTURE_UNFIT)
        self._file = file
        return file, offset

    def _selected(self) -> DedicatedFile:
        if self._directory is None:
            raise _RefusedError(StatusWord.NO_CURRENT_FILE)
        return self._directory

    def _require(self, is_allowed: bool) -> None:  # noqa: FBT001 - the one thing it is told
        if not is_allowed:
            raise _RefusedError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)


def _record_index(file: RecordFile, command: CommandAPDU) -> int:
    """Find a record by its number, or as the first with an identifier (part 5, P2)."""
    mode = command.p2 & 0x07
    if mode == 0x04:  # noqa: PLR2004 - P1 is a record number
        if 1 <= command.p1 <= len(file.records):
            return command.p1 - 1
    elif mode == 0x00:
        for index, record in enumerate(file.records):
            if record[:1] == bytes((command.p1,)):
                return index
    else:
        raise _RefusedError(StatusWord.INCORRECT_P1_P2)
    raise _RefusedError(StatusWord.RECORD_NOT_FOUND)


def _split_pins(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Take old and new PIN apart at the separator byte FF (part 5, CHANGE PIN)."""
    return data.partition(b"\xff")


def _encode(data: bytes, status_word: int) -> bytes:
    return data + int(status_word).to_bytes(2, "big")
