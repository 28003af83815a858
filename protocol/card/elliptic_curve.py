"""Points and keys on brainpoolP256r1 (RFC 5639, 3.4), the one curve of the eGK G2.1.

Multiplying points is not done in constant time: the private keys here are drawn for one session.
A key that lives longer stays with whoever holds it, behind `KeyAgreement`. Not here: signatures
(`cv_certificate.py`).
"""

from typing import Protocol

from ecdsa.curves import BRAINPOOLP256r1
from ecdsa.ellipticcurve import INFINITY, Point

from protocol.card.errors import CardDataError

COORDINATE_SIZE = 32
POINT_SIZE = 1 + 2 * COORDINATE_SIZE
_UNCOMPRESSED = 0x04
ORDER = int(BRAINPOOLP256r1.order)


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
        base = _base_point() if generator is None else _decode(generator)
        self.public_point: bytes = _encode(base * self._private)

    def multiply(self, point: bytes) -> bytes:
        """Multiply a point.

        Raises:
            CardDataError: The bytes are no point of the curve.
        """
        return _encode(_decode(point) * self._private)

    def shared_secret(self, point: bytes) -> bytes:
        """Compute the x-coordinate shared with another public key."""
        return x_coordinate(self.multiply(point))


def x_coordinate(point: bytes) -> bytes:
    """Take the x-coordinate out of an encoded point."""
    assert len(point) == POINT_SIZE
    return point[1 : 1 + COORDINATE_SIZE]


def map_generator(nonce: bytes, shared_point: bytes) -> bytes:
    """Map a nonce to another generator: s*G + H (ICAO 9303-11, 4.4.3.3.1).

    Raises:
        CardDataError: H is no point of the curve, or the sum is the point at infinity.
    """
    number = int.from_bytes(nonce, "big") % ORDER
    mapped = _base_point() * number + _decode(shared_point)
    if mapped == INFINITY:
        raise CardDataError("the mapped generator is the point at infinity")
    return _encode(mapped)


def check_point(point: bytes) -> None:
    """See that these bytes are a point of the curve.

    Raises:
        CardDataError: They are not.
    """
    _decode(point)


def _base_point() -> Point:
    generator = BRAINPOOLP256r1.generator
    return Point(BRAINPOOLP256r1.curve, int(generator.x()), int(generator.y()), ORDER)


def _decode(point: bytes) -> Point:
    if len(point) != POINT_SIZE or point[0] != _UNCOMPRESSED:
        raise CardDataError(f"a point has {POINT_SIZE} bytes and begins with 04")
    x = int.from_bytes(point[1 : 1 + COORDINATE_SIZE], "big")
    y = int.from_bytes(point[1 + COORDINATE_SIZE :], "big")
    prime = int(BRAINPOOLP256r1.curve.p())
    if x >= prime or y >= prime or not BRAINPOOLP256r1.curve.contains_point(x, y):
        raise CardDataError("a point does not lie on the curve")
    # The curve's cofactor is 1: whatever lies on it is of the generator's order.
    return Point(BRAINPOOLP256r1.curve, x, y)


def _encode(point: Point) -> bytes:
    if point == INFINITY:
        raise CardDataError("a point at infinity stands for no key")
    x, y = int(point.x()), int(point.y())
    return (
        bytes((_UNCOMPRESSED,))
        + x.to_bytes(COORDINATE_SIZE, "big")
        + y.to_bytes(COORDINATE_SIZE, "big")
    )
