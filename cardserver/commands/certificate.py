"""`cardserver certificate`: the centre's own certificate, before it ends.

Not here: terminals' certificates (`init.py`, `enrolment.py`), the broker's (`broker.py`).
"""

import datetime as dt
from typing import Annotated

import typer
from cryptography import x509

from cardserver import authority, key_files
from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import ConfigError, load_config

app = typer.Typer(help="The centre's own certificate. 中心证书")


@app.callback()
def certificate() -> None:
    """Be a group."""


@app.command("renew")
@fail_clearly
def renew(
    config_file: ConfigFile,
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="A name or address by which terminals call this centre; repeatable. Without it"
            " those of the present certificate."
        ),
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new key as well; else the key stays.")
    ] = False,
) -> None:
    """Sign the listener's certificate anew; it is used once the workers are replaced.

    Only one that this centre's own authority signed. The key stays unless it is asked for: so
    that the certificate, which is replaced whole, fits it at every moment. If --new-key is broken
    off between the two files, do it again.

    续签中心监听证书；更换工作进程后生效。
    """
    config = load_config(config_file)
    file, key_file = (
        config.path(config.listener.certificate_file), config.path(config.listener.key_file),
    )  # fmt: skip
    own = authority.open_authority(config.path(authority.DIRECTORY))
    try:
        present = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is no certificate that could be renewed: {error}") from error
    key = authority.new_key() if new_key else authority.read_key(key_file)
    renewed = authority.renew_server_certificate(
        own, present, key=key, hosts=tuple(name or ()), now=dt.datetime.now(dt.UTC)
    )
    if new_key:
        key_files.replace(key_file, authority.private_pem(key))
    key_files.replace(file, authority.to_pem(renewed), mode=key_files.PUBLIC_MODE)
    ends = f"{renewed.not_valid_after_utc:%Y-%m-%d}"
    typer.echo(f"{file} is valid until {ends}, for {', '.join(authority.hosts_of(renewed))}")
    typer.echo(
        "it is used once the workers are replaced: cardserver upgrade, or restart a centre of one"
        " process"
    )
