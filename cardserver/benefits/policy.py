"""Reading policies, and finding the one that applies.

Not here: the file's shape (`policy_document.py`), what must hold in it (`policy_check.py`).
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.plan import Plans
from cardserver.benefits.policy_check import mistakes_of
from cardserver.benefits.policy_document import PolicyDocument, SpecialScheme, decode_amount
from cardserver.benefits.rules_file import MistakesError, identity_of, read_document

_FOREVER = 99991231


class PolicyError(MistakesError):
    """A policy, or a set of them, says something that cannot hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy as loaded; make it with `load_policy`.

    Attributes:
        document: What the file says.
        identity: Name, first day and hash of the text: `name@YYYY-MM-DD#hash`.
        begins: First day of care, YYYYMMDD.
        ends: Last day of care, 99991231 where the file names none.
        plans: By kind of care.
        care: By medical type and disease, the kind of care that they belong to; without a disease
            where the care asks for none.
    """

    document: PolicyDocument
    identity: str
    begins: int
    ends: int
    plans: dict[str, Plans]
    care: dict[tuple[str, str], str]

    @property
    def name(self) -> str:
        """The name that all versions share."""
        return self.document.name

    def care_of(self, med_type: str, disease: str = "") -> str | None:
        """Tell to which kind of care a medical type belongs; None where the policy has none.

        Several special schemes may share a medical type; then the disease tells them apart.
        """
        if not disease:
            return self.care.get((med_type, ""))
        return self.care.get((med_type, disease)) or self.care.get((med_type, ""))

    def has_stays(self, scheme: str) -> bool:
        """Tell whether a kind of care has stays, admissions and discharges."""
        return self.plans[scheme].has_stays

    def is_settled_at_year_end(self, scheme: str) -> bool:
        """Tell whether a stay that goes on in the next year is settled at the year's end."""
        return self.plans[scheme].rules.stay_across_years == "year_end"

    def is_entitled_by_day(self, scheme: str) -> bool:
        """Tell whether each day of a stay is covered for itself, or all as the first."""
        return self.plans[scheme].rules.entitled_by == "day"

    def is_one_stay_after_transfer(self, scheme: str) -> bool:
        """Tell whether a stay that continues another by transfer is one with it."""
        return self.plans[scheme].rules.transfers != "new_stay"

    @property
    def med_types(self) -> frozenset[str]:
        """The medical types of all kinds of care."""
        return frozenset(med_type for med_type, _ in self.care)

    def rows_of(self, scheme: str) -> tuple[str, ...]:
        """Tell which rows of accumulators a kind of care looks at, its own first."""
        return self.plans[scheme].rows

    def needs_filings(self, scheme: str) -> bool:
        """Tell whether a kind of care asks for the person's filings (备案)."""
        return self.plans[scheme].needs_filings


class PolicyBook:
    """All policies in force at some time.

    Versions of one name follow each other: without `ends`, one holds until the next begins.
    """

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies = sorted(policies, key=lambda policy: policy.begins, reverse=True)
        mistakes = tuple(
            mistake
            for later, earlier in combinations(self._policies, 2)
            for mistake in _conflicts(earlier, later, self._superseded(earlier))
        )
        if mistakes:
            raise PolicyError(mistakes)
        # With the day on which the next version begins, whatever that has rules for.
        held = [(policy, self._superseded(policy)) for policy in self._policies]
        self._found: dict[tuple[str, str, str], tuple[tuple[Policy, int], ...]] = {}
        self._asking = frozenset(
            (insutype, med_type)
            for policy in self._policies
            for insutype in policy.document.insutypes
            for (med_type, _), scheme in policy.care.items()
            if policy.needs_filings(scheme)
        )
        self._by_identity = {policy.identity: policy for policy in self._policies}
        keys = {
            (insutype, region, med_type)
            for policy in self._policies
            for insutype in policy.document.insutypes
            for region in policy.document.regions
            for med_type in policy.med_types
        }
        for insutype, region, med_type in keys:
            self._found[insutype, region, med_type] = tuple(
                (policy, superseded)
                for policy, superseded in held
                if insutype in policy.document.insutypes
                and region in policy.document.regions
                and med_type in policy.med_types
            )

    def kinds(self) -> set[tuple[str, str]]:
        """Name the insurances, each with a medical type, that some policy is about."""
        return {(insutype, med_type) for insutype, _, med_type in self._found}

    def needs_filings(self, insutype: str, med_type: str) -> bool:
        """Tell whether some policy asks for filings where this is insured and billed."""
        return (insutype, med_type) in self._asking

    def by_identity(self, identity: str) -> Policy | None:
        """Find the version that a claim names as the one that decided it."""
        return self._by_identity.get(identity)

    def find(self, insutype: str, region: str, med_type: str, care_date: int) -> Policy | None:
        """Find the policy of the place itself, or else of its city, its province, the country."""
        for place in (region, region[:4] + "00", region[:2] + "0000", "000000"):
            for policy, superseded in self._found.get((insutype, place, med_type), ()):
                if policy.begins <= care_date:
                    if care_date <= policy.ends and care_date < superseded:
                        return policy
                    break
        return None

    def _superseded(self, policy: Policy) -> int:
        """Tell on which day the next version of the same name begins."""
        later = [
            other.begins
            for other in self._policies
            if other.name == policy.name and other.begins > policy.begins
        ]
        return min(later, default=_FOREVER)


def load_policy(text: str) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: With the path of each mistake.
    """
    document = read_document(
        text, PolicyDocument, decode=decode_amount, check=mistakes_of, error=PolicyError
    )
    plans = {
        name: Plans(name, path, document, rules) for name, (path, rules) in document.care().items()
    }
    return Policy(
        document=document,
        identity=identity_of(text, document.name, document.begins),
        begins=_date_number(document.begins),
        ends=_FOREVER if document.ends is None else _date_number(document.ends),
        plans=plans,
        care={
            (med_type, disease): scheme
            for scheme, each in plans.items()
            for med_type in each.rules.med_types
            for disease in (
                (isinstance(each.rules, SpecialScheme) and each.rules.diseases) or ("",)
            )
        },
    )


def _conflicts(earlier: Policy, later: Policy, superseded: int) -> Iterable[Mistake]:
    if earlier.name == later.name:
        if earlier.begins == later.begins:
            sentence = f"{earlier.identity} and {later.identity} begin on the same day"
            yield Mistake("$.begins", sentence)
        elif later.begins <= earlier.ends != _FOREVER:
            yield Mistake(
                "$.ends", f"{earlier.identity} has not ended when {later.identity} begins"
            )
        return
    common = [
        (insutype, region, med_type)
        for insutype in earlier.document.insutypes
        for region in earlier.document.regions
        for med_type in sorted(earlier.med_types)
        if insutype in later.document.insutypes
        and region in later.document.regions
        and med_type in later.med_types
    ]
    if common and later.begins <= earlier.ends and later.begins < superseded:
        insutype, region, med_type = common[0]
        yield Mistake(
            "$.begins",
            f"{earlier.identity} and {later.identity} both hold rules for medical type "
            f"{med_type} of insurance {insutype} in region {region}, and their dates overlap",
        )


def _date_number(date: dt.date) -> int:
    return date.year * 10_000 + date.month * 100 + date.day
