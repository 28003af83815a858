"""A settlement as an entry: which layer is paid from which account. Pure."""

from cardserver.benefits.values import Split
from ledger.accounts import Account
from ledger.entries import Draft, EntryKind, Posting

# By the layers' national names; a layer without an account of its own is another benefit.
_BENEFIT_OF_LAYER = {
    "hifp_pay": Account.POOL_BENEFIT.value,
    "hifob_pay": Account.LARGE_AMOUNT_BENEFIT.value,
    "cvlserv_pay": Account.CIVIL_SERVANT_BENEFIT.value,
    "hifes_pay": Account.ENTERPRISE_BENEFIT.value,
    "hifmi_pay": Account.SERIOUS_ILLNESS_BENEFIT.value,
    "maf_pay": Account.MEDICAL_AID_BENEFIT.value,
}
_OTHER = Account.OTHER_BENEFIT.value
_PERSONAL = Account.PERSONAL_ACCOUNT.value
_PAYABLE = Account.INSTITUTION_PAYABLE.value


def settlement_entry(
    split: Split,
    *,
    person_no: int,
    payer_person_no: int,
    institution_no: int,
    insutype: str,
    clearing_type: int,
) -> Draft:
    """Return the entry of a settlement.

    Debit the funds' benefits and the accounts that pay, credit the institution's payable. What
    the patient pays in cash never passes through the fund and is recorded on the claim only; a
    bill that cash pays alone makes an entry without postings, so that it has a number like any.
    What the institution bears is its own matter: nothing is owed for it.
    """
    insurance = int(insutype)
    postings = [
        Posting(_BENEFIT_OF_LAYER.get(layer.field, _OTHER), insurance, layer.paid_fen)
        for layer in split.layers
        if layer.paid_fen
    ]
    owed_fen = split.fund_pay_fen + split.account_pay_fen + split.mutual_aid_fen
    if split.account_pay_fen:
        postings.append(Posting(_PERSONAL, person_no, split.account_pay_fen))
    if split.mutual_aid_fen:
        postings.append(Posting(_PERSONAL, payer_person_no, split.mutual_aid_fen))
    if owed_fen:
        postings.append(Posting(_PAYABLE, institution_no, -owed_fen))
    return Draft(
        kind=EntryKind.SETTLEMENT,
        postings=tuple(postings),
        person_no=person_no,
        institution_no=institution_no,
        clearing_type=clearing_type,
    )
