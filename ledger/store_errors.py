"""What can go wrong with a database, one class a thing to do about it."""


class StoreError(Exception):
    """The database could not do what was asked."""


class UnsafeDatabaseError(StoreError):
    """A setting of the database would let an answered settlement be lost; it refuses to start."""

    def __init__(self, setting: str, found: str, wanted: str) -> None:
        super().__init__(f"unsafe database setting: {setting} is {found}, must be {wanted}")
        self.setting = setting


class StoreUnavailableError(StoreError):
    """The database can't be reached or has no room; nothing was recorded."""


class CommitUnknownError(Exception):
    """The connection ended while a commit was under way: it may stand or not.

    Not one of the family, so that nobody who answers "nothing was recorded" catches it.
    """


class ConflictError(StoreError):
    """Another transaction came between; the same again may succeed."""


class ConstraintError(StoreError):
    """The rows break a rule of the schema."""
