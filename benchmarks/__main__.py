"""`python -m benchmarks NAME`: run one; without a name, list them with their questions."""

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

_SHARED = {"report", "load", "peers", "usual_counter", "usual_design", "month_settlements"}


def main() -> int:
    """Run or list benchmarks."""
    names = sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if not module.name.startswith("_") and module.name not in _SHARED
    )
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=names)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="its own; --help tells them")
    arguments = parser.parse_args()
    if arguments.name is None:
        for name in names:
            module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
            print(f"{name:14} {(module.__doc__ or '').splitlines()[0]}")
        return 0
    sys.argv = [f"benchmarks {arguments.name}", *arguments.options]
    importlib.import_module(f"benchmarks.{arguments.name.replace('-', '_')}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
