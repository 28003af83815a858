"""Trying rules on a settlement: pure, in the rules' order, the same findings for the same facts.

Not here: to what a rule applies (`conditions.py`), where earlier settlements come from and what a
finding does to a request (`cardserver/claims`).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

from cardserver.checks.conditions import (
    applies_to_care,
    applies_to_patient,
    applies_to_place,
    concerns,
    counts,
    first_day_of,
    is_where,
    ordinal,
    sex_name,
)
from cardserver.checks.distances import distance_km
from cardserver.checks.rules_document import (
    AmountRule,
    AnyRule,
    DuringStayRule,
    EarlierRule,
    Fits,
    Items,
    OverlapRule,
    PersonRule,
    QuantityRule,
    ReadmissionRule,
    RepeatRule,
    Sex,
    TogetherRule,
    TravelRule,
    VisitsRule,
)
from cardserver.checks.values import CheckedLine, Finding, Occasion, Situation

TEXT_SIZE_MAX = 200
_MS_AN_HOUR = 3_600_000
_ITEM_NAME_SIZE_MAX = 20
_SEX_WORDS: dict[Sex, tuple[str, str]] = {"male": ("男性", "men"), "female": ("女性", "women")}


class _Figures(NamedTuple):
    """What a rule found in this case; the rule adds its reason."""

    line: int
    zh: str
    en: str


class _Bought(NamedTuple):
    """One line of an earlier settlement."""

    occasion: Occasion
    line: CheckedLine


class _Sums(NamedTuple):
    """Quantity or amount of a rule's items in this bill, and of the earlier ones that count."""

    line: int
    now: int
    earlier: int


def evaluate(rules: Iterable[AnyRule], situation: Situation, *, today: int) -> list[Finding]:
    """Try rules; findings come in the order of the rules, of one rule in that of the lines."""
    trial = _Trial(situation, today)
    now, patient = situation.now, situation.patient
    return [
        Finding(
            rule=rule.name,
            is_refusal=rule.action == "refuse",
            may_override=rule.override == "supervisor",
            text_zh=_cut(f"{rule.reason_zh}（{figures.zh}）" if figures.zh else rule.reason_zh),
            text_en=_cut(f"{rule.reason_en} ({figures.en})" if figures.en else rule.reason_en),
            line=figures.line,
        )
        for rule in rules
        if applies_to_care(rule, now.insutype, now.med_type)
        and applies_to_place(rule, now.place)
        and applies_to_patient(rule, patient)
        for figures in trial.figures(rule)
    ]


