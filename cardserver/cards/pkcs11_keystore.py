"""Root keys in a PKCS #11 token: an HSM, or SoftHSM 2 on this machine.

Every key stays inside. Root, city, card and session key are each derived from the one before by
`CKM_DES3_ECB_ENCRYPT_DATA` (PKCS #11 v2.40, 2.15), whose result is a key object, and all of them
are made sensitive and not extractable; all that comes out is the 8 bytes which a card would say.
The mechanism is 3DES alone: what PKCS #11 has no name for (SM4, SSF33) is refused by name. Not
here: keys that this process may hold itself (`file_keystore.py`).

The one file that imports `pkcs11`. Its calls wait for the token: SoftHSM takes a third of a
millisecond a card, an HSM on a network its round trip for each of five calls.
"""

import ctypes
import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import AttributeTypeInvalid, PKCS11Error, UserAlreadyLoggedIn
from pkcs11.types import DeriveMixin, EncryptMixin

from cardserver.cards.keystore import (
    CHECK_VALUE_SIZE,
    REGION_KEYS_MAX,
    CardKeyName,
    KeyStoreError,
    RootKeyName,
    RootKeyRecord,
    RootKeyStore,
    check_key_value,
    check_versions,
)
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import (
    KEY_SIZE,
    Algorithm,
    CardKey,
    city_factor,
    province_factor,
)

_KEY_BITS: Final = KEY_SIZE * 8
_MECHANISMS: Final = (
    Mechanism.DES2_KEY_GEN,
    Mechanism.DES3_ECB,
    Mechanism.DES3_ECB_ENCRYPT_DATA,
)
# A root key derives and does nothing else; whoever has the token's PIN may derive, as this does.
_ROOT: Final = {
    Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.DES2,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.DERIVE: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}
_DERIVED: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.VALUE_LEN: DEFAULT,  # a DES key has one length only, and a token refuses to be told
}


