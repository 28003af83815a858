"""What is asked of a settlement that stands: its explanation, and what a refund would come to.

Not here: what is decided (`explaining.py`, `refund.py`); all that is known of a request
(`inquiry_store.py`).
"""

from cardserver.benefits.policy import Policy, PolicyError, load_policy
from cardserver.claims import tables
from cardserver.claims.claims_store import read_view
from cardserver.claims.explaining import Retold, explained, retell
from cardserver.claims.refund import WorkedOut, refund_needs, work_out
from cardserver.claims.undoing import claim_of
from cardserver.claims.values import Claim, ClaimsAnswer, Needs, PolicyFinder, claim_number
from cardserver.registry.policy_store import find_version, policy_versions
from ledger.bulk_store import select
from ledger.database_store import Database
from ledger.ledger_store import GroupTime
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode

_POLICY = select(tables.claim, ("policy",), by=("entry_no",))
_NO_TIME = GroupTime(0, 0, 0)


class Archive:
    """Policy versions that claims name: those in force, and those that once were.

    A version never changes, so that what was read once is kept.
    """

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database
        self._kept: dict[str, Policy | None] = {}

    async def find(self, policies: PolicyFinder, identity: str) -> Policy | None:
        """Find a version by what claims call it; None where it is not at hand."""
        policy = policies.by_identity(identity)
        if policy is not None:
            return policy
        if identity not in self._kept:
            version = find_version(await policy_versions(self._database), identity)
            try:
                self._kept[identity] = None if version is None else load_policy(version.text)
            except PolicyError:  # a text that an earlier release understood
                self._kept[identity] = None
        return self._kept[identity]

    async def of_settlement(self, policies: PolicyFinder, setl_id: str) -> Policy | None:
        """Find the version that decided a settlement."""
        rows = await self._database.fetch(_POLICY([(claim_number(setl_id),)]))
        return await self.find(policies, rows[0][1]) if rows else None


async def preview_refund(
    database: Database,
    archive: Archive,
    *,
    institution_no: int,
    refund: messages.Refund,
    policies: PolicyFinder,
    when: GroupTime,
) -> WorkedOut | ClaimsAnswer:
    """Work out what a refund would come to, and commit nothing."""
    policy = await archive.of_settlement(policies, refund.setl_id)
    view = await database.fetch_script(read_view(refund_needs(refund), when))
    return work_out(view, institution_no, refund, policy)


async def explain(
    database: Database,
    archive: Archive,
    *,
    institution_no: int,
    request: messages.Explain,
    policies: PolicyFinder,
) -> messages.Explained | ResponseCode:
    """Tell a page of how a settlement came to what it is, if it is the asking institution's."""
    claim_no = claim_number(request.setl_id)
    view = await database.fetch_script(read_view(Needs(claim_no=claim_no), _NO_TIME))
    claim = claim_of(view, institution_no, claim_no)
    if claim is None:
        return ResponseCode.ORIGINAL_NOT_FOUND
    retold = retell(claim, await archive.find(policies, claim.policy), explain=True)
    return explained(
        claim,
        retold,
        claim_no=claim_no,
        undone_by=view.book.undone.get(claim_no, 0),
        first_line=request.first_line,
        first_step=request.first_step,
    )


async def retell_claim(
    database: Database, archive: Archive, policies: PolicyFinder, claim_no: int
) -> tuple[Claim, Retold] | None:
    """Tell a claim of whatever institution, with its steps; for the fund's own people."""
    view = await database.fetch_script(read_view(Needs(claim_no=claim_no), _NO_TIME))
    claim = view.book.claims.get(claim_no)
    if claim is None:
        return None
    return claim, retell(claim, await archive.find(policies, claim.policy), explain=True)
