"""The family of clearing's errors: each is a sentence that whoever clears can act on."""


class ClearingError(Exception):
    """What was asked of a month's clearing can't be done."""
