"""`cardserver verify-ledger`: is every row what was once written, and does all else agree?"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.markup import escape

from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.config import Config, load_config
from cardserver.digest_file import read_digest_file
from cardserver.digest_keys import read_public_key
from cardserver.verification import Verified, Wish, verify
from ledger.digest import Digest, DigestError

_SHOWN_MAX = 20
_PERIOD_MIN, _PERIOD_MAX = 200001, 999912


@fail_clearly
def verify_ledger(
    config_file: ConfigFile,
    *,
    digest_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--digest",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A signed digest that was kept elsewhere; repeatable.",
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The public key of the digests; PEM, kept elsewhere."
        ),
    ] = None,
    from_period: Annotated[
        int,
        typer.Option(
            metavar="YYYYMM", help="Leave out the chains and totals of earlier periods; 0: nothing."
        ),
    ] = 0,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Recompute the chains in so many processes.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute chains, balances, totals, claims, accumulators and replies; name what differs.

    It reads beside a running centre and holds nobody up. Exit status 0: all agrees; 1: not, and
    the first rows that differ are named.

    校验账本：重算哈希链、余额、合计、费用记录、累计数和应答；指出第一条不一致的记录。
    """
    if from_period and not _PERIOD_MIN <= from_period <= _PERIOD_MAX:
        raise typer.BadParameter("a period is YYYYMM, as 202611", param_hint="--from-period")
    if digest_files and public_key is None:
        raise typer.BadParameter("digests are checked with --public-key", param_hint="--digest")
    config = load_config(config_file)
    digests = _read_digests(config, digest_files or [], public_key)
    verified = run_verification(config, Wish(digests, from_period, jobs))
    if as_json:
        sys.stdout.write(json.format(json.encode(_document(verified)), indent=2).decode() + "\n")
    else:
        print_verified(verified, digests)
    if verified.findings.count:
        raise typer.Exit(1)


def run_verification(config: Config, wish: Wish) -> Verified:
    """Recompute a centre's ledger with a progress bar."""
    with progress_bar() as bar:
        task = bar.add_task("verify 校验", total=None)
        return asyncio.run(
            verify(
                config.database_url,
                config.database_password,
                wish,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        )


def print_verified(verified: Verified, digests: tuple[Digest, ...] = ()) -> None:
    """Say what came of a verification."""
    console = Console(highlight=False, soft_wrap=True)
    findings = verified.findings
    if findings.count:
        console.print(f"[bold]first row that differs[/] 首条不一致：{escape(_first(verified))}")
        for difference in findings.differences[1:_SHOWN_MAX]:
            console.print(escape(str(difference)))
        console.print(f"{findings.count:,} differences / 处不一致")
    rate = verified.rows / max(verified.seconds, 0.001)
    console.print(
        f"{verified.sequence:,} numbers in the chains, {verified.rows:,} rows in"
        f" {verified.seconds:.1f} s ({rate:,.0f} rows/s)"
        + (f", {len(digests)} digests" if digests else "")
        + (": NOT as written / 不一致" if findings.count else ": as written / 一致")
    )


def _first(verified: Verified) -> str:
    return str(verified.findings.differences[0])


def _read_digests(config: Config, files: list[Path], public_key: Path | None) -> tuple[Digest, ...]:
    if public_key is None:
        return ()
    key = read_public_key(public_key)
    digests = tuple(read_digest_file(file, key) for file in files)
    for file, digest in zip(files, digests, strict=True):
        if digest.fund != config.fund.name_en:
            raise DigestError(f"{file} is of another fund: {digest.fund}")
    return digests


def _document(verified: Verified) -> dict[str, object]:
    findings = verified.findings
    return {
        "is_as_written": not findings.count,
        "difference_count": findings.count,
        "differences": findings.differences,
        "rows": findings.rows,
        "sequence": verified.sequence,
        "seconds": round(verified.seconds, 3),
        "rows_per_second": round(verified.rows / max(verified.seconds, 0.001)),
    }
