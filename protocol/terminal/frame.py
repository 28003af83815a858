"""Frames: a payload's size as unsigned 32-bit big-endian, then the payload.

Not here: what a payload says (`messages.py`).
"""

from typing import Final

from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError

HEADER_SIZE: Final = 4
FRAME_SIZE_MAX: Final = 262_144
"""Payload limit unless configured: a bill of 2,000 lines is about 100,000 bytes."""


def encode_frame(payload: bytes, size_max: int = FRAME_SIZE_MAX) -> bytes:
    """Put the size before a payload.

    Raises:
        LocalProtocolError: The payload is empty or larger than `size_max`.
    """
    if not 1 <= len(payload) <= size_max:
        raise LocalProtocolError(f"a payload of {len(payload)} bytes; allowed are 1 to {size_max}")
    return len(payload).to_bytes(HEADER_SIZE, "big") + payload


class FrameReader:
    """Cuts a stream of bytes into payloads; what it holds is bounded.

    A size that is not allowed is refused from the four size bytes alone. Cost is linear in the
    bytes received, however they are cut: a bytearray gives up its front without copying the rest.
    """

    def __init__(self, size_max: int = FRAME_SIZE_MAX) -> None:
        assert size_max >= 1
        self._size_max = size_max
        self._buffer = bytearray()

    @property
    def is_mid_frame(self) -> bool:
        """Whether bytes are held that no payload was made of yet."""
        return len(self._buffer) > 0

    def set_size_max(self, size_max: int) -> None:
        """Change the limit, for frames not yet taken."""
        assert size_max >= 1
        self._size_max = size_max

    def clear(self) -> None:
        """Drop what is held."""
        self._buffer.clear()

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer.

        Raises:
            LocalProtocolError: Payloads that had arrived were not taken by `next_frame`.
        """
        if len(self._buffer) > HEADER_SIZE + self._size_max:
            raise LocalProtocolError("more was received before the frames held were taken")
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Take the next payload, or None where more bytes are needed.

        Raises:
            RemoteProtocolError: The size announced is zero or larger than allowed.
        """
        if len(self._buffer) < HEADER_SIZE:
            return None
        size = int.from_bytes(self._buffer[:HEADER_SIZE], "big")
        if size == 0:
            raise RemoteProtocolError(ResponseCode.MALFORMED_FRAME, "a frame of zero bytes")
        if size > self._size_max:
            raise RemoteProtocolError(
                ResponseCode.FRAME_TOO_LARGE,
                f"a frame of {size} bytes; at most {self._size_max} are allowed",
            )
        end = HEADER_SIZE + size
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[HEADER_SIZE:end])
        del self._buffer[:end]
        return payload
