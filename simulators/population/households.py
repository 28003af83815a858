"""Who lives in a made-up city: household by household, with insurances, cards and balances.

One stream of random bits, one pass, one text line a row: a million persons are to take seconds.
Not here: institutions, operators and catalogue, which are few (`places.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from simulators.population import filings, names
from simulators.population.city import FOREVER, PERSON_NO_FIRST, City
from simulators.population.identity_number import DAYS, DAYS_A_YEAR, IdentityNumbers

HEADERS = {
    "persons": "person_no,id_number,name,sex,birth_date,deceased_date,family_no,employer_no",
    "families": "family_no,payer_person_no",
    "insurances": "person_no,insutype,begins,ends,state,person_type,region",
    "cards": "card_no,profile,identity,region,card_number,card_id,person_no,version,algorithm,"
    "card_class,issuer,begins,ends,state,historical",
    "balances": "person_no,balance_fen",
    "filings": filings.HEADER,
}

# W works, E is over sixty, C is a child or student. Drawn evenly; about as a city is.
HOUSEHOLDS = (
    "W", "W", "W", "WW", "WW", "WW", "WWC", "WWC", "WWC", "WWC", "WWC", "WWCC", "WWCC",
    "WCE", "WWCE", "WWCEE", "WWEE", "WE", "E", "EE", "EE", "EE", "WC", "WCC",
    "WWC", "WW", "W", "WWC", "EE", "E", "WWCC", "WWCE",
)  # fmt: skip

ACTIVE, RETIRED, RESIDENT = "11", "12", "14"
IN_FORCE, PAUSED, ENDED = 1, 2, 4
VALID, LOST, REPLACED, FROZEN = 1, 2, 3, 4
DES3, SM4 = 1, 3

# Chips, by the first five historical bytes and the maker's two (CARDS.md 1.1); made up but for
# the first, which is the standard's example.
CHIPS = ("00814E4323", "0064544D31", "00468A1102", "0091AA2045")
MAKERS = ("8697", "8612", "8655", "8680")

CARD_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
CARD_LIFE_YEARS = 10
SCHOOL_AGE = 7

# A bijection of 32-bit numbers: multiplying by an odd constant. Serials look arbitrary and
# never collide.
SERIAL_FACTOR = 2_654_435_761
LAST_32_BITS = 0xFFFFFFFF

PERSONS_A_PART = 10_000


@dataclass(slots=True)
class Lines:
    """The next lines of each file."""

    persons: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    insurances: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    balances: list[str] = field(default_factory=list)
    filings: list[str] = field(default_factory=list)

    def by_file(self) -> dict[str, list[str]]:
        """The lines by the file's name."""
        return {
            "persons": self.persons,
            "families": self.families,
            "insurances": self.insurances,
            "cards": self.cards,
            "balances": self.balances,
            "filings": self.filings,
        }


def make_households(city: City) -> Iterator[tuple[int, Lines]]:
    """Make up everyone, in parts: how many persons so far, and the lines of the last part."""
    census = _Census(city)
    done = reported = 0
    while done < city.persons:
        done += census.add_household(city.persons - done)
        if done - reported >= PERSONS_A_PART:
            reported = done
            yield done, census.take_lines()
    if reported < done:
        yield done, census.take_lines()


