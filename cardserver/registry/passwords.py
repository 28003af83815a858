"""Operators' passwords: argon2id, as RFC 9106, 4 recommends where memory is scarce.

A hash takes tens of milliseconds and 64 MiB on purpose. It runs on threads, the one place beside
readers and the writing of SQLite that does: on the event loop it would hold up every terminal.
Two threads bound the memory; sign-ons beyond wait their turn.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

PASSWORD_SIZE_MIN = 8
PASSWORD_SIZE_MAX = 128  # as SIGN_ON carries at most
NO_PASSWORD = "!"  # noqa: S105 - the hash of none: nothing verifies against it

_THREADS_MAX = 2
_HASHER = PasswordHasher(
    time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID
)
_THREADS = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="argon2")


class PasswordError(Exception):
    """A new password can't be taken; says why."""


def hash_password(password: str) -> str:
    """Hash a new password, salt and parameters included in the text.

    Raises:
        PasswordError: It is too short or too long.
    """
    if not PASSWORD_SIZE_MIN <= len(password) <= PASSWORD_SIZE_MAX:
        raise PasswordError(
            f"a password has {PASSWORD_SIZE_MIN} to {PASSWORD_SIZE_MAX} characters,"
            f" this one {len(password)}"
        )
    return _HASHER.hash(password)


def is_hash(text: str) -> bool:
    """Whether this can stand for a password: an argon2id hash, or `NO_PASSWORD`."""
    if text == NO_PASSWORD:
        return True
    try:
        _HASHER.check_needs_rehash(text)
    except InvalidHashError:
        return False
    return text.startswith("$argon2id$")


async def verify_password(password_hash: str, password: str) -> bool:
    """Say whether this is the password; takes as long where there is no hash to compare with."""
    return await asyncio.get_running_loop().run_in_executor(
        _THREADS, _matches, password_hash, password
    )


def _matches(password_hash: str, password: str) -> bool:
    if password_hash in {"", NO_PASSWORD}:
        _HASHER.hash(password)
        return False
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