class _Trial:
    """One situation, with what several rules want to know of it."""

    def __init__(self, situation: Situation, today: int) -> None:
        self._situation = situation
        self._today = today
        self._bought: dict[str, list[_Bought]] | None = None

    def figures(self, rule: AnyRule) -> Iterator[_Figures]:  # noqa: C901 - a table
        """Try one rule that applies."""
        match rule:
            case QuantityRule():
                yield from self._quantity(rule)
            case RepeatRule():
                yield from self._repeat(rule)
            case PersonRule():
                yield from self._person(rule)
            case TogetherRule():
                yield from self._together(rule)
            case TravelRule():
                yield from self._travel(rule)
            case OverlapRule():
                yield from self._overlap(rule)
            case DuringStayRule():
                yield from self._during_stay(rule)
            case ReadmissionRule():
                yield from self._readmission(rule)
            case VisitsRule():
                yield from self._visits(rule)
            case AmountRule():
                yield from self._amount(rule)
            case _:
                assert_never(rule)

    # --- items -----------------------------------------------------------------------------

    def _quantity(self, rule: QuantityRule) -> Iterator[_Figures]:
        per_item: dict[str, list[tuple[int, CheckedLine]]] = {}
        for number, line in self._lines(rule.items):
            key = line.item if rule.per == "item" else ""
            per_item.setdefault(key, []).append((number, line))
        for item, lines in per_item.items():
            limit_e4: int | None = rule.most
            if rule.catalogue_days is not None:
                daily_e4 = self._situation.facts_of(item).daily_quantity_max_e4
                limit_e4 = daily_e4 * rule.catalogue_days or None
            if limit_e4 is None:
                continue
            bought_e4 = sum(line.quantity_e4 for _, line in lines)
            earlier_e4 = sum(
                bought.line.quantity_e4
                for bought in self._earlier_lines(rule, rule.items, rule.days)
                if not item or bought.line.item == item
            )
            if bought_e4 + earlier_e4 > limit_e4:
                number, first = lines[0]
                zh, en = _with_earlier(
                    _units(bought_e4), _units(earlier_e4), _units(limit_e4), rule.days
                )
                name = f"{_name(first)} " if item else ""
                yield _Figures(number, name + zh, name + en)

    def _repeat(self, rule: RepeatRule) -> Iterator[_Figures]:
        seen: set[str] = set()
        for number, line in self._lines(rule.items):
            same = line.item[: rule.same_prefix]
            if same in seen:
                continue
            seen.add(same)
            earlier = [
                bought
                for bought in self._earlier_lines(rule, rule.items, rule.days)
                if bought.line.item[: rule.same_prefix] == same
                and is_where(rule.where, self._situation.now, bought.occasion)
            ]
            if earlier:
                day = max(bought.occasion.day for bought in earlier)
                quantity = _units(sum(b.line.quantity_e4 for b in earlier if b.occasion.day == day))
                name = _name(line)
                yield _Figures(
                    number,
                    f"{name} {_date(day)}已购{quantity}",
                    f"{name}: {quantity} on {_date(day)}",
                )

    def _person(self, rule: PersonRule) -> Iterator[_Figures]:
        patient = self._situation.patient
        sex = sex_name(patient.sex)
        for number, line in self._lines(rule.items):
            wanted: str | None
            if isinstance(rule.fits, Fits):
                wanted, age_from, age_below = rule.fits.sex, rule.fits.age_from, rule.fits.age_below
            else:
                facts = self._situation.facts_of(line.item)
                wanted = sex_name(facts.sex) or None
                age_from, age_below = facts.age_from or None, facts.age_below or None
            zh: list[str] = []
            en: list[str] = []
            if wanted and sex and sex != wanted:
                words = _SEX_WORDS["male" if wanted == "male" else "female"]
                zh.append(f"限{words[0]}")
                en.append(f"for {words[1]} only")
            if age_from is not None and patient.age < age_from:
                zh.append(f"限{age_from}岁及以上")
                en.append(f"from {age_from} years on")
            if age_below is not None and patient.age >= age_below:
                zh.append(f"限{age_below}岁以下")
                en.append(f"below {age_below} years")
            if zh:
                name = _name(line)
                yield _Figures(number, f"{name} {'，'.join(zh)}", f"{name}: {', '.join(en)}")

    def _together(self, rule: TogetherRule) -> Iterator[_Figures]:
        others = list(self._lines(rule.with_items))
        for number, line in self._lines(rule.items):
            found = next((other for at, other in others if at != number), None)
            if found is not None:
                names = f"{_name(line)} + {_name(found)}"
                yield _Figures(number, names, names)
                continue
            earlier = max(
                self._earlier_lines(rule, rule.with_items, rule.days),
                key=lambda bought: bought.occasion.day,
                default=None,
            )
            if earlier is not None:
                day, names = _date(earlier.occasion.day), f"{_name(line)} + {earlier.line.item}"
                yield _Figures(number, f"{names}，{day}", f"{names} on {day}")

    # --- places and stays ------------------------------------------------------------------

    def _travel(self, rule: TravelRule) -> Iterator[_Figures]:
        now = self._situation.now
        if not now.is_card_present:
            return
        for earlier in self._earlier(rule, rule.days):
            km = self._km(now, earlier) if earlier.is_card_present else None
            if km is None or km < rule.km_from:
                continue
            between_ms = abs(now.time_ms - earlier.time_ms)
            if km * _MS_AN_HOUR > rule.speed_kmh * between_ms:
                minutes = between_ms // 60_000
                yield _Figures(
                    0,
                    f"{minutes}分钟前在{km}公里外使用过",
                    f"used {km} km away {minutes} minutes before",
                )
                return

    def _overlap(self, rule: OverlapRule) -> Iterator[_Figures]:
        for stay in self._stays(rule):
            now = self._situation.now
            first, last = max(now.admitted, stay.admitted), min(now.discharged, stay.discharged)
            common = ordinal(last) - ordinal(first) + 1
            if is_where(rule.where, now, stay) and common > rule.days_allowed:
                ended = "" if not stay.is_settled else _date(stay.discharged)
                yield _Figures(
                    0,
                    f"{_date(stay.admitted)}至{ended or '今'}住院",
                    f"in hospital from {_date(stay.admitted)}"
                    + (f" to {ended}" if ended else " on"),
                )
                return

    def _during_stay(self, rule: DuringStayRule) -> Iterator[_Figures]:
        now = self._situation.now
        for earlier in self._situation.past:
            if bool(now.admitted) == bool(earlier.admitted):
                continue
            stay, visit = (now, earlier) if now.admitted else (earlier, now)
            if stay.admitted < visit.day < stay.discharged and is_where(rule.where, now, earlier):
                since, day = _date(stay.admitted), _date(visit.day)
                yield _Figures(
                    0,
                    f"{since}起住院，{day}门诊或购药",
                    f"in hospital since {since}, outpatient or pharmacy on {day}",
                )
                return

    def _readmission(self, rule: ReadmissionRule) -> Iterator[_Figures]:
        now = self._situation.now
        for stay in self._stays(rule):
            if not stay.is_settled or not is_where(rule.where, now, stay):
                continue
            days = ordinal(now.admitted) - ordinal(stay.discharged)
            if 0 <= days <= rule.days:
                ended = _date(stay.discharged)
                yield _Figures(
                    0,
                    f"{ended}出院，{days}天后再入院",
                    f"discharged {ended}, back after {days} days",
                )
                return

    # --- sums ------------------------------------------------------------------------------

    def _visits(self, rule: VisitsRule) -> Iterator[_Figures]:
        now = self._situation.now
        earlier = list(self._earlier(rule, rule.days))
        if rule.count == "settlements":
            count, zh, en = len(earlier) + 1, "次", "settlements"
        else:
            places = {one.place.institution_no for one in (now, *earlier)}
            count, zh, en = len(places), "家机构", "institutions"
        if count > rule.most:
            yield _Figures(
                0,
                f"{rule.days}天内第{count}{zh}，限{rule.most}",
                f"{count} {en} in {rule.days} days, limit {rule.most}",
            )

    def _amount(self, rule: AmountRule) -> Iterator[_Figures]:
        now = self._situation.now
        if rule.measure == "fund":
            now_fen = now.fund_pay_fen
            earlier_fen = sum(one.fund_pay_fen for one in self._earlier(rule, rule.days))
        else:
            now_fen = sum(line.gross_fen for _, line in self._lines(rule.items))
            earlier_fen = sum(
                bought.line.gross_fen for bought in self._earlier_lines(rule, rule.items, rule.days)
            )
        if now_fen > 0 and now_fen + earlier_fen > rule.most:
            zh, en = _with_earlier(_yuan(now_fen), _yuan(earlier_fen), _yuan(rule.most), rule.days)
            yield _Figures(0, zh, en)

    def _km(self, now: Occasion, earlier: Occasion) -> int | None:
        positions = self._situation.positions
        here = positions.get(now.place.institution_no)
        there = positions.get(earlier.place.institution_no)
        return None if here is None or there is None else distance_km(here, there)

    # --- what the kinds look at ------------------------------------------------------------

    def _lines(self, items: Items) -> Iterator[tuple[int, CheckedLine]]:
        """Give the bill's lines of these items, with their numbers from 1."""
        facts_of = self._situation.facts_of
        for number, line in enumerate(self._situation.now.lines, 1):
            if concerns(items, line.item, facts_of):
                yield number, line

    def _earlier(self, rule: EarlierRule, days: int) -> Iterator[Occasion]:
        """Give the earlier settlements of the last days that count for a rule."""
        if days == 0:
            return
        first = first_day_of(self._today, days)
        for one in self._situation.past:
            if one.is_settled and first <= one.day <= self._today and counts(rule, one):
                yield one

    def _earlier_lines(self, rule: EarlierRule, items: Items, days: int) -> Iterator[_Bought]:
        """Give the lines of those settlements that are of these items."""
        if days == 0:
            return
        first = first_day_of(self._today, days)
        facts_of = self._situation.facts_of
        for item, found in self._bought_by_item().items():
            if not concerns(items, item, facts_of):
                continue
            for bought in found:
                if first <= bought.occasion.day <= self._today and counts(rule, bought.occasion):
                    yield bought

    def _bought_by_item(self) -> dict[str, list[_Bought]]:
        if self._bought is None:
            self._bought = {}
            for occasion in self._situation.past:
                for line in occasion.lines:
                    self._bought.setdefault(line.item, []).append(_Bought(occasion, line))
        return self._bought

    def _stays(self, rule: EarlierRule) -> Iterator[Occasion]:
        """Give the person's other stays that count; none where this is no stay."""
        now = self._situation.now
        if now.admitted:
            for one in self._situation.past:
                is_same = one.visit != "" and one.visit == now.visit
                if one.admitted and not is_same and counts(rule, one):
                    yield one


def _with_earlier(now: str, earlier: str, limit: str, days: int) -> tuple[str, str]:
    """Say a sum, what was before, and the limit."""
    if days == 0:
        return f"本次{now}，限{limit}", f"{now}, limit {limit}"
    return (
        f"本次{now}，{days}天内此前{earlier}，限{limit}",
        f"{now} now, {earlier} before within {days} days, limit {limit}",
    )


def _name(line: CheckedLine) -> str:
    return (line.name or line.item)[:_ITEM_NAME_SIZE_MAX]


def _units(quantity_e4: int) -> str:
    whole, part = divmod(quantity_e4, 10_000)
    return f"{whole}.{part:04d}".rstrip("0").rstrip(".")


def _yuan(amount_fen: int) -> str:
    whole, part = divmod(amount_fen, 100)
    return f"{whole}.{part:02d}"


def _date(day: int) -> str:
    return f"{day // 10_000}-{day // 100 % 100:02d}-{day % 100:02d}"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SIZE_MAX else text[: TEXT_SIZE_MAX - 1] + "…"
