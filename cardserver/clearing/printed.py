"""Printed pages: A4 as PDF, Chinese with English labels, in a font of which each file has a part.

The font is WenQuanYi Micro Hei (Debian's fonts-wqy-microhei): its outlines may be embedded, and
each file holds those of its own characters only. The same content gives the same bytes. Not here:
what is printed (`statement_page.py`, `summary_page.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib import colors  # type: ignore[import-untyped]  # reportlab ships no types
from reportlab.lib.pagesizes import A4, landscape  # type: ignore[import-untyped]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
from reportlab.lib.units import mm  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]
from reportlab.platypus import (  # type: ignore[import-untyped]
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    TableStyle,
)

from cardserver.clearing.errors import ClearingError

FONT = "WenQuanYi Micro Hei"
FONT_FILE = Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
_MARGIN = 15 * mm
_SMALL, _NORMAL, _LARGE = 7.5, 9, 14


class PrintingError(ClearingError):
    """A page can't be printed."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table on a page.

    Attributes:
        header: Of each column.
        rows: Texts; those of numbers stand at the right.
        left_count: How many columns, from the first, stand at the left.
        has_total: Whether the last row is a sum.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left_count: int = 1
    has_total: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What is printed, from top to bottom.

    Attributes:
        title: Of the whole.
        facts: Labels and what they say.
        parts: Headings and tables, in turns or not.
        footer: At the end of it all, a line each.
        is_wide: Whether the paper lies on its side.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    parts: Sequence[str | Grid]
    footer: Sequence[str] = ()
    is_wide: bool = False


def printed(page: Page) -> bytes:
    """Return a page as PDF.

    Raises:
        PrintingError: The font is not installed.
    """
    _register_font()
    out = BytesIO()
    size = landscape(A4) if page.is_wide else A4
    document = SimpleDocTemplate(
        out, pagesize=size, leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN,
        bottomMargin=_MARGIN, title=page.title, author="", invariant=1,
    )  # fmt: skip
    flow = [Paragraph(escape(page.title), _style(_LARGE)), Spacer(1, 4 * mm)]
    flow += [
        Paragraph(f"{escape(label)}: {escape(value)}", _style(_NORMAL))
        for label, value in page.facts
    ]
    for part in page.parts:
        flow.append(Spacer(1, 3 * mm))
        if isinstance(part, str):
            flow.append(Paragraph(escape(part), _style(_NORMAL + 1)))
        else:
            flow.append(_table(part))
    flow.append(Spacer(1, 5 * mm))
    flow += [Paragraph(escape(line), _style(_NORMAL)) for line in page.footer]
    document.build(flow, onFirstPage=_number, onLaterPages=_number)
    return out.getvalue()


@cache
def _register_font() -> None:
    if not FONT_FILE.exists():
        raise PrintingError(
            f"the font {FONT} is not installed: Debian's package fonts-wqy-microhei has it"
        )
    pdfmetrics.registerFont(TTFont(FONT, str(FONT_FILE), subfontIndex=0))


@cache
def _style(size: float) -> ParagraphStyle:
    return ParagraphStyle(
        f"size {size}", fontName=FONT, fontSize=size, leading=size * 1.5, wordWrap="CJK"
    )


def _table(grid: Grid) -> LongTable:
    style = [
        ("FONT", (0, 0), (-1, -1), FONT, _SMALL),
        ("ALIGN", (grid.left_count, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.7, colors.black),
        ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.grey),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
    ]
    if grid.has_total:
        style.append(("LINEABOVE", (0, -1), (-1, -1), 0.7, colors.black))
    return LongTable(
        [grid.header, *grid.rows], repeatRows=1, hAlign="LEFT", style=TableStyle(style)
    )


# Any page's canvas and document are reportlab's own.
def _number(canvas, document) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Number a page at its foot."""
    canvas.setFont(FONT, _SMALL)
    canvas.drawCentredString(document.pagesize[0] / 2, 8 * mm, str(canvas.getPageNumber()))
