"""Citizens' identity numbers that are well-formed and nobody's (GB 11643-1999).

A number is region 6, birth date 8, sequence 3 (odd for men), check character 1.
"""

from collections import defaultdict

# GB 11643-1999, 4.2: weights of the 17 digits, and the check character by remainder (ISO 7064).
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"

SEQUENCES_A_DAY = 500  # of one sex: 001, 003, ... or 000, 002, ...

MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
DAYS = tuple(
    f"{month:02}{day:02}" for month, days in enumerate(MONTHS, 1) for day in range(1, days + 1)
)
DAYS_A_YEAR = len(DAYS)


def weigh(digits: str, first: int) -> int:
    """Add up digits times weights, the first digit standing at index `first` of the number."""
    return sum(int(digit) * WEIGHTS[first + index] for index, digit in enumerate(digits))


_DAY_WEIGHTS = tuple(weigh(day, 10) for day in DAYS)
_SEQUENCES = tuple(f"{sequence:03}" for sequence in range(1000))
_SEQUENCE_WEIGHTS = tuple(weigh(sequence, 14) for sequence in _SEQUENCES)


class NumbersExhaustedError(Exception):
    """So many were born in one year that its numbers are used up."""


class IdentityNumbers:
    """Numbers of one region, each given once."""

    def __init__(self, region: str) -> None:
        """Start with none given; `region` is the six digits that no real place has."""
        self._region = region
        self._region_weight = weigh(region, 0)
        self._year_weights: dict[int, int] = {}
        self._given: defaultdict[int, int] = defaultdict(int)  # by year, day and sex

    def take(self, year: int, day: int, *, is_male: bool) -> tuple[str, str]:
        """Take a number of someone born on a day (0 to 364), or shortly after if it is full.

        Returns:
            The number, and the birth date in it as YYYYMMDD.
        """
        given = self._given
        for _ in range(DAYS_A_YEAR):
            key = (year * DAYS_A_YEAR + day) * 2 + is_male
            index = given[key]
            if index < SEQUENCES_A_DAY:
                given[key] = index + 1
                return self._write(year, day, 2 * index + is_male)
            day = (day + 1) % DAYS_A_YEAR
        raise NumbersExhaustedError(f"no identity number is left for the year {year}")

    def _write(self, year: int, day: int, sequence: int) -> tuple[str, str]:
        weights = self._year_weights
        if year not in weights:
            weights[year] = self._region_weight + weigh(str(year), 6)
        check = (weights[year] + _DAY_WEIGHTS[day] + _SEQUENCE_WEIGHTS[sequence]) % 11
        birth_date = f"{year}{DAYS[day]}"
        number = f"{self._region}{birth_date}{_SEQUENCES[sequence]}{CHECK_CHARACTERS[check]}"
        return number, birth_date
