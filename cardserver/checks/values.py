"""What checks are told and what they find: a settlement about to be made, and those made before.

Everything they look at is an argument. Not here: how rules are written (`rules_document.py`), how
they are tried (`evaluation.py`), where the facts come from (`cardserver/claims`).

Units: `..._fen` is a hundredth of a yuan, `..._e4` a ten-thousandth of a unit, `..._e6` a millionth
of a degree. Dates are integers YYYYMMDD, 0 for none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

MALE, FEMALE = 1, 2
FOREVER = 99991231


class ItemFacts(Struct, frozen=True, gc=False):
    """What the catalogue says of an item; 0 says nothing.

    Attributes:
        item_class: 1 A, 2 B, 3 C.
        kind: 1 drug, 2 service, 3 consumable.
        sex: For whom it is alone: 1 male, 2 female.
        age_from: From which age on.
        age_below: Below which age.
        daily_quantity_max_e4: How much of it a day.
    """

    item_class: int = 3
    kind: int = 0
    sex: int = 0
    age_from: int = 0
    age_below: int = 0
    daily_quantity_max_e4: int = 0


UNCATALOGUED = ItemFacts()
FactsOf = Callable[[str], ItemFacts]


class CheckedLine(Struct, frozen=True, gc=False):
    """One line of a bill; its name is for people, and left out of earlier bills."""

    item: str
    quantity_e4: int
    gross_fen: int
    name: str = ""


class CheckedPlace(Struct, frozen=True, gc=False):
    """Where a settlement is made.

    Attributes:
        kind: 1 hospital, 2 community centre, 3 pharmacy.
        level: 1 to 3; 0 none.
    """

    institution_no: int
    kind: int
    level: int


class Position(NamedTuple):
    """A place on earth (WGS 84)."""

    latitude_e6: int
    longitude_e6: int


class Occasion(Struct, frozen=True, gc=False):
    """One settlement: the one to be checked, or an earlier one of the person that stands.

    Attributes:
        claim_no: 0 of the one to be checked.
        time_ms: When the centre settled it.
        day: The day of care; of a stay its last.
        is_card_present: Whether the card itself was there, and not an exception.
        admitted: First day of the stay; 0 without one.
        discharged: Last day of the stay so far; 99991231 while it is open.
        visit: Names the stay, so that its parts are not taken for two; may be empty.
        is_settled: Whether this is a settlement, and not a stay that nobody has settled yet.
    """

    claim_no: int
    time_ms: int
    day: int
    insutype: str
    med_type: str
    place: CheckedPlace
    is_card_present: bool
    lines: tuple[CheckedLine, ...]
    total_fen: int
    fund_pay_fen: int
    admitted: int = 0
    discharged: int = 0
    visit: str = ""
    is_settled: bool = True


class Patient(Struct, frozen=True, gc=False):
    """Who is treated.

    Attributes:
        person_type: 11 active, 12 retired, 14 resident.
        region: GB/T 2260 code of the insured place.
        sex: 1 male, 2 female, 9 not stated.
        age: In full years.
    """

    person_type: str
    region: str
    sex: int
    age: int


class Situation(Struct, frozen=True):
    """All that checks look at.

    Attributes:
        now: What is to be settled.
        past: What was settled before and stands, and stays that are open; newest first.
        facts_of: The catalogue on the day of care.
        positions: Where institutions are, by number; who is missing has no known place.
    """

    patient: Patient
    now: Occasion
    past: Sequence[Occasion]
    facts_of: FactsOf
    positions: Mapping[int, Position]


class Finding(Struct, frozen=True):
    """What a rule found.

    Attributes:
        rule: The rule's name.
        is_refusal: Whether the rule refuses, and does not just warn.
        may_override: Whether a supervisor may let it pass.
        text_zh: The rule's reason, with the figures of this case.
        text_en: The same in English.
        line: The bill's line, from 1; 0 for the bill as a whole.
    """

    rule: str
    is_refusal: bool
    may_override: bool
    text_zh: str
    text_en: str
    line: int
