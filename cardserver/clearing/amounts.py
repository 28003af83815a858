"""Amounts as people read them: yuan with thousands apart, the sign before. Pure."""


def yuan(amount_fen: int) -> str:
    """Write an amount in yuan."""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{'-' if amount_fen < 0 else ''}{whole:,}.{rest:02d}"


def month_text(month: int) -> str:
    """Write a month, YYYYMM, as 2026-10."""
    return f"{month // 100}-{month % 100:02d}"


CLEARING_TYPES = {
    0: ("其他", "other"),
    11: ("门诊", "outpatient"),
    21: ("住院", "inpatient"),
    41: ("药店购药", "pharmacy"),
}
"""Clearing types in Chinese and English."""


def type_text(clearing_type: int) -> str:
    """Write a clearing type in both languages."""
    chinese, english = CLEARING_TYPES.get(clearing_type, ("", ""))
    return f"{clearing_type} {chinese} {english}".rstrip()
