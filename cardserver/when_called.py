"""What is called only by the way: imported by the call.

Web pages, drawn pages, spreadsheets and the whole centre take longer to load than most commands
run. Not here: the commands themselves, which `terminals/lazy_commands.py` imports.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def when_called(place: str) -> Callable[..., Any]:
    """Return a function that stands for `module:name` and imports it when it is called.

    Whoever takes it writes its type beside it, for the linters see no import here.
    """
    module, _, name = place.partition(":")

    def call(*arguments: object, **named: object) -> Any:  # noqa: ANN401 - as the function says
        return getattr(import_module(module), name)(*arguments, **named)

    return call
