"""A settlement as an entry: which layer is paid from which account. Pure."""

from cardserver.benefits.values import Split
from ledger.accounts import Account
from ledger.entries import Draft, EntryKind, Posting, without_zeros

# By the layers' national names; a layer without an account of its own is another benefit.
_BENEFIT_OF_LAYER = {
    "hifp_pay": Account.POOL_BENEFIT,
    "hifob_pay": Account.LARGE_AMOUNT_BENEFIT,
    "cvlserv_pay": Account.CIVIL_SERVANT_BENEFIT,
    "hifes_pay": Account.ENTERPRISE_BENEFIT,
    "hifmi_pay": Account.SERIOUS_ILLNESS_BENEFIT,
    "maf_pay": Account.MEDICAL_AID_BENEFIT,
}


def settlement_entry(
    split: Split,
    *,
    person_no: int,
    payer_person_no: int,
    institution_no: int,
    insutype: str,
    med_type: str,
) -> Draft:
    """Return the entry of a settlement.

    Debit the funds' benefits and the accounts that pay, credit the institution's payable. What
    the patient pays in cash never passes through the fund and is recorded on the claim only; a
    bill that cash pays alone makes an entry without postings, so that it has a number like any.
    """
    insurance = int(insutype)
    postings = [
        Posting(
            _BENEFIT_OF_LAYER.get(layer.field, Account.OTHER_BENEFIT), insurance, layer.paid_fen
        )
        for layer in split.layers
    ]
    postings += [
        Posting(Account.PERSONAL_ACCOUNT, person_no, split.account_pay_fen),
        Posting(Account.PERSONAL_ACCOUNT, payer_person_no, split.mutual_aid_fen),
        Posting(
            Account.INSTITUTION_PAYABLE,
            institution_no,
            -(split.fund_pay_fen + split.account_pay_fen + split.mutual_aid_fen),
        ),
    ]
    return Draft(
        kind=EntryKind.SETTLEMENT,
        postings=without_zeros(postings),
        person_no=person_no,
        institution_no=institution_no,
        clearing_type=int(med_type),
    )
