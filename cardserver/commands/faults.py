"""What a command says when it can't: one sentence on standard error, and exit status 1."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from cardserver.authority import AuthorityError
from cardserver.backup import BackupError
from cardserver.benefits.policy import PolicyError
from cardserver.cards.keystore import KeyStoreError
from cardserver.cards.trust_anchors import TrustAnchorError
from cardserver.checks.rule_book import RulesError
from cardserver.clearing.errors import ClearingError
from cardserver.config import ConfigError
from cardserver.digest_keys import DigestKeyError
from cardserver.key_files import KeyFileError
from cardserver.reconciliation.day_file import DayFileError
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.passwords import PasswordError
from cardserver.review.months_store import ReviewError
from cardserver.review.rule_file import ReviewRulesError
from ledger.digest import DigestError
from ledger.store_errors import StoreError
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.terminal.errors import RemoteProtocolError
from terminals.readers.channel import ReaderError

P = ParamSpec("P")
T = TypeVar("T")

_EXPECTED = (
    AdministrationError,
    AlgorithmUnsupportedError,
    AuthorityError,
    BackupError,
    ClearingError,
    ConfigError,
    DayFileError,
    DigestError,
    DigestKeyError,
    ImportFileError,
    KeyFileError,
    KeyStoreError,
    PasswordError,
    PolicyError,
    ReaderError,
    RemoteProtocolError,
    ReviewError,
    ReviewRulesError,
    RulesError,
    StoreError,
    TrustAnchorError,
)


def fail_clearly(command: Callable[P, T]) -> Callable[P, T]:
    """Turn what an operator can mend into a sentence; a fault of ours keeps its trace."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except _EXPECTED as error:
            print(f"cardserver: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        except BaseExceptionGroup as group:  # from a task group
            expected, fault = group.split(_EXPECTED)
            if fault is not None or expected is None:
                raise
            for leaf in _leaves(expected):
                print(f"cardserver: {leaf}", file=sys.stderr)  # noqa: T201 - as above
        raise typer.Exit(1)

    return run


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
