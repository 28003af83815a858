"""Which body belongs to which message type, and the hash that tells two bodies apart."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.decoding import ENCODER, decode
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import MessageType

REQUEST_BODIES: Final[Mapping[MessageType, type[Struct]]] = MappingProxyType(
    {
        MessageType.SIGN_ON: messages.SignOn,
        MessageType.SIGN_OFF: messages.SignOff,
        MessageType.ECHO: messages.Echo,
        MessageType.CARD_OPEN: messages.CardOpen,
        MessageType.MEMBER_QUERY: messages.MemberQuery,
        MessageType.ELIGIBILITY: messages.Eligibility,
        MessageType.ACCUMULATORS: messages.Accumulators,
        MessageType.PREVIEW: messages.Preview,
        MessageType.SETTLE: messages.Settle,
        MessageType.CANCEL: messages.Cancel,
        MessageType.REVERSE: messages.Reverse,
        MessageType.STATUS: messages.Status,
        MessageType.PRINT_ACK: messages.PrintAck,
        MessageType.EXPLAIN: messages.Explain,
        MessageType.REFUND: messages.Refund,
        MessageType.REGISTER: messages.Register,
        MessageType.ADMIT: messages.Admit,
        MessageType.DISCHARGE: messages.Discharge,
        MessageType.VISIT_CANCEL: messages.VisitCancel,
        MessageType.DISCHARGE_CANCEL: messages.DischargeCancel,
        MessageType.LINES: messages.Lines,
        MessageType.LINES_CANCEL: messages.LinesCancel,
        MessageType.VISIT_QUERY: messages.VisitQuery,
        MessageType.LIST_DOWNLOAD: messages.ListDownload,
        MessageType.RECONCILE: messages.Reconcile,
        MessageType.RECONCILE_DETAIL: messages.ReconcileDetail,
        MessageType.CLEARING_APPLY: messages.ClearingApply,
        MessageType.CLEARING_CANCEL: messages.ClearingCancel,
        MessageType.CLEARING_QUERY: messages.ClearingQuery,
        MessageType.REVIEW_CASES: messages.ReviewCases,
        MessageType.REVIEW_APPEAL: messages.ReviewAppeal,
    }
)

REPLY_BODIES: Final[Mapping[MessageType, type[Struct]]] = MappingProxyType(
    {
        MessageType.SIGN_ON: messages.SignedOn,
        MessageType.SIGN_OFF: messages.SignedOff,
        MessageType.ECHO: messages.Echoed,
        MessageType.CARD_OPEN: messages.CardOpened,
        MessageType.MEMBER_QUERY: messages.MemberFound,
        MessageType.ELIGIBILITY: messages.EligibilityFound,
        MessageType.ACCUMULATORS: messages.AccumulatorsFound,
        MessageType.PREVIEW: messages.Previewed,
        MessageType.SETTLE: messages.Settled,
        MessageType.CANCEL: messages.Settled,
        MessageType.REVERSE: messages.Reversed,
        MessageType.STATUS: messages.StatusFound,
        MessageType.PRINT_ACK: messages.PrintAcked,
        MessageType.EXPLAIN: messages.Explained,
        MessageType.REFUND: messages.Refunded,
        MessageType.REGISTER: messages.Registered,
        MessageType.ADMIT: messages.Registered,
        MessageType.DISCHARGE: messages.VisitChanged,
        MessageType.VISIT_CANCEL: messages.VisitChanged,
        MessageType.DISCHARGE_CANCEL: messages.VisitChanged,
        MessageType.LINES: messages.LinesTaken,
        MessageType.LINES_CANCEL: messages.VisitChanged,
        MessageType.VISIT_QUERY: messages.VisitFound,
        MessageType.LIST_DOWNLOAD: messages.ListPage,
        MessageType.RECONCILE: messages.Reconciled,
        MessageType.RECONCILE_DETAIL: messages.ReconcileDetailed,
        MessageType.CLEARING_APPLY: messages.ClearingApplied,
        MessageType.CLEARING_CANCEL: messages.ClearingCancelled,
        MessageType.CLEARING_QUERY: messages.ClearingsFound,
        MessageType.REVIEW_CASES: messages.ReviewCasesFound,
        MessageType.REVIEW_APPEAL: messages.ReviewAppealed,
    }
)

STORED_TYPES: Final = frozenset(
    {
        MessageType.SETTLE,
        MessageType.CANCEL,
        MessageType.REVERSE,
        MessageType.PRINT_ACK,
        MessageType.REFUND,
        MessageType.REGISTER,
        MessageType.ADMIT,
        MessageType.DISCHARGE,
        MessageType.VISIT_CANCEL,
        MessageType.DISCHARGE_CANCEL,
        MessageType.LINES,
        MessageType.LINES_CANCEL,
    }
)
"""The types whose outcome is kept by `msgid`; the others change no money and are answered anew.

