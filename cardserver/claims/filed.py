"""What a person has filed (备案), as it bears on one bill. Pure.

Not here: how filings are kept (`cardserver/registry`), what follows from them (policies).
"""

from collections.abc import Iterable

from msgspec import Struct

from cardserver.claims.values import Place
from cardserver.registry.values import Filing, FilingKind
from protocol.terminal.messages import Bill

_PREFECTURE = 4  # digits of a GB/T 2260 code that name the prefecture
# Beijing, Tianjin, Shanghai, Chongqing: their districts (..01) and counties (..02) are one place.
_MUNICIPALITIES = frozenset({"11", "12", "31", "50"})
_PROVINCE = 2


class Filed(Struct, frozen=True):
    """What decides of a bill by filings; the fields are `benefits.values.Case`'s."""

    referral: str = "local"
    disease: str = ""
    is_designated: bool = True
    items: tuple[str, ...] = ()


def filed_for(
    filings: Iterable[Filing] | None, bill: Bill, place: Place, *, region: str, care_date: int
) -> Filed:
    """Tell what the person's filings say of a bill.

    Args:
        filings: The person's; None where no policy asks for any: then nothing is decided by them,
            and a disease is what the bill says it is.
        bill: Whose disease counts only if it is filed.
        place: Where.
        region: The insured place.
        care_date: The day on which they must hold.
    """
    if filings is None:
        return Filed(
            referral=_referral(bill, place, region, is_referred=False), disease=bill.disease
        )
    held = [
        filing
        for filing in filings
        if filing.begins <= care_date <= filing.ends
        and filing.institution_no in {0, place.institution_no}
    ]
    codes = {
        kind: tuple(sorted({one.code for one in held if one.kind is kind})) for kind in FilingKind
    }
    return Filed(
        referral=_referral(bill, place, region, is_referred=bool(codes[FilingKind.REFERRAL])),
        disease=bill.disease if bill.disease in codes[FilingKind.DISEASE] else "",
        is_designated=any(one.kind is FilingKind.DESIGNATED and one.institution_no for one in held),
        items=codes[FilingKind.SPECIAL_DRUG],
    )


def _referral(bill: Bill, place: Place, region: str, *, is_referred: bool) -> str:
    """Tell how the patient came here; an institution's code names its place (H, GB/T 2260)."""
    if is_referred:
        return "referred"
    size = _PROVINCE if region[:_PROVINCE] in _MUNICIPALITIES else _PREFECTURE
    if place.code[1 : 1 + size] == region[:size]:
        return "local"
    return "emergency" if bill.emergency else "unreferred"