class _Census:
    """Counts people in, one household after the other."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._bits = Random(f"households {city.seed}").getrandbits
        self._numbers = IdentityNumbers(city.region)
        self._filings = filings.Filings(city)
        self._lines = Lines()
        self._person_no = PERSON_NO_FIRST
        self._family_no = 0
        self._card_no = 0
        self._serial_first = self._bits(32)
        self._identity_middle = city.region[:4]
        self._card_id_first = f"{city.region}D156000005"

    def take_lines(self) -> Lines:
        """Give away the lines made so far."""
        lines, self._lines = self._lines, Lines()
        return lines

    def add_household(self, persons_max: int) -> int:
        """Make up one household of at most so many; return how many they are."""
        bits = self._bits(32)
        roles = HOUSEHOLDS[bits & 31][:persons_max]
        family_no = 0
        if len(roles) > 1 and roles[0] == "W" and bits >> 5 & 7 < 5:  # noqa: PLR2004 - 5 in 8
            self._family_no = family_no = self._family_no + 1
            self._lines.families.append(f"{family_no},{self._person_no}\n")
        surname = names.SURNAMES[(bits >> 8) % len(names.SURNAMES)]
        for index, role in enumerate(roles):
            self._add_person(role, index, surname, family_no)
        return len(roles)

    def _add_person(self, role: str, index: int, surname: str, family_no: int) -> None:
        """Make up one person; children bear the household's surname, others mostly their own."""
        bits = self._bits(96)
        person_no = self._person_no
        self._person_no = person_no + 1
        is_male = bits & 1 == 1
        bits >>= 1
        age = _age(role, bits & 0xFF)
        bits >>= 8
        id_number, birth_date = self._numbers.take(
            self._city.year - 1 - age, (bits & 0xFFFF) % DAYS_A_YEAR, is_male=is_male
        )
        bits >>= 16
        if index and role != "C":
            surname = names.SURNAMES[(bits & 0xFFFF) % len(names.SURNAMES)]
        bits >>= 16
        given = names.GIVEN_MALE if is_male else names.GIVEN_FEMALE
        name = surname + given[(bits & 0xFF) % len(given)]
        if bits >> 8 & 7:  # seven in eight have two characters
            name += given[(bits >> 11 & 0xFF) % len(given)]
        bits >>= 19
        is_deceased = role == "E" and bits & 63 == 0
        is_payer = family_no != 0 and index == 0
        # The first of a household whose account aids the others always has one.
        is_employed = role == "W" and (is_payer or bits >> 6 & 7 != 0)
        bits >>= 9
        employer_no = (bits & 0xFFFF) % self._city.employers + 1 if is_employed else 0
        deceased_date = f"{self._city.year - 1}0630" if is_deceased else ""
        self._lines.persons.append(
            f"{person_no},{id_number},{name},{1 if is_male else 2},{birth_date},"
            f"{deceased_date},{family_no},{employer_no}\n"
        )
        if is_employed:
            self._insure_worker(person_no, is_male=is_male, is_payer=is_payer)
        elif role == "E":
            self._insure_elder(person_no, is_deceased=is_deceased)
        else:
            self._insure(person_no, "390", RESIDENT)
        self._issue_cards(person_no, role, age)
        self._lines.filings += self._filings.draw(person_no, is_elder=role == "E")

    def _insure_worker(self, person_no: int, *, is_male: bool, is_payer: bool) -> None:
        bits = self._bits(24)
        if bits & 31 == 0 and not is_payer:  # between jobs: paused, insured as a resident now
            self._insure(person_no, "310", ACTIVE, state=PAUSED, bits=bits >> 5)
            self._insure(person_no, "390", RESIDENT)
        else:
            self._insure(person_no, "310", ACTIVE, bits=bits >> 5)
            if bits >> 9 & 15 == 0:
                self._insure(person_no, "320", ACTIVE, bits=bits >> 5)
            if bits >> 13 & 7 == 0:
                self._insure(person_no, "330", ACTIVE, bits=bits >> 5)
            if not is_male and bits >> 16 & 3 == 0:
                self._insure(person_no, "510", ACTIVE, bits=bits >> 5)
        self._open_account(person_no)

    def _insure_elder(self, person_no: int, *, is_deceased: bool) -> None:
        bits = self._bits(16)
        state = ENDED if is_deceased else IN_FORCE
        if bits & 127 == 0:
            self._insure(person_no, "340", RETIRED, state=state, bits=bits >> 9)
        elif bits & 7 < 5:  # noqa: PLR2004 - 5 in 8
            self._insure(person_no, "310", RETIRED, state=state, bits=bits >> 9)
            self._open_account(person_no)
        else:
            self._insure(person_no, "390", RESIDENT, state=state)

    def _insure(
        self,
        person_no: int,
        insutype: str,
        person_type: str,
        *,
        state: int = IN_FORCE,
        bits: int = 0,
    ) -> None:
        """Add an insurance that began up to sixteen years ago; an ended one ended last summer."""
        begins = (self._city.year - 1 - (bits & 15)) * 10_000 + 101
        ends = (self._city.year - 1) * 10_000 + 630 if state == ENDED else FOREVER
        self._lines.insurances.append(
            f"{person_no},{insutype},{begins},{ends},{state},{person_type},{self._city.region}\n"
        )

    def _open_account(self, person_no: int) -> None:
        """Give a personal account a balance: mostly hundreds of yuan, some none, some thousands."""
        bits = self._bits(32)
        if bits & 15 == 0:
            return
        balance_fen = (bits >> 8 & 0xFFFF) + 1
        if bits >> 4 & 7 == 0:
            balance_fen *= 16
        self._lines.balances.append(f"{person_no},{balance_fen}\n")

    def _issue_cards(self, person_no: int, role: str, age: int) -> None:
        """Give a person a card, and one in 32 an earlier one that it replaced."""
        bits = self._bits(64)
        card_class = _card_class(role, age)
        if bits & 31 == 0:
            self._issue(person_no, card_class, REPLACED, bits >> 12)
            bits = self._bits(64)
        lot = bits >> 5 & 127
        state = LOST if lot == 0 else FROZEN if lot == 1 and bits >> 12 & 7 == 0 else VALID
        self._issue(person_no, card_class, state, bits >> 15, is_expired=lot == 2)  # noqa: PLR2004

    def _issue(
        self, person_no: int, card_class: str, state: int, bits: int, *, is_expired: bool = False
    ) -> None:
        self._card_no = card_no = self._card_no + 1
        serial = f"{(self._serial_first + card_no) * SERIAL_FACTOR & LAST_32_BITS:08X}"
        version, algorithm, years_ago = _generation(bits & 15, bits >> 4 & 3)
        begins = self._city.year - 1 - years_ago
        if is_expired:
            begins = self._city.year - 2 - CARD_LIFE_YEARS
        day = DAYS[(bits >> 6 & 0x1FF) % DAYS_A_YEAR]
        identity = f"{MAKERS[bits >> 15 & 3]}{self._identity_middle}{serial}"
        letter = CARD_LETTERS[card_no % len(CARD_LETTERS)]
        self._lines.cards.append(
            f"{card_no},social_security_card,{identity},{self._city.region},"
            f"{letter}{card_no:08},{self._card_id_first}{serial}{bits >> 17 & LAST_32_BITS:08X},"
            f"{person_no},{version},{algorithm},{card_class},{self._city.issuer},"
            f"{begins}{day},{begins + CARD_LIFE_YEARS}{day},{state},"
            f"{CHIPS[bits >> 15 & 3]}{identity}\n"
        )


def _age(role: str, bits: int) -> int:
    """Draw an age in whole years from eight bits."""
    if role == "W":
        return 23 + bits % 37
    if role == "E":
        return 60 + min(bits % 36, bits // 7)  # the very old are fewer
    return bits % 23


def _card_class(role: str, age: int) -> str:
    """Give the class in EF05: 1 child, 2 student, 3 adult, 4 elderly."""
    if role == "C":
        return "1" if age < SCHOOL_AGE else "2"
    return "4" if role == "E" else "3"


def _generation(bits: int, more: int) -> tuple[str, int, int]:
    """Draw a card's version, algorithm and age in years from four and two bits."""
    if bits < 3:  # noqa: PLR2004 - 3 in 16
        return "1.00", DES3, 6 + (more & 1)
    if bits < 9:  # noqa: PLR2004 - 6 in 16
        return "2.00", SM4 if bits == 8 else DES3, 3 + more  # noqa: PLR2004
    return "3.00", DES3 if bits == 9 else SM4, more  # noqa: PLR2004
