"""How people are shown whom something is about: masked, unless the whole is asked for; pure."""

_NUMBER_HEAD = 3
_NUMBER_TAIL = 2
_MASKED = {"id_number", "number", "card_number", "card_id", "identity"}
_NAMES = {"name"}


def masked_number(number: str) -> str:
    """Show the first three and the last two characters of a number."""
    if len(number) <= _NUMBER_HEAD + _NUMBER_TAIL:
        return "*" * len(number)
    hidden = len(number) - _NUMBER_HEAD - _NUMBER_TAIL
    return number[:_NUMBER_HEAD] + "*" * hidden + number[-_NUMBER_TAIL:]


def masked_name(name: str) -> str:
    """Show the first character of a person's name."""
    return name[:1] + "*" * (len(name) - 1)


def masked_value(column: str, value: object, *, of_person: bool) -> object:
    """Mask a column's value where it tells who someone is."""
    if column in _MASKED and value is not None:
        return masked_number(str(value))
    if column in _NAMES and of_person:
        return masked_name(str(value))
    return value
