"""`cardserver dashboards` and `cardserver rules`: what Grafana and Prometheus are set up with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cardserver.commands.faults import fail_clearly
from cardserver.config import ConfigError
from cardserver.observe.rules import RUNBOOKS
from cardserver.observe.rules import rules as made_rules
from cardserver.when_called import when_called

Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Made if it is not there.")
]

_dashboards: Callable[[], Mapping[str, str]] = when_called(
    "cardserver.observe.dashboards:dashboards"
)


@fail_clearly
def dashboards(out: Out) -> None:
    """Write Grafana's dashboards as JSON files, for its provisioning.

    生成 Grafana 看板文件。
    """
    _write(out, _dashboards())


@fail_clearly
def rules(
    out: Out,
    runbooks: Annotated[
        str, typer.Option(metavar="URL", help="Where alerts' runbooks are served from.")
    ] = RUNBOOKS,
) -> None:
    """Write Prometheus' recording rules and alerts, each pointing to its runbook.

    生成 Prometheus 记录规则与告警规则，附处理手册地址。
    """
    _write(out, made_rules(runbooks))


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{folder / name} can't be written: {error.strerror}") from error
        typer.echo(folder / name)
