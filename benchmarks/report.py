"""How benchmarks print: percentiles, rates, and where the time went. Not a benchmark itself."""

import platform
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

console = Console(width=100)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of an ascending sequence don't exceed (nearest rank)."""
    assert ordered
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_machine(question: str) -> None:
    """Say what is asked, and of which machine."""
    console.print(f"[bold]{question}[/bold]")
    console.print(f"Python {platform.python_version()}, {platform.machine()}", style="dim")


def print_latencies(rows: Mapping[str, tuple[Sequence[float], float]]) -> None:
    """Print latencies in milliseconds and rates.

    Args:
        rows: By name, seconds of each operation, and the seconds that all of them took.
    """
    table = Table("", "count", "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms")
    for name, (seconds, duration) in rows.items():
        ordered = sorted(seconds)
        table.add_row(
            name,
            str(len(ordered)),
            f"{len(ordered) / duration:,.0f}",
            *(f"{percentile(ordered, share) * 1000:.2f}" for share in (0.5, 0.99, 0.999)),
            f"{ordered[-1] * 1000:.2f}",
        )
    console.print(table)


def print_stages(stages_us: Mapping[str, Sequence[int]]) -> None:
    """Print each stage's share of the centre's time, from microseconds by stage."""
    total = sum(sum(values) for values in stages_us.values()) or 1
    table = Table("stage", "mean us", "p50 us", "p99 us", "share")
    for stage, values in stages_us.items():
        ordered = sorted(values)
        table.add_row(
            stage,
            f"{sum(ordered) / len(ordered):.0f}",
            str(percentile(ordered, 0.5)),
            str(percentile(ordered, 0.99)),
            f"{sum(ordered) / total:.1%}",
        )
    console.print(table)