A REFUND that doesn't commit, and a PREVIEW, are answered anew too.
"""

NIL: Final = ENCODER.encode(None)

_REQUEST_DECODERS: Final[Mapping[int, Decoder[Struct]]] = {
    type_.value: Decoder(body) for type_, body in REQUEST_BODIES.items()
}
_REPLY_DECODERS: Final[Mapping[int, Decoder[Struct]]] = {
    type_.value: Decoder(body) for type_, body in REPLY_BODIES.items()
}
_PREVIEWED_DECODER: Final[Decoder[Struct]] = Decoder(messages.Previewed)
_CHECK_REFUSED_DECODER: Final[Decoder[Struct]] = Decoder(messages.CheckRefused)


def encode_body(body: Struct | None) -> Raw:
    """Encode a body for an envelope's `body`; None gives nil."""
    return Raw(ENCODER.encode(body))


def decode_request_body(type_: int, body: Raw | bytes) -> Struct:
    """Decode a request's body.

    Args:
        type_: The request's `type`.
        body: The bytes as sent.

    Raises:
        RemoteProtocolError: UNKNOWN_MESSAGE_TYPE, MALFORMED_MESSAGE or INVALID_FIELD; a request
            that ends so is refused with that code, and the connection goes on.
    """
    decoder = _REQUEST_DECODERS.get(type_)
    if decoder is None:
        raise RemoteProtocolError(
            ResponseCode.UNKNOWN_MESSAGE_TYPE, f"no message has the type {type_}"
        )
    return decode(decoder, bytes(body))


def decode_reply_body(
    type_: int, code: int, body: Raw | bytes, *, is_duplicate: bool = False
) -> Struct | None:
    """Decode a reply's body; None where the code's replies carry none.

    Args:
        type_: The request's `type`.
        code: The reply's `code`.
        body: The bytes as sent.
        is_duplicate: The reply's `duplicate`: then nil is a body that is kept no longer.

    Raises:
        RemoteProtocolError: As for requests.
    """
    if is_duplicate and bytes(body) == NIL:
        return None
    if code == ResponseCode.CHECK_REFUSED and type_ in {MessageType.PREVIEW, MessageType.SETTLE}:
        return decode(_CHECK_REFUSED_DECODER, bytes(body))
    if code == ResponseCode.SPLIT_CHANGED and type_ != MessageType.REFUND:
        return decode(_PREVIEWED_DECODER, bytes(body))
    if code not in {ResponseCode.APPROVED, ResponseCode.SPLIT_CHANGED}:
        return None
    decoder = _REPLY_DECODERS.get(type_)
    if decoder is None:
        raise RemoteProtocolError(
            ResponseCode.UNKNOWN_MESSAGE_TYPE, f"no message has the type {type_}"
        )
    return decode(decoder, bytes(body))


def request_hash(type_: int, body: Raw | bytes) -> bytes:
    """Hash what makes two requests the same: SHA-256 over the type (uint16) and body as sent."""
    return hashlib.sha256(type_.to_bytes(2, "big") + bytes(body)).digest()
