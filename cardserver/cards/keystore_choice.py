"""Which key store a configuration means. Not here: the stores themselves."""

from cardserver.cards.file_keystore import FileKeyStore, read_passphrase
from cardserver.cards.keystore import RootKeyStore
from cardserver.cards.pkcs11_keystore import PKCS11KeyStore
from cardserver.config import Config


def open_keystore(config: Config, *, is_administered: bool = False) -> RootKeyStore:
    """Open the key store that `[cards]` names.

    Args:
        config: The centre's.
        is_administered: Whether keys shall be made or destroyed; serving only reads.

    Raises:
        KeyStoreError: It can't be opened.
    """
    section = config.cards
    if section.token is None:
        return FileKeyStore(
            config.path(section.keys_directory),
            read_passphrase(config.path(section.keys_passphrase_file)),
        )
    return PKCS11KeyStore(
        section.token.library,
        label=section.token.label,
        pin=read_passphrase(config.path(section.token.pin_file)).decode("utf-8"),
        is_administered=is_administered,
    )
