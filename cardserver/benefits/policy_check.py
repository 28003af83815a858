"""What must hold in a policy beyond its shape: every mistake with its path and a sentence.

Not here: the tables of rows (`policy_rows.py`), bands, caps and layers (`layer_check.py`).
"""

import re
from collections.abc import Collection, Iterator, Sequence

from cardserver.benefits.circumstances import has_stays
from cardserver.benefits.layer_check import band_mistakes, cap_mistakes, layer_mistakes
from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.policy_document import CareRules, PolicyDocument, SpecialScheme
from cardserver.benefits.policy_rows import list_mistakes, mistakes_of_tables, repetitions

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME_SIZE_MAX = 40
_REGION = re.compile(r"\d{6}", re.ASCII)
_MED_TYPE = re.compile(r"[0-9A-Z]{2,6}")
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,29}")  # of a disease: dise_codg, at most 30
_SCHEME = re.compile(r"[a-z][a-z0-9_]{0,15}")  # the column of the accumulators holds 16
_RESERVED = frozenset(
    {
        "outpatient", "inpatient", "hifp_pay", "hifob_pay", "cvlserv_pay", "hifes_pay",
        "hifmi_pay", "maf_pay", "oth_pay",
    }
)  # fmt: skip


def mistakes_of(document: PolicyDocument) -> Iterator[Mistake]:
    """Find every mistake."""
    yield from _head(document)
    yield from _diseases(document)
    yield from _special_names(document)
    yield from _med_types(document)
    care = document.care()
    for name, (path, rules) in care.items():
        yield from _care_rules(name, f"$.{path}", rules, document)
    yield from _shared_rows(document, frozenset(care))


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
    if not document.care():
        yield Mistake("$", "there are rules neither for outpatient nor for inpatient care")


def _diseases(document: PolicyDocument) -> Iterator[Mistake]:
    yield from repetitions("$.diseases", [disease.code for disease in document.diseases])
    for index, disease in enumerate(document.diseases):
        if _CODE.fullmatch(disease.code) is None:
            yield Mistake(
                f"$.diseases[{index}].code",
                f"{disease.code!r} is not a code of letters and digits, 30 at most",
            )
    known = {disease.code for disease in document.diseases}
    used = {code for scheme in document.special for code in scheme.diseases}
    for number, scheme in enumerate(document.special):
        path = f"$.special[{number}].diseases"
        yield from repetitions(path, scheme.diseases)
        for index, code in enumerate(scheme.diseases):
            if code not in known:
                yield Mistake(
                    f"{path}[{index}]", f"{code!r} is not among the policy's [[diseases]]"
                )
    for index, disease in enumerate(document.diseases):
        if disease.code not in used:
            yield Mistake(f"$.diseases[{index}]", f"no special scheme is for {disease.code!r}")


def _special_names(document: PolicyDocument) -> Iterator[Mistake]:
    yield from repetitions("$.special", [scheme.name for scheme in document.special])
    for index, scheme in enumerate(document.special):
        path = f"$.special[{index}].name"
        if _SCHEME.fullmatch(scheme.name) is None:
            yield Mistake(
                path,
                f"{scheme.name!r} is not a name of lower-case letters, digits and underscores, "
                "16 at most",
            )
        elif scheme.name in _RESERVED:
            yield Mistake(path, f"{scheme.name!r} is a name that the language itself uses")


def _med_types(document: PolicyDocument) -> Iterator[Mistake]:
    """Find medical types, with their diseases, that belong to more than one kind of care."""
    taken: dict[tuple[str, str], str] = {}
    for path, rules in document.care().values():
        diseases = (isinstance(rules, SpecialScheme) and rules.diseases) or ("",)
        for index, med_type in enumerate(rules.med_types):
            here = f"$.{path}.med_types[{index}]"
            if _MED_TYPE.fullmatch(med_type) is None:
                yield Mistake(here, f"{med_type!r} is not a medical type, as 11, 14 or 9901")
            for disease in diseases:
                # What asks for no disease takes all of them.
                other = taken.get((med_type, disease)) or taken.get((med_type, ""))
                if not disease and other is None:
                    other = next((at for (med, _), at in taken.items() if med == med_type), None)
                if other is not None and other != path:
                    of_disease = f" with disease {disease}" if disease else ""
                    yield Mistake(
                        here,
                        f"medical type {med_type!r}{of_disease} belongs to {other} already; each "
                        "belongs to one kind of care",
                    )
                    break
            for disease in diseases:
                taken.setdefault((med_type, disease), path)


