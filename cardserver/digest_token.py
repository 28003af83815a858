"""The key that signs digests in a PKCS #11 token: a P-256 key that never leaves it.

The token signs with `CKM_ECDSA` over a SHA-256 that is made here, which every token can. Not here:
cards' root keys in a token (`cards/pkcs11_keystore.py`), a key in a file (`digest_keys.py`).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn
from pkcs11.types import SignMixin
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from cardserver.digest_keys import ECDSA, DigestKeyError, PublicKey

_CURVE = "secp256r1"
_HALF = 32


class TokenSigner:
    """A P-256 key in a token, by its label.

    Args:
        library: The token's PKCS #11 library.
        label: The token's label.
        pin: Of its user.
        key_label: The key's label.

    Raises:
        DigestKeyError: No such library, token or key, or another PIN.
    """

    algorithm = ECDSA

    def __init__(self, library: str, *, label: str, pin: str, key_label: str) -> None:
        self._library = library
        self._label = label
        self._pin = pin
        self._key_label = key_label
        with self._session() as session:
            self._public_key = self._find_public(session)

    @classmethod
    def make_key(cls, library: str, *, label: str, pin: str, key_label: str) -> "TokenSigner":
        """Have the token draw a key pair.

        Raises:
            DigestKeyError: It can't, or holds one of this label.
        """
        with _open(library, label, pin, is_administered=True) as session:
            if list(session.get_objects({Attribute.LABEL: key_label})):
                raise DigestKeyError(f"the token {label} holds a key {key_label} already")
            parameters = session.create_domain_parameters(
                KeyType.EC,
                {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVE)},
                local=True,
            )
            parameters.generate_keypair(
                store=True,
                label=key_label,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                    Attribute.PRIVATE: True,
                },
            )
        return cls(library, label=label, pin=pin, key_label=key_label)

    @property
    def public_key(self) -> PublicKey:
        """What verifies its signatures."""
        return self._public_key

    def sign(self, signed: bytes) -> bytes:
        """Return the signature: DER, as X.509 has it."""
        with self._session() as session:
            keys = list(
                session.get_objects(
                    {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: self._key_label}
                )
            )
            if len(keys) != 1 or not isinstance(keys[0], SignMixin):
                raise DigestKeyError(
                    f"the token {self._label} holds no single key {self._key_label} that signs"
                )
            raw = bytes(keys[0].sign(hashlib.sha256(signed).digest(), mechanism=Mechanism.ECDSA))
        return encode_dss_signature(
            int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        )

    @contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        with _open(self._library, self._label, self._pin) as session:
            yield session

    def _find_public(self, session: pkcs11.Session) -> ec.EllipticCurvePublicKey:
        keys = list(
            session.get_objects(
                {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: self._key_label}
            )
        )
        if len(keys) != 1 or not isinstance(keys[0], pkcs11.PublicKey):
            raise DigestKeyError(f"the token {self._label} holds no single key {self._key_label}")
        key = serialization.load_der_public_key(encode_ec_public_key(keys[0]))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise DigestKeyError(f"the key {self._key_label} is not on the curve P-256")
        return key


@contextmanager
def _open(
    library: str, label: str, pin: str, *, is_administered: bool = False
) -> Iterator[pkcs11.Session]:
    try:
        token = pkcs11.lib(library).get_token(token_label=label)
        try:
            session = token.open(rw=is_administered, user_pin=pin)
        except UserAlreadyLoggedIn:  # by another session of this process, which counts for all
            session = token.open(rw=is_administered)
        with session:
            yield session
    except PKCS11Error as fault:
        raise DigestKeyError(
            f"the token {label} can't be used: {type(fault).__name__} {fault}".rstrip()
        ) from fault
    except RuntimeError as fault:  # the library can't be loaded
        raise DigestKeyError(f"{library} can't be loaded: {fault}") from fault
