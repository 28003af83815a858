"""Reading policies, and finding the one that applies.

Not here: the file's shape (`policy_document.py`), what must hold in it (`policy_check.py`).
"""

import datetime as dt
import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import msgspec

from cardserver.benefits.mistakes import Mistake, mistake_of
from cardserver.benefits.plan import Plans
from cardserver.benefits.policy_check import mistakes_of
from cardserver.benefits.policy_document import PolicyDocument, decode_amount

_FOREVER = 99991231


class PolicyError(Exception):
    """A policy, or a set of them, says something that cannot hold.

    Attributes:
        mistakes: Each with its path and a sentence.
    """

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(f"{mistake.path}: {mistake.sentence}" for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy as loaded; make it with `load_policy`.

    Attributes:
        document: What the file says.
        identity: Name, first day and hash of the text: `name@YYYY-MM-DD#hash`.
        begins: First day of care, YYYYMMDD.
        ends: Last day of care, 99991231 where the file names none.
        plans: By kind of care.
        care: By medical type, the kind of care that it belongs to.
    """

    document: PolicyDocument
    identity: str
    begins: int
    ends: int
    plans: dict[str, Plans]
    care: dict[str, str]

    @property
    def name(self) -> str:
        """The name that all versions share."""
        return self.document.name

    def care_of(self, med_type: str) -> str | None:
        """Tell to which kind of care a medical type belongs; None where the policy has none."""
        return self.care.get(med_type)

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
        self._found: dict[tuple[str, str, str], tuple[Policy, ...]] = {}
        self._by_identity = {policy.identity: policy for policy in self._policies}
        keys = {
            (insutype, region, med_type)
            for policy in self._policies
            for insutype in policy.document.insutypes
            for region in policy.document.regions
            for med_type in policy.care
        }
        for insutype, region, med_type in keys:
            self._found[insutype, region, med_type] = tuple(
                policy
                for policy in self._policies
                if insutype in policy.document.insutypes
                and region in policy.document.regions
                and med_type in policy.care
            )

    def by_identity(self, identity: str) -> Policy | None:
        """Find the version that a claim names as the one that decided it."""
        return self._by_identity.get(identity)

    def find(self, insutype: str, region: str, med_type: str, care_date: int) -> Policy | None:
        """Find the policy of the place itself, or else of its city, its province, the country."""
        for place in (region, region[:4] + "00", region[:2] + "0000", "000000"):
            for policy in self._found.get((insutype, place, med_type), ()):
                if policy.begins <= care_date:
                    if care_date <= policy.ends:
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
    try:
        document = msgspec.convert(
            # Floats stay text: an amount such as 0.10 must not pass through binary fractions.
            tomllib.loads(text, parse_float=str),
            PolicyDocument,
            dec_hook=decode_amount,
        )
    except tomllib.TOMLDecodeError as error:
        raise PolicyError((Mistake("$", f"this is not TOML: {error}"),)) from error
    except msgspec.ValidationError as error:
        raise PolicyError((mistake_of(str(error)),)) from error
    mistakes = tuple(mistakes_of(document))
    if mistakes:
        raise PolicyError(mistakes)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    plans: dict[str, Plans] = {}
    if document.outpatient is not None:
        plans["outpatient"] = Plans("outpatient", document.outpatient, document.person_types)
    if document.inpatient is not None:
        plans["inpatient"] = Plans("inpatient", document.inpatient, document.person_types)
    return Policy(
        document=document,
        identity=f"{document.name}@{document.begins}#{sha256[:12]}",
        begins=_date_number(document.begins),
        ends=_FOREVER if document.ends is None else _date_number(document.ends),
        plans=plans,
        care={
            med_type: scheme for scheme, each in plans.items() for med_type in each.rules.med_types
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
        for med_type in earlier.care
        if insutype in later.document.insutypes
        and region in later.document.regions
        and med_type in later.care
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
