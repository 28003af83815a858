"""Points and keys on brainpoolP256r1 (RFC 5639, 3.4), the one curve of the eGK G2.1.

Where OpenSSL offers an operation it is used. What it keeps to itself, adding points and multiplying
one that is not the generator, is not done in constant time: those keys are drawn for one session.
A key that lives longer stays with whoever holds it, behind `KeyAgreement`. Not here: signatures
(`cv_certificate.py`).
"""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ecdsa.curves import BRAINPOOLP256r1
from ecdsa.ellipticcurve import INFINITY, PointJacobi

from protocol.card.errors import CardDataError

COORDINATE_SIZE = 32
POINT_SIZE = 1 + 2 * COORDINATE_SIZE
_UNCOMPRESSED = 0x04
ORDER = int(BRAINPOOLP256r1.order)
_CURVE = ec.BrainpoolP256R1()


class KeyAgreement(Protocol):
    """A private key that agrees on a secret with somebody's public one."""

    @property
    def public_point(self) -> bytes:
        """Its public key: `04`, x, y."""
        ...

    def shared_secret(self, point: bytes) -> bytes:
        """Compute the x-coordinate shared with another public key (BSI TR-03111, 4.3.1).

        Raises:
            CardDataError: The bytes are no point of the curve.
        """
        ...


class EphemeralKey:
    """A private key for one session.

    Args:
        private: Its number, 32 bytes, reduced to the order; whoever calls draws it.
        generator: The point that it multiplies; the curve's own where absent.

    Raises:
        CardDataError: The number is a multiple of the order, or the generator no point.
    """

    __slots__ = ("_private", "public_point")

    def __init__(self, private: bytes, generator: bytes | None = None) -> None:
        self._private = int.from_bytes(private, "big") % ORDER
        if not self._private:
            raise CardDataError("a private key is not zero")
        self.public_point: bytes = (
            _multiple_of_base(self._private)
            if generator is None
            else _encode(_decode(generator) * self._private)
        )

    def multiply(self, point: bytes) -> bytes:
        """Multiply a point.

        Raises:
            CardDataError: The bytes are no point of the curve.
        """
        return _encode(_decode(point) * self._private)

    def shared_secret(self, point: bytes) -> bytes:
        """Compute the x-coordinate shared with another public key."""
        check_point(point)
        public = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
        return ec.derive_private_key(self._private, _CURVE).exchange(ec.ECDH(), public)


def map_generator(nonce: bytes, shared_point: bytes) -> bytes:
    """Map a nonce to another generator: s*G + H (ICAO 9303-11, 4.4.3.3.1).

    Raises:
        CardDataError: H is no point of the curve, or the sum is the point at infinity.
    """
    number = int.from_bytes(nonce, "big") % ORDER
    if not number:
        return _encode(_decode(shared_point))
    mapped = _decode(_multiple_of_base(number)) + _decode(shared_point)
    if mapped == INFINITY:
        raise CardDataError("the mapped generator is the point at infinity")
    return _encode(mapped)


def check_point(point: bytes) -> None:
    """See that these bytes are a point of the curve.

    Raises:
        CardDataError: They are not.
    """
    _decode(point)


def _multiple_of_base(number: int) -> bytes:
    """Multiply the curve's own generator, which OpenSSL does much faster."""
    public = ec.derive_private_key(number, _CURVE).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _decode(point: bytes) -> PointJacobi:
    if len(point) != POINT_SIZE or point[0] != _UNCOMPRESSED:
        raise CardDataError(f"a point has {POINT_SIZE} bytes and begins with 04")
    x = int.from_bytes(point[1 : 1 + COORDINATE_SIZE], "big")
    y = int.from_bytes(point[1 + COORDINATE_SIZE :], "big")
    prime = int(BRAINPOOLP256r1.curve.p())
    if x >= prime or y >= prime or not BRAINPOOLP256r1.curve.contains_point(x, y):
        raise CardDataError("a point does not lie on the curve")
    # The curve's cofactor is 1: whatever lies on it is of the generator's order.
    return PointJacobi(BRAINPOOLP256r1.curve, x, y, 1, ORDER)


def _encode(point: PointJacobi) -> bytes:
    if point == INFINITY:
        raise CardDataError("a point at infinity stands for no key")
    x, y = int(point.x()), int(point.y())
    return (
        bytes((_UNCOMPRESSED,))
        + x.to_bytes(COORDINATE_SIZE, "big")
        + y.to_bytes(COORDINATE_SIZE, "big")
    )
