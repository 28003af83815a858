"""What must hold in bands, caps and layers: every mistake with its path and a sentence."""

from collections.abc import Iterator, Sequence

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.policy_document import Band, Cap, SupplementaryLayer
from cardserver.benefits.policy_rows import repetitions
from cardserver.benefits.values import yuan

_NO_ADMISSIONS = "outpatient care has no admissions"


def band_mistakes(path: str, bands: Sequence[Band]) -> Iterator[Mistake]:
    """Find gaps, overlaps and ends that cannot be."""
    if not bands:
        yield Mistake(path, "there must be at least one band")
        return
    expected = 0
    for index, band in enumerate(bands):
        here = f"{path}[{index}]"
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
                f"{here}.to", "the last band has no end; say with a cap how far it is paid"
            )
        expected = int(band.to_amount)


def cap_mistakes(path: str, cap: Cap, *, has_stays: bool) -> Iterator[Mistake]:
    """Find what a cap cannot say."""
    if not has_stays and cap.per == "admission":
        yield Mistake(f"{path}.per", _NO_ADMISSIONS)
    if cap.counts_with and cap.per != "year":
        yield Mistake(
            f"{path}.counts_with",
            'only the year\'s amounts of other rows are known: it goes with per = "year"',
        )


def layer_mistakes(
    path: str, layers: Sequence[SupplementaryLayer], *, has_stays: bool
) -> Iterator[Mistake]:
    """Find layers that would pay twice, or say too much or too little."""
    yield from repetitions(f"{path}.layers", [layer.field for layer in layers])
    seen_shares = False
    for index, layer in enumerate(layers):
        here = f"{path}.layers[{index}]"
        if layer.base != "left_over":
            seen_shares = True
        elif seen_shares:
            yield Mistake(
                f"{here}.base",
                "a layer of what is left over cannot follow one that already paid from it "
                "as the patient's own share",
            )
        if isinstance(layer.base, tuple):
            if not layer.base:
                yield Mistake(f"{here}.base", "the list is empty")
            yield from repetitions(f"{here}.base", layer.base)
        yield from _layer(here, layer, has_stays=has_stays)


def _layer(path: str, layer: SupplementaryLayer, *, has_stays: bool) -> Iterator[Mistake]:
    if bool(layer.ratios) == bool(layer.bands):
        got = "both" if layer.ratios else "neither"
        yield Mistake(path, f"a layer has either ratios or bands; this has {got}")
    elif layer.bands:
        yield from band_mistakes(f"{path}.bands", layer.bands)
    if not has_stays:
        if layer.bands_per == "admission":
            yield Mistake(f"{path}.bands_per", _NO_ADMISSIONS)
        if layer.deductible is not None and layer.deductible.per == "admission":
            yield Mistake(f"{path}.deductible.per", _NO_ADMISSIONS)
    if layer.bands_from == "deductible" and layer.deductible is None:
        yield Mistake(f"{path}.bands_from", "the layer has no deductible to measure from")
    for number, cap in enumerate(layer.caps):
        yield from cap_mistakes(f"{path}.caps[{number}]", cap, has_stays=has_stays)
