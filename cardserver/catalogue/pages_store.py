"""Pages of lists for terminals: what changed since a version, as much as a reply may hold.

Positions are told to terminals as bytes, which they give back; whatever else they send is refused.
Not here: who asks (`cardserver/handlers/lists.py`), taking pages up (`terminals/lists.py`).
"""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from msgspec import DecodeError, Meta, Struct, msgpack

from cardserver.catalogue.catalogue_store import CATALOGUE, MAPPING
from cardserver.catalogue.lists_store import Position
from cardserver.catalogue.values import LEVELS, CatalogueRow, MappingRow
from cardserver.registry import revocation_store
from ledger.database_store import Database
from protocol.terminal import messages

# A page is read, made and sent in about a millisecond, during which the worker waits.
PAGE_ROWS = 250
BODY_SIZE_MAX = 60_000
# Beside its rows, a page's body holds a few numbers and a name.
_REST_SIZE = 200

T = TypeVar("T")

# What the columns hold: a position outside of that is none of ours either.
_Integer = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_SmallInteger = Annotated[int, Meta(ge=0, le=2**15 - 1)]
_Name = Annotated[str, Meta(pattern=r"^[^\x00]*$")]

_ENCODER = msgpack.Encoder()
_POSITION = msgpack.Decoder(tuple[_Integer, _Name, _Integer])
_REVOCATION_POSITION = msgpack.Decoder(tuple[_Integer, _SmallInteger, bytes])


class PositionError(ValueError):
    """What was given back as a position is none of ours."""


async def item_page(
    database: Database, asked: messages.ListDownload, size_max: int
) -> messages.ListPage:
    """Read a page of the catalogue.

    Raises:
        PositionError: `after` is none of ours.
    """
    newest = await CATALOGUE.newest(database)
    after, based_on = _start(asked, newest)
    rows = await CATALOGUE.page(database, after, until=newest, rows_max=PAGE_ROWS)
    made = [_item_row(row) for _, row in rows]
    count = _fitting(made, size_max)
    is_last = count == len(rows) < PAGE_ROWS
    position = CATALOGUE.position_of(*rows[count - 1]) if rows else after
    return _page(
        asked.name, newest, based_on, b"" if is_last else _ENCODER.encode(position),
        items=tuple(made[:count]),
    )  # fmt: skip


async def mapping_page(
    database: Database, asked: messages.ListDownload, size_max: int, institution_no: int
) -> messages.ListPage:
    """Read a page of an institution's own codes.

    Raises:
        PositionError: `after` is none of ours.
    """
    newest = await MAPPING.newest(database)
    after, based_on = _start(asked, newest)
    rows = await MAPPING.page(
        database, after, until=newest, rows_max=PAGE_ROWS, owner_no=institution_no
    )
    made = [_mapping_row(row) for _, row in rows]
    count = _fitting(made, size_max)
    is_last = count == len(rows) < PAGE_ROWS
    position = MAPPING.position_of(*rows[count - 1]) if rows else after
    return _page(
        asked.name, newest, based_on, b"" if is_last else _ENCODER.encode(position),
        mappings=tuple(made[:count]),
    )  # fmt: skip


async def revocation_page(
    database: Database, asked: messages.ListDownload, size_max: int
) -> messages.ListPage:
    """Read a page of the revocation list.

    Raises:
        PositionError: `after` is none of ours.
    """
    # Before the rows: what is committed between the two comes with the rows, or the next time.
    newest = await revocation_store.list_version(database)
    based_on = asked.version if asked.version <= newest else 0
    after = revocation_store.Position(based_on)
    if asked.after:
        after = revocation_store.Position(
            *_decoded(lambda: _REVOCATION_POSITION.decode(asked.after))
        )
    rows = await revocation_store.page_after(database, after, rows_max=PAGE_ROWS)
    made = [messages.RevocationRow(int(one.kind), one.subject, int(one.reason)) for _, one in rows]
    count = _fitting(made, size_max)
    is_last = count == len(rows) < PAGE_ROWS
    position = rows[count - 1][0] if rows else after
    return _page(
        asked.name, max(newest, position.version if rows else 0), based_on,
        b"" if is_last else _ENCODER.encode(position), revocations=tuple(made[:count]),
    )  # fmt: skip


def _start(asked: messages.ListDownload, newest: int) -> tuple[Position, int]:
    """Say where to go on, and which version that is based on."""
    based_on = asked.version if asked.version <= newest else 0
    if not asked.after:
        return Position(based_on + 1), based_on
    return Position(*_decoded(lambda: _POSITION.decode(asked.after))), based_on


def _decoded(decode: Callable[[], T]) -> T:
    try:
        return decode()
    except (DecodeError, ValueError) as error:
        raise PositionError(str(error)) from error


def _fitting(rows: Sequence[Struct], size_max: int) -> int:
    """Count how many rows fit into a body; at least one, so that it goes on."""
    size = _REST_SIZE
    for count, row in enumerate(rows):
        size += len(_ENCODER.encode(row))
        if size > size_max and count:
            return count
    return len(rows)


def _page(
    name: str,
    version: int,
    based_on: int,
    position: bytes,
    *,
    revocations: tuple[messages.RevocationRow, ...] = (),
    items: tuple[messages.ItemRow, ...] = (),
    mappings: tuple[messages.MappingRow, ...] = (),
) -> messages.ListPage:
    return messages.ListPage(
        name=name,
        version=version,
        based_on=based_on,
        is_last=not position,
        next=position,
        revocations=revocations,
        items=items,
        mappings=mappings,
        parameters=None,
    )


def _item_row(row: CatalogueRow) -> messages.ItemRow:
    limits = tuple([row.limit_at(level) for level in range(LEVELS)])
    has_own = any(limit != row.price_limit_microyuan for limit in limits)
    return messages.ItemRow(
        item=row.item,
        begins=row.begins,
        ends=row.ends,
        is_struck=bool(row.is_struck),
        name=row.name,
        item_class=row.item_class,
        self_pay_ratio_e4=row.self_pay_ratio_e4,
        price_limit_microyuan=row.price_limit_microyuan,
        level_limits=limits if has_own else (),
        kind=row.kind,
        unit=row.unit,
        sex=row.sex,
        age_from=row.age_from,
        age_below=row.age_below,
        daily_quantity_max_e4=row.daily_quantity_max_e4,
    )


def _mapping_row(row: MappingRow) -> messages.MappingRow:
    return messages.MappingRow(
        local_item=row.local_item,
        begins=row.begins,
        ends=row.ends,
        is_struck=bool(row.is_struck),
        item=row.item,
        local_name=row.local_name,
    )
