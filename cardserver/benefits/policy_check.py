"""What must hold in a policy beyond its shape: every mistake with its path and a sentence.

Not here: the tables of rows (`policy_rows.py`).
"""

import re
from collections.abc import Iterator, Sequence

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.policy_document import (
    Band,
    Cap,
    CareRules,
    PolicyDocument,
    SupplementaryLayer,
)
from cardserver.benefits.policy_rows import list_mistakes, mistakes_of_tables, repetitions
from cardserver.benefits.values import yuan

_MED_TYPES: dict[str, tuple[str, ...]] = {"outpatient": ("11", "41"), "inpatient": ("21",)}
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME_SIZE_MAX = 40
_REGION = re.compile(r"\d{6}")


def mistakes_of(document: PolicyDocument) -> Iterator[Mistake]:
    """Find every mistake."""
    yield from _head(document)
    schemes: tuple[tuple[str, CareRules | None], ...] = (
        ("outpatient", document.outpatient),
        ("inpatient", document.inpatient),
    )
    for scheme, rules in schemes:
        if rules is not None:
            yield from _care_rules(scheme, rules, document.person_types)


def _head(document: PolicyDocument) -> Iterator[Mistake]:
    if _NAME.fullmatch(document.name) is None or len(document.name) > _NAME_SIZE_MAX:
        yield Mistake(
            "$.name",
            f"{document.name!r} is not a name of lower-case letters, digits and hyphens, "
            f"{_NAME_SIZE_MAX} at most",
        )
    for index, region in enumerate(document.regions):
        if _REGION.fullmatch(region) is None:
            yield Mistake(
                f"$.regions[{index}]", f"{region!r} is not a GB/T 2260 code of six digits"
            )
    lists = {
        "regions": document.regions,
        "insutypes": document.insutypes,
        "person_types": document.person_types,
    }
    for key, values in lists.items():
        yield from list_mistakes(f"$.{key}", values)
    if document.ends is not None and document.ends < document.begins:
        yield Mistake(
            "$.ends", f"it ends on {document.ends}, before it begins on {document.begins}"
        )
    if not document.sources:
        yield Mistake("$.sources", "name at least one source: rules come from somewhere")
    if document.outpatient is None and document.inpatient is None:
        yield Mistake("$", "there are rules neither for outpatient nor for inpatient care")


def _care_rules(scheme: str, rules: CareRules, person_types: Sequence[str]) -> Iterator[Mistake]:
    path = f"$.{scheme}"
    yield from list_mistakes(f"{path}.med_types", rules.med_types)
    for index, med_type in enumerate(rules.med_types):
        if med_type not in _MED_TYPES[scheme]:
            known = ", ".join(_MED_TYPES[scheme])
            yield Mistake(
                f"{path}.med_types[{index}]",
                f"{med_type!r} is not a medical type of {scheme} care, which has {known}",
            )
    yield from list_mistakes(f"{path}.institution_kinds", rules.institution_kinds)
    if scheme == "outpatient" and rules.bands_per == "admission":
        yield Mistake(f"{path}.bands_per", "outpatient care has no admissions")
    if rules.account is not None:
        yield from repetitions(f"{path}.account.pays", rules.account.pays)
        yield from repetitions(f"{path}.account.mutual_aid_pays", rules.account.mutual_aid_pays)
    if scheme == "outpatient" and rules.deductible and rules.deductible.per == "admission":
        yield Mistake(f"{path}.deductible.per", "outpatient care has no admissions")
    yield from _bands(path, rules.bands)
    if rules.cap is not None:
        yield from _cap(f"{path}.cap", rules.cap, scheme)
    yield from _layers(path, rules.layers, scheme)
    yield from mistakes_of_tables(path, scheme, rules, person_types)


def _bands(path: str, bands: Sequence[Band]) -> Iterator[Mistake]:
    if not bands:
        yield Mistake(f"{path}.bands", "there must be at least one band")
        return
    expected = 0
    for index, band in enumerate(bands):
        here = f"{path}.bands[{index}]"
        start = int(band.from_amount)
        if index == 0 and start != 0:
            yield Mistake(
                f"{here}.from", "the first band starts at 0; the deductible comes by itself"
            )
        elif start < expected:
            yield Mistake(
                f"{here}.from",
                f"it starts at {yuan(start)} and overlaps the band before, "
                f"which ends at {yuan(expected)}",
            )
        elif index and start > expected:
            yield Mistake(
                f"{here}.from",
                f"there is a gap from {yuan(expected)}, where the band before ends, "
                f"to {yuan(start)}",
            )
        is_last = index == len(bands) - 1
        if band.to_amount is None:
            if not is_last:
                yield Mistake(f"{here}.to", "only the last band may go without an end")
                return
            continue
        if band.to_amount <= start:
            yield Mistake(
                f"{here}.to",
                f"it ends at {yuan(band.to_amount)}, not after its start {yuan(start)}",
            )
        if is_last:
            yield Mistake(
                f"{here}.to", "the last band has no end; say with a cap how far the pool pays"
            )
        expected = int(band.to_amount)


def _cap(path: str, cap: Cap, scheme: str) -> Iterator[Mistake]:
    if scheme == "outpatient" and cap.per == "admission":
        yield Mistake(f"{path}.per", "outpatient care has no admissions")


def _layers(path: str, layers: Sequence[SupplementaryLayer], scheme: str) -> Iterator[Mistake]:
    yield from repetitions(f"{path}.layers", [layer.field for layer in layers])
    seen_own_share = False
    for index, layer in enumerate(layers):
        here = f"{path}.layers[{index}]"
        if layer.base == "own_share":
            seen_own_share = True
        elif seen_own_share:
            yield Mistake(
                f"{here}.base",
                "a layer of what is left over cannot follow one that already paid from it "
                "as the patient's own share",
            )
        if layer.cap is None:
            continue
        yield from _cap(f"{here}.cap", layer.cap, scheme)
        if layer.base == "own_share" and layer.cap.measure == "in_scope":
            yield Mistake(
                f"{here}.cap.measure", "a layer of the own share can only be capped by what it paid"
            )
