"""What goes wrong with what a card says.

Not here: a reader that fails (`terminals/readers/channel.py`), a card that is not to be trusted
(`cardserver/cards/opening.py`).
"""


class CardProtocolError(Exception):
    """Something between a card and us did not keep to its standard."""


class CardDataError(CardProtocolError):
    """Bytes of a card do not have the layout that its standard gives."""


class StatusWordError(CardProtocolError):
    """A command was answered by a status word that its script does not go on from.

    Attributes:
        status_word: What the card answered.
    """

    def __init__(self, status_word: int) -> None:
        super().__init__(f"unexpected status word {status_word:04X}")
        self.status_word = status_word


class AlgorithmUnsupportedError(CardProtocolError):
    """The card's cipher is not one that can be computed here."""
