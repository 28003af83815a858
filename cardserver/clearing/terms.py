"""Reading terms of clearing, and finding what holds in a month and for an institution.

Not here: the file's shape and what must hold in it (`terms_document.py`).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.rules_file import MistakesError, read_document
from cardserver.clearing.calculation import Cap, CapPer
from cardserver.clearing.errors import ClearingError
from cardserver.clearing.terms_document import (
    CapTerms,
    Holder,
    InstitutionTerms,
    TermsDocument,
    decode_number,
    mistakes_of,
)

_PER = {"month": CapPer.MONTH, "year": CapPer.YEAR}


class TermsError(ClearingError, MistakesError):
    """Terms of clearing say something that can't hold, or there are none for a month."""


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms as read; make them with `load_terms`.

    Attributes:
        document: What the file says.
        sha256: Of its text, which names it.
        begins: The first month, YYYYMM.
    """

    document: TermsDocument
    sha256: bytes
    begins: int
    _institutions: dict[str, InstitutionTerms] = field(repr=False)
    _caps: dict[tuple[str, int], CapTerms] = field(repr=False)

    def deposit_e4(self, institution: str) -> int:
        """Return an institution's deposit, in ten-thousandths of what would be paid."""
        own = self._institutions.get(institution)
        if own is None or own.deposit_percent is None:
            return int(self.document.deposit_percent)
        return int(own.deposit_percent)

    def cap(self, institution: str, clearing_type: int) -> Cap | None:
        """Return the cap on an institution's total of one clearing type."""
        found = self._caps.get((institution, clearing_type))
        if found is None:
            return None
        return Cap(_PER[found.per], int(found.amount), int(found.above_percent))

    def account(self, institution: str) -> Holder | None:
        """Return where an institution is paid."""
        own = self._institutions.get(institution)
        return None if own is None else own.account

    @property
    def personal_accounts_insutype(self) -> int:
        """The insurance that personal accounts belong to."""
        return int(self.document.personal_accounts_insutype)


def load_terms(text: str) -> Terms:
    """Read a file of terms.

    Raises:
        TermsError: With the path of each mistake.
    """
    document = read_document(
        text, TermsDocument, decode=decode_number, check=mistakes_of, error=TermsError
    )
    return Terms(
        document=document,
        sha256=hashlib.sha256(text.encode()).digest(),
        begins=document.begins.year * 100 + document.begins.month,
        _institutions={one.code: one for one in document.institutions},
        _caps={(one.institution, one.clearing_type): one for one in document.caps},
    )


def terms_of_month(versions: Iterable[Terms], month: int) -> Terms:
    """Return the terms that began last before a month's end.

    Raises:
        TermsError: None has begun by then.
    """
    begun = [one for one in versions if one.begins <= month]
    if not begun:
        raise TermsError([Mistake("$.begins", f"no terms of clearing hold in {month}")])
    return max(begun, key=lambda one: one.begins)
