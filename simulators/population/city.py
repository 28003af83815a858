"""What a made-up city is like: its size and region, as asked for; everything else follows."""

from dataclasses import dataclass

# Within Beijing's numbers, so that the policy which a new centre has applies to it; no place ever
# had it (GB/T 2260), so that none of its identity numbers can be anyone's.
MADE_UP_REGION = "110199"

FOREVER = 99991231
PERSONS_MAX = 1_000_000
PERSON_NO_FIRST = 10_000_001
OPERATOR_NO_FIRST = 1_001

# A fund of 500,000 insured in the field has about 300 institutions (DESIGN.md, Figures to reach).
PERSONS_AN_INSTITUTION = 1_667
INSTITUTIONS_MIN = 8
PERSONS_AN_EMPLOYER = 60

NO_PASSWORD = "!"  # noqa: S105 - the hash of none: nothing verifies against it


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A city to make up.

    Attributes:
        seed: The same seed and the same other fields give the same files, byte for byte.
        persons: How many persons, up to 1,000,000.
        region: Six digits of a region that doesn't exist, so that no number can be a real one.
        year: The year on whose first day this is the state of things.
        items: Length of the catalogue.
        password_hash: Of the test operators; without one nobody can sign on as they.
    """

    seed: int
    persons: int
    region: str
    year: int = 2026
    items: int = 4_000
    password_hash: str = NO_PASSWORD

    def __post_init__(self) -> None:
        assert 1 <= self.persons <= PERSONS_MAX
        assert len(self.region) == 6  # noqa: PLR2004
        assert self.region.isdecimal()
        assert self.items >= 1

    @property
    def institutions(self) -> int:
        """How many hospitals, community centres and pharmacies."""
        return max(INSTITUTIONS_MIN, self.persons // PERSONS_AN_INSTITUTION)

    @property
    def employers(self) -> int:
        """How many firms."""
        return max(1, self.persons // PERSONS_AN_EMPLOYER)

    @property
    def issuer(self) -> str:
        """The organisation that initialised the city's cards: 12 bytes in hex, BCD padded F."""
        return f"{self.region}000001".ljust(24, "F")
