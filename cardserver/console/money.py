"""Amounts as people write and read them: yuan with two places, kept as whole fen."""

import re

_YUAN = re.compile(r"(\d{1,12})(?:\.(\d{1,2}))?")
_FEN = 100


def yuan(fen: int) -> str:
    """Write an amount in yuan."""
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // _FEN:,}.{fen % _FEN:02}"


def fen_of(text: str) -> int | None:
    """Read an amount in yuan as fen; None for what is none."""
    found = _YUAN.fullmatch(text.strip().replace(",", ""))
    if found is None:
        return None
    return int(found[1]) * _FEN + int((found[2] or "").ljust(2, "0"))
