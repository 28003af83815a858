"""What a command says when it can't: one sentence on standard error, and exit status 1."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
T = TypeVar("T")

_EXPECTED = {
    "cardserver.authority": "AuthorityError",
    "cardserver.backup": "BackupError",
    "cardserver.benefits.policy": "PolicyError",
    "cardserver.cards.keystore": "KeyStoreError",
    "cardserver.cards.trust_anchors": "TrustAnchorError",
    "cardserver.checks.rule_book": "RulesError",
    "cardserver.clearing.errors": "ClearingError",
    "cardserver.config": "ConfigError",
    "cardserver.digest_keys": "DigestKeyError",
    "cardserver.key_files": "KeyFileError",
    "cardserver.reconciliation.day_file": "DayFileError",
    "cardserver.registry.administration_store": "AdministrationError",
    "cardserver.registry.import_files": "ImportFileError",
    "cardserver.registry.passwords": "PasswordError",
    "cardserver.review.months_store": "ReviewError",
    "cardserver.review.rule_file": "ReviewRulesError",
    "ledger.digest": "DigestError",
    "ledger.store_errors": "StoreError",
    "protocol.card.errors": "AlgorithmUnsupportedError",
    "protocol.terminal.errors": "RemoteProtocolError",
    "terminals.readers.channel": "ReaderError",
}
"""The families, by the file that defines each: imported here, they would bring half the centre."""


def fail_clearly(command: Callable[P, T]) -> Callable[P, T]:
    """Turn what an operator can mend into a sentence; a fault of ours keeps its trace."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except _expected() as error:
            print(f"cardserver: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        except BaseExceptionGroup as group:  # from a task group
            expected, fault = group.split(_expected())
            if fault is not None or expected is None:
                raise
            for leaf in _leaves(expected):
                print(f"cardserver: {leaf}", file=sys.stderr)  # noqa: T201 - as above
        raise typer.Exit(1)

    return run


def _expected() -> tuple[type[Exception], ...]:
    """Give the families that can have been raised: those whose file something imported."""
    return tuple(
        getattr(sys.modules[file], name) for file, name in _EXPECTED.items() if file in sys.modules
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
