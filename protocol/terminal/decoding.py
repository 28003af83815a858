"""MessagePack in and out: one place where whatever a peer sent becomes a value or one error."""

from typing import Final, TypeVar

from msgspec import ValidationError
from msgspec.msgpack import Decoder, Encoder

from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import RemoteProtocolError

T = TypeVar("T")

ENCODER: Final = Encoder()


def decode(decoder: Decoder[T], data: bytes) -> T:
    """Decode outside data.

    Raises:
        RemoteProtocolError: MALFORMED_MESSAGE where it is no MessagePack (truncated, bytes left
            over, nested too deeply, text that is not UTF-8), INVALID_FIELD where a value is not
            of the type or outside the limits of its field.
    """
    try:
        return decoder.decode(data)
    except ValidationError as error:
        raise RemoteProtocolError(ResponseCode.INVALID_FIELD, str(error)) from error
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            ResponseCode.MALFORMED_MESSAGE, f"text that is not UTF-8: {error.reason}"
        ) from error
    except RecursionError as error:
        raise RemoteProtocolError(
            ResponseCode.MALFORMED_MESSAGE, "arrays or maps are nested too deeply"
        ) from error
    except (ValueError, OverflowError) as error:
        raise RemoteProtocolError(ResponseCode.MALFORMED_MESSAGE, str(error)) from error