def _care_rules(
    name: str, path: str, rules: CareRules, document: PolicyDocument
) -> Iterator[Mistake]:
    is_stay = has_stays(name, rules)
    yield from list_mistakes(f"{path}.med_types", rules.med_types)
    yield from list_mistakes(f"{path}.institution_kinds", rules.institution_kinds)
    yield from repetitions(f"{path}.institution_bears", rules.institution_bears)
    if not is_stay:
        yield from _without_stays(path, rules)
    for index, row in enumerate(rules.account_rows):
        here = f"{path}.account" if row is rules.account else f"{path}.account[{index}]"
        yield from repetitions(f"{here}.pays", row.pays)
        yield from repetitions(f"{here}.mutual_aid_pays", row.mutual_aid_pays)
    deductible = rules.deductible
    if deductible is not None:
        yield from repetitions(f"{path}.deductible.counts_with", deductible.counts_with)
        if deductible.counts_with and deductible.per != "year":
            yield Mistake(
                f"{path}.deductible.counts_with",
                "only what was borne in the year is known of other kinds of care: it goes with "
                'per = "year"',
            )
        if deductible.per_year_anew and deductible.per != "admission":
            yield Mistake(
                f"{path}.deductible.per_year_anew",
                'it is about a stay that goes on in the next year: it goes with per = "admission"',
            )
        if deductible.per_year_anew and rules.stay_across_years != "year_end":
            yield Mistake(
                f"{path}.deductible.per_year_anew",
                "a stay that is settled at discharge has one year; it goes with "
                'stay_across_years = "year_end"',
            )
    yield from band_mistakes(f"{path}.bands", rules.bands)
    for index, cap in enumerate(rules.caps):
        yield from cap_mistakes(f"{path}.caps[{index}]", cap, has_stays=is_stay)
    yield from layer_mistakes(path, rules.layers, has_stays=is_stay)
    if isinstance(rules, SpecialScheme):
        yield from _items(path, rules)
    yield from mistakes_of_tables(path, rules, document.person_types, has_stays=is_stay)


def _without_stays(path: str, rules: CareRules) -> Iterator[Mistake]:
    no_admissions = "outpatient care has no admissions"
    if rules.bands_per == "admission":
        yield Mistake(f"{path}.bands_per", no_admissions)
    if rules.deductible is not None and rules.deductible.per == "admission":
        yield Mistake(f"{path}.deductible.per", no_admissions)
    for key in ("stay_across_years", "entitled_by", "transfers"):
        if getattr(rules, key) is not None:
            yield Mistake(f"{path}.{key}", "outpatient care has no stays")


def _items(path: str, scheme: SpecialScheme) -> Iterator[Mistake]:
    yield from repetitions(f"{path}.items", scheme.items)
    for index, item in enumerate(scheme.items):
        if not item.removesuffix("*") or "*" in item[:-1]:
            yield Mistake(
                f"{path}.items[{index}]",
                f"{item!r} is not an item's code, or the beginning of codes with * at its end",
            )


def _shared_rows(document: PolicyDocument, care: frozenset[str]) -> Iterator[Mistake]:
    """Find rows of accumulators that are not there, or mean two things."""
    rows: dict[str, str] = {}
    for path, rules in document.care().values():
        for index, layer in enumerate(rules.layers):
            here = f"$.{path}.layers[{index}].accumulator"
            if layer.accumulator and _SCHEME.fullmatch(layer.accumulator) is None:
                yield Mistake(
                    here,
                    f"{layer.accumulator!r} is not a name of lower-case letters, digits and "
                    "underscores, 16 at most",
                )
            if layer.row in care:
                yield Mistake(here, f"{layer.row!r} is the row of a kind of care")
            if rows.setdefault(layer.row, layer.field) != layer.field:
                yield Mistake(here, f"the row {layer.row!r} is that of {rows[layer.row]} already")
    for name, (path, rules) in document.care().items():
        yield from _counted_with(name, f"$.{path}", rules, care=care, rows=rows)


def _counted_with(
    name: str, path: str, rules: CareRules, *, care: Collection[str], rows: Collection[str]
) -> Iterator[Mistake]:
    """Find rows that are to be counted with others and are not there."""
    a_care = "a kind of care"
    if rules.deductible is not None:
        where = f"{path}.deductible.counts_with"
        yield from _others(where, rules.deductible.counts_with, name, care, a_care)
    for index, cap in enumerate(rules.caps):
        yield from _others(f"{path}.caps[{index}].counts_with", cap.counts_with, name, care, a_care)
    for index, layer in enumerate(rules.layers):
        for number, cap in enumerate(layer.caps):
            where = f"{path}.layers[{index}].caps[{number}].counts_with"
            if layer.base == "left_over" and cap.measure == "in_scope":
                yield from _others(where, cap.counts_with, name, care, a_care)
            else:
                yield from _others(where, cap.counts_with, layer.row, rows, "a layer's row")


def _others(
    path: str,
    names: Sequence[str],
    own: str,
    known: Collection[str],
    what: str,
) -> Iterator[Mistake]:
    yield from repetitions(path, names)
    for index, name in enumerate(names):
        if name == own:
            yield Mistake(f"{path}[{index}]", f"{name!r} counts with itself anyway")
        elif name not in known:
            yield Mistake(f"{path}[{index}]", f"{name!r} is not {what} of this policy")
