"""What `cardserver serve` runs: one worker in this process, or several that it watches over.

Not here: the command and its options (`serve.py`).
"""

from pathlib import Path
from typing import Any

import typer

from cardserver.app import Worker, WorkerOptions, run_on_loop
from cardserver.config import Config
from cardserver.supervisor import Supervisor


def run_worker(config: Config, **options: Any) -> None:  # noqa: ANN401 - those of `WorkerOptions`
    """Serve in this process."""
    run_on_loop(_run_worker(config, WorkerOptions(**options)))


async def _run_worker(config: Config, options: WorkerOptions) -> None:
    await Worker(config, options).run()


def supervise(config: Config, config_file: Path, workers: int, ready_file: Path | None) -> None:
    """Serve in several processes, and start each anew that ends."""
    statuses: list[int] = []

    async def run() -> None:
        section = config.listener
        supervisor = Supervisor(
            config_file,
            count=workers,
            host=section.host,
            port=section.port,
            pages_address=(config.observe.host, config.observe.port),
            ready_file=ready_file,
            leave_time_max_ms=section.retire_time_max_ms + section.drain_time_max_ms,
        )
        statuses.append(await supervisor.run())

    run_on_loop(run())
    if any(statuses):
        raise typer.Exit(1)
