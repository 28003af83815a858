"""What people of a made-up city have filed (备案): diseases, institutions, referrals, drugs.

It draws from a stream of its own, so that it changes nothing of who lives in the city.
"""

from random import Random

from simulators.population.city import FOREVER, City
from simulators.population.places import CLASS_B_DIGITS, INSTITUTION_PATTERN, PHARMACY

HEADER = "person_no,kind,code,institution_no,begins,ends"
DISEASE, DESIGNATED, REFERRAL, SPECIAL_DRUG = 1, 2, 3, 4

# 高血压, 糖尿病, 恶性肿瘤门诊治疗, 器官移植抗排异治疗: outpatient chronic and special diseases
# in the national coding. Drawn by index, so that common ones come several times.
DISEASES = ("M03900",) * 4 + ("M01600",) * 2 + ("M00500", "M08300")

# How many of each place take patients; the pattern's pharmacies come last.
PLACES = sum(kind != PHARMACY for kind, _, _ in INSTITUTION_PATTERN)


class Filings:
    """Draws what each person has filed."""

    def __init__(self, city: City) -> None:
        """Start the stream."""
        self._city = city
        self._bits = Random(f"filings {city.seed}").getrandbits
        self._blocks = city.institutions // len(INSTITUTION_PATTERN)
        self._first = f"{city.year}0101"

    def draw(self, person_no: int, *, is_elder: bool) -> list[str]:
        """Give a person's lines: most have none.

        One in four has a designated institution, one in 32 (of the elderly one in two) a chronic
        disease, one in 128 a referral to a hospital of level 3, one in 256 a special drug.
        """
        bits = self._bits(64)
        lines: list[str] = []
        if bits & (1 if is_elder else 31) == 0:
            disease = DISEASES[bits >> 5 & 7]
            lines.append(f"{person_no},{DISEASE},{disease},0,{self._first},{FOREVER}\n")
        if bits >> 8 & 3 == 0:
            place = (bits >> 10 & 0xFFF) % self._blocks * len(INSTITUTION_PATTERN) + 1
            place += (bits >> 22 & 0xFF) % PLACES
            lines.append(f"{person_no},{DESIGNATED},,{place},{self._first},{FOREVER}\n")
        if bits >> 30 & 127 == 0:
            place = (bits >> 37 & 0xFFF) % self._blocks * len(INSTITUTION_PATTERN) + 1
            month = (bits >> 49 & 7) + 1
            begins, ends = (f"{self._city.year}{one:02}01" for one in (month, month + 3))
            lines.append(f"{person_no},{REFERRAL},referred,{place},{begins},{ends}\n")
        if bits >> 52 & 255 == 0:
            number = CLASS_B_DIGITS[(bits >> 60) % len(CLASS_B_DIGITS)]
            if number <= self._city.items:
                item = f"D{number:07}"
                lines.append(f"{person_no},{SPECIAL_DRUG},{item},0,{self._first},{FOREVER}\n")
        return lines
