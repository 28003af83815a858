"""Strategies that make any struct of the wire within the limits of its fields."""

import datetime as dt
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import strategies as st
from msgspec import Raw, inspect
from msgspec.msgpack import Encoder

StructStrategy = Callable[[type[msgspec.Struct]], st.SearchStrategy[msgspec.Struct]]

RAW_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def of_type(kind: inspect.Type) -> st.SearchStrategy[object]:  # noqa: C901  one case a type
    """Give values of one field's type, up to and including its limits."""
    match kind:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(low, high)
        case inspect.StrType(max_length=size, pattern=pattern):
            # The one pattern there is forbids control characters.
            forbidden = () if pattern is None else ("Cc",)
            return st.text(
                st.characters(codec="utf-8", exclude_categories=forbidden), max_size=size
            )
        case inspect.BytesType(min_length=least, max_length=size):
            return st.binary(min_size=least or 0, max_size=min(size or 0, 300))
        case inspect.DateType():
            return st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
        case inspect.RawType():
            return RAW_VALUES.map(lambda value: Raw(Encoder().encode(value)))
        case inspect.EnumType(cls=members):
            return st.sampled_from(list(members))
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=size):
            most = min(size or 0, 3)
            return st.lists(of_type(item), min_size=least or 0, max_size=most).map(tuple)
        case inspect.UnionType(types=types):
            return st.one_of(*(of_type(each) for each in types))
        case inspect.StructType(cls=struct, fields=fields):
            values = {field.name: of_type(field.type) for field in fields}
            return st.builds(struct, **values)
        case _:
            raise AssertionError(f"no strategy for {kind}")


@pytest.fixture(scope="session")
def structs() -> StructStrategy:
    """Give a strategy for a struct's instances."""
    made: dict[type[msgspec.Struct], st.SearchStrategy[msgspec.Struct]] = {}

    def strategy(struct: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
        if struct not in made:
            made[struct] = of_type(inspect.type_info(struct))  # type: ignore[assignment]
        return made[struct]

    return strategy
