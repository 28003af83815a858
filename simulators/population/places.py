"""Where a made-up city's people work and are treated, by whom, and with what: the short files.

Not here: the people (`households.py`).
"""

from collections.abc import Iterator
from random import Random

from simulators.population import names
from simulators.population.city import FOREVER, OPERATOR_NO_FIRST, City

HEADERS = {
    "employers": "employer_no,code,name",
    "institutions": "institution_no,code,name,kind,level,state,contract_begins,contract_ends",
    "operators": "operator_no,institution_no,code,name,role,password_hash,state",
    "catalogue": "item,begins,ends,name,item_class,self_pay_ratio_e4,price_limit_microyuan",
}

HOSPITAL, COMMUNITY, PHARMACY = 1, 2, 3

# The first eight are there in every city, so that a demonstration finds one of each; further
# ones repeat the pattern. Kind, level and what stands between the district and the number.
INSTITUTION_PATTERN = (
    (HOSPITAL, 3, "人民医院"),
    (HOSPITAL, 2, "中医医院"),
    (HOSPITAL, 1, "医院"),
    (COMMUNITY, 1, "社区卫生服务中心"),
    (COMMUNITY, 1, "社区卫生服务站"),
    (PHARMACY, 0, "康宁大药房"),
    (PHARMACY, 0, "百草药店"),
    (PHARMACY, 0, "仁和药房"),
)
CASHIERS = {HOSPITAL: 4, COMMUNITY: 2, PHARMACY: 2}

CLASS_A, CLASS_B, CLASS_C = 1, 2, 3
CLASS_B_DIGITS = (5, 6, 7, 8, 9)  # the last digits of an item's number
MICROYUAN = 1_000_000
SELF_PAY_RATIOS_E4 = (500, 1000, 1000, 2000)


def make_employers(city: City) -> Iterator[str]:
    """Make up the firms."""
    bits = Random(f"employers {city.seed}").getrandbits
    for number in range(1, city.employers + 1):
        draw = bits(24)
        name = (
            names.CITY_ZH
            + names.EMPLOYER_WORDS[draw % len(names.EMPLOYER_WORDS)]
            + names.EMPLOYER_TRADES[(draw >> 8) % len(names.EMPLOYER_TRADES)]
            + names.EMPLOYER_KINDS[(draw >> 16) % len(names.EMPLOYER_KINDS)]
        )
        yield f"{number},E{city.region}{number:08},{name}（{number}）\n"


def institution_code(city: City, number: int) -> str:
    """Write the code of the city's n-th institution: H or P and eleven digits."""
    kind, _, _ = INSTITUTION_PATTERN[(number - 1) % len(INSTITUTION_PATTERN)]
    return f"{'P' if kind == PHARMACY else 'H'}{city.region}{number:05}"


def make_institutions(city: City) -> Iterator[str]:
    """Make up hospitals, community centres and pharmacies."""
    for number in range(1, city.institutions + 1):
        kind, level, word = INSTITUTION_PATTERN[(number - 1) % len(INSTITUTION_PATTERN)]
        district = names.DISTRICTS[(number - 1) // len(INSTITUTION_PATTERN) % len(names.DISTRICTS)]
        name = f"{names.CITY_ZH}{district}{word}（{number}）"
        begins = (city.year - 3) * 10_000 + 101
        code = institution_code(city, number)
        yield f"{number},{code},{name},{kind},{level},1,{begins},{FOREVER}\n"


def make_operators(city: City) -> Iterator[str]:
    """Make up each institution's cashiers c001, c002, ... and its supervisor s001."""
    bits = Random(f"operators {city.seed}").getrandbits
    operator_no = OPERATOR_NO_FIRST
    for number in range(1, city.institutions + 1):
        kind, _, _ = INSTITUTION_PATTERN[(number - 1) % len(INSTITUTION_PATTERN)]
        staff = [(f"c{index:03}", "cashier") for index in range(1, CASHIERS[kind] + 1)]
        for code, role in (*staff, ("s001", "supervisor")):
            draw = bits(32)
            given = names.GIVEN_FEMALE if draw & 1 else names.GIVEN_MALE
            name = (
                names.SURNAMES[(draw >> 1) % len(names.SURNAMES)] + given[(draw >> 16) % len(given)]
            )
            yield f'{operator_no},{number},{code},{name},{role},"{city.password_hash}",1\n'
            operator_no += 1


def make_catalogue(city: City) -> Iterator[str]:
    """Make up medicines D, services S and materials M.

    The class goes by the number's last digit, the same in every city: 1 to 4 class A, 5 to 9
    class B, 0 class C. One class-B item in four has a price limit.
    """
    bits = Random(f"catalogue {city.seed}").getrandbits
    begins = (city.year - 3) * 10_000 + 101
    for number in range(1, city.items + 1):
        draw = bits(40)
        prefix, name = _article(number, draw)
        digit = number % 10
        item_class = CLASS_C if digit == 0 else CLASS_A if digit < 5 else CLASS_B  # noqa: PLR2004
        ratio_e4 = 0
        price_limit: int | str = ""
        if item_class == CLASS_B:
            ratio_e4 = SELF_PAY_RATIOS_E4[draw >> 30 & 3]
            if draw >> 32 & 3 == 0:
                price_limit = ((draw >> 34) + 1) * 10 * MICROYUAN
        elif item_class == CLASS_C:
            ratio_e4 = 10_000
        yield (
            f"{prefix}{number:07},{begins},{FOREVER},{name},{item_class},{ratio_e4},{price_limit}\n"
        )


def _article(number: int, draw: int) -> tuple[str, str]:
    """Choose prefix and name of an item; six in ten are medicines, two services, two materials."""
    kind = number // 10 % 10
    if kind < 6:  # noqa: PLR2004
        name = (
            names.MEDICINE_FIRST[draw % len(names.MEDICINE_FIRST)]
            + names.MEDICINE_MIDDLE[(draw >> 6) % len(names.MEDICINE_MIDDLE)]
            + names.MEDICINE_LAST[(draw >> 12) % len(names.MEDICINE_LAST)]
            + names.MEDICINE_FORMS[(draw >> 18) % len(names.MEDICINE_FORMS)]
        )
        return "D", f"{name} {(draw >> 21 & 63) * 5 + 5}mg"
    if kind < 8:  # noqa: PLR2004
        return "S", f"{names.SERVICES[draw % len(names.SERVICES)]}（{number}）"
    return "M", f"{names.MATERIALS[draw % len(names.MATERIALS)]}（{number}型）"
