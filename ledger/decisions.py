"""What a group of requests is given and what it decides, as values.

`N` is what a request needs read for it, `B` the book in which a participant holds what was read,
`R` the record that a decision leaves with the participant.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from ledger.accounts import Account
from ledger.bulk_store import Query
from ledger.entries import Draft
from ledger.ledger_store import GroupTime, RequestKey, StoredRequest
from ledger.scripts import Script

N = TypeVar("N")
B = TypeVar("B")
R = TypeVar("R")
Needs_contra = TypeVar("Needs_contra", contravariant=True)


class Posted(Struct, frozen=True):
    """Where a decision was put: the entry's number and the group's time.

    Attributes:
        further: The numbers of the decision's further entries, in their order.
    """

    entry_no: int
    when: GroupTime
    further: tuple[int, ...] = ()


class Part(Struct, Generic[R], frozen=True):
    """A further entry of a decision, and what it leaves with the participant."""

    draft: Draft
    record: R


class Post(Struct, Generic[R], frozen=True):
    """Post an entry, or several together, and store the outcome.

    Attributes:
        draft: The entry; the stored outcome bears its number.
        code: The response code.
        body_of: Makes the reply body once the numbers are known.
        record: For the participant.
        further: More entries of the same decision, numbered next in this order. All are posted or
            none: a group that fails leaves none of them.
    """

    draft: Draft
    code: int
    body_of: Callable[[Posted], bytes]
    record: R
    further: tuple[Part[R], ...] = ()


class Answer(Struct, Generic[R], frozen=True):
    """Answer without an entry.

    Attributes:
        code: The response code.
        body: The reply body as stored; empty for none.
        is_stored: Whether the attempt has ended: the second coming gets the same answer.
        record: For the participant, if there is anything to keep.
        tombstone: The key that is to be refused should it still arrive.
        detail_zh: What the cashier should know beyond the code, in Chinese; it is not stored.
        detail_en: The same in English.
        body_of: Makes the reply body once the record counts, in place of `body`.
    """

    code: int
    body: bytes = b""
    is_stored: bool = True
    record: R | None = None
    tombstone: RequestKey | None = None
    detail_zh: str = ""
    detail_en: str = ""
    body_of: Callable[[], bytes] | None = None


Decision: TypeAlias = Post[R] | Answer[R]


@dataclass(slots=True)
class GroupView(Generic[B]):
    """What decisions look at: committed state under the locks, and what the group did so far.

    Attributes:
        when: The group's time.
        requests: Stored outcomes of the group's keys and their originals'.
        balances: Of limited accounts, by (owner, account).
        locked: The persons whose rows are locked.
        book: The participant's.
    """

    when: GroupTime
    requests: dict[RequestKey, StoredRequest]
    balances: dict[tuple[int, int], int]
    locked: frozenset[int]
    book: B

    def personal_balance(self, person_no: int) -> int:
        """Return what the person's account holds, in fen."""
        assert person_no in self.locked, "a balance is read under its person's lock"
        return self.balances.get((person_no, Account.PERSONAL_ACCOUNT), 0)


class Work(Struct, Generic[N, B, R], frozen=True):
    """One request for the writer.

    Attributes:
        key: Names the attempt.
        type: The message type.
        request_hash: Over type and body as sent.
        persons: Whose rows the decision may change; the participant finds further ones.
        original: The attempt that a reversal names.
        needs: What the participant has to read.
        decide: Pure; called once every lock is held, again when a group is retried.
        deadline_ms: On the clock's `monotonic_ms`; last checked on entering a group.
    """

    key: RequestKey
    type: int
    request_hash: bytes
    persons: tuple[int, ...]
    original: RequestKey | None
    needs: N
    decide: Callable[[GroupView[B]], Decision[R]]
    deadline_ms: int


class Decided(Struct, Generic[R], frozen=True):
    """A record that a decision of this group leaves; one that posts several entries leaves several.

    Attributes:
        posted: Where the record's own entry was put; None without an entry.
    """

    key: RequestKey
    type: int
    record: R
    posted: Posted | None
    when: GroupTime


class Participant(Protocol[Needs_contra, B, R]):
    """Who reads and writes beside the ledger within a group's transaction.

    Attributes:
        tombstone_code: The code that refuses a late original.
    """

    @property
    def tombstone_code(self) -> int:
        """The code that refuses an original which its reversal overtook."""
        ...

    def find(
        self, needs: Sequence[Needs_contra], requests: Mapping[RequestKey, StoredRequest]
    ) -> Script[tuple[B, set[int]]]:
        """Begin a book, and find persons whom the works do not name themselves.

        Args:
            needs: The works'.
            requests: Stored outcomes of the originals.
        """
        ...

    def lock(
        self, book: B, needs: Sequence[Needs_contra], persons: Sequence[int]
    ) -> Script[frozenset[int]]:
        """Lock these persons' rows, and whose else the decisions may need, ascending.

        Args:
            book: Begun.
            needs: The works'.
            persons: Whom the works name and `find` found, ascending.

        Returns:
            All persons that may be looked at from now on, `persons` among them.
        """
        ...

    def read(self, book: B, needs: Sequence[Needs_contra]) -> Script[None]:
        """Read all that the decisions look at, now that the persons are locked."""
        ...

    def apply(self, book: B, decided: Decided[R]) -> None:
        """Let later decisions of the group see this one."""
        ...

    def write(self, book: B, decided: Collection[Decided[R]]) -> list[Query]:
        """Return the changes that the decisions left, one a table, none without rows."""
        ...


@dataclass(slots=True)
class Outcome:
    """How a request ended.

    Attributes:
        body: As stored; empty for none.
        is_duplicate: Whether it is an earlier attempt's, repeated.
        business_date: The fund's day, YYYYMMDD.
        entry_no: The entry posted, if any.
        stages: Where the time went: name and microseconds.
        detail_zh: What the cashier should know beyond the code; empty when repeated.
        detail_en: The same in English.
    """

    code: int
    body: bytes
    is_duplicate: bool
    business_date: int
    recorded_time_ms: int
    entry_no: int | None
    stages: tuple[tuple[str, int], ...] = ()
    detail_zh: str = ""
    detail_en: str = ""


@unique
class NotTaken(Enum):
    """Why a request was not decided; nothing was recorded of it."""

    MSGID_REUSED = "the key was used before with other content"
    BUSY = "too many requests wait"
    DEADLINE_PASSED = "its time had passed before it entered a group"
    STOPPING = "the writer takes no more"
