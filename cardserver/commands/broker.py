"""`cardserver broker config`: what the message broker needs, written for Mosquitto."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from cardserver import authority
from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import ConfigError, load_config
from cardserver.telemetry.broker_files import (
    CENTRE_CERTIFICATE,
    CENTRE_KEY,
    CONFIG_FILE,
    DIRECTORY,
    BrokerWish,
    write_broker_files,
)

ALWAYS = ("localhost", "127.0.0.1", "::1")

app = typer.Typer(help="The message broker of terminals' states and news. 消息代理")


@app.callback()
def broker() -> None:
    """Be a group."""


@app.command("config")
@fail_clearly
def config(
    config_file: ConfigFile,
    *,
    address: Annotated[str, typer.Option(help="Address that the broker binds.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port that it binds.")] = 8883,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name or address by which terminals call it; repeatable."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make its keys and certificates anew.")
    ] = False,
) -> None:
    """Write Mosquitto's configuration, access list and certificates for this centre.

    为本中心生成 Mosquitto 配置、访问控制表和证书。
    """
    path = config_file.resolve()
    known = load_config(path)
    wish = BrokerWish(
        directory=path.parent,
        address=address,
        port=port,
        names=tuple(dict.fromkeys((*(name or ()), *ALWAYS))),
    )
    own = authority.open_authority(path.parent / authority.DIRECTORY)
    into = path.parent / DIRECTORY
    try:
        written = write_broker_files(
            own, into, wish, now=dt.datetime.now(dt.UTC), renews=renew
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"{into} can't be written: {error.strerror}") from error
    typer.echo(f"written into {into}: {', '.join(written)}")
    typer.echo(f"run it: mosquitto -c {into / CONFIG_FILE}")
    if not known.mqtt.host:
        typer.echo(f"then tell the centre, in {path.name}, and start it again:\n{_section(wish)}")
    typer.echo(f"and each terminal, in its terminal.toml: [mqtt] host and port {port}")


def _section(wish: BrokerWish) -> str:
    return (
        f'[mqtt]\nhost = "{wish.names[0]}"\nport = {wish.port}\n'
        f'certificate_file = "{Path(DIRECTORY) / CENTRE_CERTIFICATE}"\n'
        f'key_file = "{Path(DIRECTORY) / CENTRE_KEY}"'
    )
