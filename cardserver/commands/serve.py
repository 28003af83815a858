"""`cardserver serve`: run the centre until it is told to stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.observe.logs import configure_logs
from cardserver.when_called import when_called

_check_workers: Callable[[Config, int], None] = when_called("cardserver.app:check_workers")
_run_worker: Callable[..., None] = when_called("cardserver.commands.serve_workers:run_worker")
_supervise: Callable[[Config, Path, int, Path | None], None] = when_called(
    "cardserver.commands.serve_workers:supervise"
)


@fail_clearly
def serve(  # noqa: PLR0913 - one parameter an option
    config_file: Annotated[Path, typer.Option("--config", help="The centre's cardserver.toml.")],
    *,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the port (PostgreSQL).")
    ] = 1,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Written once terminals can connect: ports and process id, as JSON."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Overrides [listener] port.")
    ] = None,
    observe_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Overrides [observe] port.")
    ] = None,
    worker: Annotated[int, typer.Option(hidden=True, help="Set by the parent of workers.")] = -1,
    listening: Annotated[
        list[int] | None, typer.Option(hidden=True, help="Set by the parent of workers.")
    ] = None,
    pages_socket: Annotated[
        int, typer.Option(hidden=True, help="Set by the parent of workers.")
    ] = -1,
    metrics_folder: Annotated[
        Path | None, typer.Option(hidden=True, help="Set by the parent of workers.")
    ] = None,
) -> None:
    """Serve terminals until SIGTERM or SIGINT; then finish what is in flight and end.

    With several workers, SIGHUP replaces them one by one by new processes while terminals go on.

    中心服务：接受终端连接，直至收到停止信号；停止前完成在途交易。
    多个工作进程时，SIGHUP 逐个更换进程。
    """
    config = load_config(config_file)
    config = _with_ports(config, port, observe_port)
    _check_workers(config, workers)
    configure_logs(
        level=config.observe.log_level,
        log_format=config.observe.log_format,
        events_a_second=config.observe.log_events_a_second,
    )
    if workers > 1:
        _supervise(config, config_file, workers, ready_file)
        return
    _run_worker(
        config,
        index=max(worker, 0),
        shares_port=worker >= 0,
        listening=tuple(listening or ()),
        pages_socket=pages_socket,
        ready_file=ready_file,
        metrics_folder=metrics_folder,
    )


def _with_ports(config: Config, port: int | None, observe_port: int | None) -> Config:
    replace = msgspec.structs.replace
    if port is not None:
        config = replace(config, listener=replace(config.listener, port=port))
    if observe_port is not None:
        config = replace(config, observe=replace(config.observe, port=observe_port))
    return config