class _DerivationData(ctypes.Structure):
    """CK_KEY_DERIVATION_STRING_DATA, which the library knows for AES only."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_ulong))


@dataclass(frozen=True, slots=True)
class _Root:
    key: pkcs11.SecretKey
    record: RootKeyRecord


class PKCS11KeyStore(RootKeyStore):
    """Root keys in a token, by the label that is their name.

    Args:
        library: The token's PKCS #11 library.
        label: The token's label.
        pin: Of its user.
        is_administered: Whether keys shall be made or destroyed; serving only reads.

    Raises:
        KeyStoreError: No such library or token, another PIN, or the token can't do what is needed.
    """

    def __init__(
        self, library: str, *, label: str, pin: str, is_administered: bool = False
    ) -> None:
        self._library = library
        self._label = label
        self._pin = pin
        self._is_administered = is_administered
        self._session: pkcs11.Session | None = None
        self._roots: dict[RootKeyName, _Root] = {}
        self._region_keys: OrderedDict[tuple[RootKeyName, str], pkcs11.SecretKey] = OrderedDict()
        self._open()

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """3DES: PKCS #11 has no mechanism for the others."""
        return frozenset({Algorithm.TRIPLE_DES})

    def check_algorithm(self, algorithm: Algorithm) -> None:
        """Refuse a cipher that a token can't compute, and say where its keys can be."""
        if algorithm is Algorithm.SM4:
            raise AlgorithmUnsupportedError(
                "a PKCS #11 token derives card keys with 3DES only; SM4 root keys go into a key"
                " store of encrypted files"
            )
        super().check_algorithm(algorithm)

    def records(self) -> list[RootKeyRecord]:
        """List what may be shown of the keys, by name."""
        return [self._roots[name].record for name in sorted(self._roots)]

    def create(self, name: RootKeyName, made: dt.date) -> RootKeyRecord:
        """Have the token draw a root key."""
        self._check_new(name)
        try:
            self._opened().generate_key(
                KeyType.DES2,
                label=str(name),
                store=True,
                capabilities=MechanismFlag.DERIVE,
                id=_id(made),
                template=_ROOT | {Attribute.VALUE_LEN: DEFAULT},
            )
            return self._find_roots()[name].record
        except PKCS11Error as fault:
            raise self._failed(f"the root key {name} can't be made", fault) from fault

    def import_key(self, name: RootKeyName, value: CardKey, made: dt.date) -> RootKeyRecord:
        """Put a root key into the token, from where it can't be read again."""
        self._check_new(name)
        check_key_value(name.algorithm, value)
        try:
            self._opened().create_object(
                _ROOT
                | {
                    Attribute.LABEL: str(name),
                    Attribute.ID: _id(made),
                    Attribute.VALUE: bytes(value),
                }
            )
            return self._find_roots()[name].record
        except PKCS11Error as fault:
            raise self._failed(f"the root key {name} can't be put in", fault) from fault

    def destroy(self, name: RootKeyName) -> None:
        """Have the token destroy a root key."""
        self._opened()
        root = self._roots.get(name)
        if root is None:
            raise KeyStoreError(f"there is no root key {name}")
        try:
            root.key.destroy()
            self._find_roots()
        except PKCS11Error as fault:
            raise self._failed(f"the root key {name} can't be destroyed", fault) from fault
        for root_name, region in list(self._region_keys):
            if root_name == name:
                self._region_keys.pop((root_name, region)).destroy()

    def close(self) -> None:
        """Leave the token; the keys derived so far die with the session."""
        session, self._session = self._session, None
        self._roots.clear()
        self._region_keys.clear()
        if session is not None:
            session.close()

    def _names(self) -> Iterable[RootKeyName]:
        self._opened()
        return self._roots

    def _authentication(
        self, root: RootKeyName, card: CardKeyName, *, factor: bytes, original: bytes
    ) -> bytes:
        self._opened()
        derived: list[pkcs11.SecretKey] = []
        try:
            derived.append(_derive(self._region_key(root, card.region), _pair(card.identity)))
            # The session key is 8 bytes; as a two-key 3DES key of equal halves it is single DES
            # again (NIST SP 800-67r2, 3.2), and needs no mechanism for that.
            derived.append(_derive(derived[-1], factor + factor))
            session = derived[-1]
            assert isinstance(session, EncryptMixin)
            answer = session.encrypt(original, mechanism=Mechanism.DES3_ECB)
        except PKCS11Error as fault:
            raise self._failed("the token can't compute", fault) from fault
        finally:
            if self._session is not None:
                for key in derived:
                    key.destroy()
        assert isinstance(answer, bytes)
        return answer

    def _region_key(self, root: RootKeyName, region: str) -> pkcs11.SecretKey:
        key = self._region_keys.get((root, region))
        if key is None:
            province = _derive(self._roots[root].key, _pair(province_factor(region)))
            key = _derive(province, _pair(city_factor(region)))
            province.destroy()
            self._region_keys[root, region] = key
            if len(self._region_keys) > REGION_KEYS_MAX:
                self._region_keys.popitem(last=False)[1].destroy()
        return key

    def _opened(self) -> pkcs11.Session:
        """Return the session, opened anew where the token had failed."""
        if self._session is None:
            self._open()
        assert self._session is not None
        return self._session

    def _open(self) -> None:
        try:
            token = pkcs11.lib(self._library).get_token(token_label=self._label)
            mechanisms = token.slot.get_mechanisms()
            missing = [one.name for one in _MECHANISMS if one not in mechanisms]
            if missing:
                raise KeyStoreError(f"the token {self._label} can't do {', '.join(missing)}")
            self._session = _log_in(token, self._pin, is_administered=self._is_administered)
            self._find_roots()
        except PKCS11Error as fault:
            raise self._failed(f"the token {self._label} can't be used", fault) from fault
        except RuntimeError as fault:  # the library can't be loaded
            raise KeyStoreError(f"{self._library} can't be loaded: {fault}") from fault

    def _find_roots(self) -> dict[RootKeyName, _Root]:
        assert self._session is not None
        roots: dict[RootKeyName, _Root] = {}
        for key in self._session.get_objects(
            {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True}
        ):
            assert isinstance(key, pkcs11.SecretKey)
            try:
                name = RootKeyName.parse(key.label or "")
            except KeyStoreError:
                continue  # someone else's key: a token may serve many
            if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
                raise KeyStoreError(f"the token would give out its key {name}: it is no root key")
            if not isinstance(key, DeriveMixin):
                raise KeyStoreError(f"the token's key {name} may not derive: it is no root key")
            if name in roots:
                raise KeyStoreError(f"the token holds two keys {name}: destroy one")
            roots[name] = _Root(key, RootKeyRecord(name, _check_value(key), _made(key)))
        check_versions(roots)
        self._roots = roots
        return roots

    def _failed(self, what: str, fault: PKCS11Error) -> KeyStoreError:
        """Describe a fault, and begin anew next time: the token may have been unplugged."""
        self._region_keys.clear()
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        except PKCS11Error:
            what += " (and its session is lost)"
        return KeyStoreError(f"{what}: {type(fault).__name__} {fault}".rstrip())


def _log_in(token: pkcs11.Token, pin: str, *, is_administered: bool) -> pkcs11.Session:
    try:
        return token.open(rw=is_administered, user_pin=pin)
    except UserAlreadyLoggedIn:  # by another session of this process, which then counts for all
        return token.open(rw=is_administered)


def _derive(key: pkcs11.SecretKey, data: bytes) -> pkcs11.SecretKey:
    """Make the key that is `data` encrypted by `key`, inside the token."""
    assert isinstance(key, DeriveMixin)
    parameter = _DerivationData(data, len(data))
    derived = key.derive_key(
        KeyType.DES2,
        _KEY_BITS,
        store=False,
        capabilities=MechanismFlag.DERIVE | MechanismFlag.ENCRYPT,
        mechanism=Mechanism.DES3_ECB_ENCRYPT_DATA,
        mechanism_param=bytes(parameter),
        template=_DERIVED,
    )
    assert isinstance(derived, pkcs11.SecretKey)
    return derived


def _pair(factor: bytes) -> bytes:
    """Join a factor with its complement: what is encrypted one level down (part 9, 7.3)."""
    return factor + bytes(byte ^ 0xFF for byte in factor)


def _check_value(key: pkcs11.SecretKey) -> bytes:
    try:
        return bytes(key[Attribute.CHECK_VALUE])[:CHECK_VALUE_SIZE]
    except AttributeTypeInvalid:
        return b""


def _id(made: dt.date) -> bytes:
    """Keep the day as the key's CKA_ID: SoftHSM 2.6 can't read a private key's dates back."""
    return made.isoformat().encode()


def _made(key: pkcs11.SecretKey) -> dt.date | None:
    try:
        return dt.date.fromisoformat(bytes(key[Attribute.ID]).decode())
    except (AttributeTypeInvalid, ValueError):  # made by another program
        return None
