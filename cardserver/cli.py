"""`cardserver`: the centre's command line. Commands live in `commands/`, one noun a file."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from terminals.lazy_commands import LazyCommands, Noun


class CentreCommands(LazyCommands):
    """The centre's nouns."""

    package = "cardserver.commands"
    nouns: ClassVar[Mapping[str, Noun]] = {
        "init": Noun(
            "init:init",
            "Make a centre: its authority, certificates, keys, configuration and database."
            " 新建中心",
        ),
        "serve": Noun(
            "serve:serve",
            "Serve terminals until SIGTERM or SIGINT; then finish what is in flight and end."
            " 启动中心",
        ),
        "upgrade": Noun(
            "upgrade:upgrade",
            "Replace the workers of a running centre by new processes, while terminals go on."
            " 滚动更换工作进程",
        ),
        "dashboards": Noun(
            "dashboards:dashboards",
            "Write Grafana's dashboards as JSON files, for its provisioning. 监控面板",
        ),
        "rules": Noun(
            "dashboards:rules",
            "Write Prometheus' recording rules and alerts, each pointing to its runbook."
            " 监控规则与告警",
        ),
        "audit": Noun("audit:app", "The audit: search it, verify it. 审计记录"),
        "console": Noun(
            "console:console",
            "Serve the console until a signal: operators of the fund sign on with number and"
            " password. 管理控制台",
        ),
        "top": Noun(
            "top:top",
            "Show live where each millisecond goes, what is refused, who is connected."
            " Ctrl-C ends it. 实时概览",
        ),
        "doctor": Noun(
            "doctor:doctor",
            "Check clock, disk, files, database, ports, readers and broker, and say what to do."
            " 自检",
        ),
        "certificate": Noun("certificate:app", "The centre's own certificate. 中心证书"),
        "enrol-terminal": Noun(
            "init:enrol_terminal",
            "Sign a terminal's certificate and register it; one that it had before stops working."
            " 终端登记",
        ),
        "enrol-terminals": Noun(
            "enrolment:enrol_terminals",
            "Sign and register every request in a folder; certificates go beside them, as .crt."
            " 批量登记终端",
        ),
        "broker": Noun("broker:app", "The message broker of terminals' states and news. 消息代理"),
        "terminals": Noun("terminals:app", "What terminals say of themselves. 终端状态"),
        "stop": Noun(
            "stop:app", "Planned stops, which terminals are told of over the broker. 计划停机"
        ),
        "adjudicate": Noun(
            "adjudicate:adjudicate", "Divide a bill by a policy, and tell every step. 试算账单"
        ),
        "claim": Noun(
            "claim:claim",
            "Show outcome, claim, postings and stage times of one request. 查询一笔请求",
        ),
        "resolve": Noun(
            "resolve:resolve",
            "Settle a dead terminal's doubt: two of the fund's resolvers, each with their"
            " password. 了结存疑交易",
        ),
        "trial-balance": Noun(
            "ledger:trial_balance",
            "Sum up every posting by account and compare with balances and totals kept"
            " beside them. 试算平衡",
        ),
        "verify-ledger": Noun(
            "verify:verify_ledger",
            "Recompute chains, balances, totals, claims, accumulators and replies; name what"
            " differs. 账本核验",
        ),
        "digest": Noun(
            "digest:app",
            "Signed digests of days, which find a chain that an insider recomputed. 账本日摘要",
        ),
        "reconciliation": Noun(
            "reconciliation:app", "Daily reconciliation with institutions. 日对账"
        ),
        "balances": Noun(
            "balances:app", "Balances of accounts at a moment or a period's end. 账户余额"
        ),
        "storage": Noun("storage:app", "What the database holds in the long run. 存储"),
        "backup": Noun(
            "backup:backup",
            "Copy the database as it is at one moment into a folder, while the centre serves. 备份",
        ),
        "restore": Noun(
            "backup:restore",
            "Put a backup into the database that the configuration names, and verify the ledger."
            " 恢复",
        ),
        "registry": Noun(
            "registry:app", "Fill the registry and manage operators and terminals. 参保登记"
        ),
        "card": Noun(
            "registry:card_app",
            "Cards as things happen to them. 卡片管理",
            {
                "read": Noun(
                    "card_read:read_card",
                    "Open the card in a reader attached to this machine: is it genuine, and"
                    " may it be used?",
                )
            },
        ),
        "keys": Noun("keys:app", "Root keys of cards; changes take two custodians. 卡根密钥"),
        "revocation": Noun(
            "revocation:app", "Cards and certificates that are not to be taken. 吊销名单"
        ),
        "policy": Noun(
            "policy:app",
            "Benefit policies: check, show, compare, activate. 待遇政策",
            {
                "replay": Noun(
                    "replay:replay",
                    "Decide stored claims again under a draft, and report who gains and who loses.",
                )
            },
        ),
        "accumulators": Noun("accumulators:app", "What persons have used in a year. 个人年度累计"),
        "catalogue": Noun(
            "catalogue:app", "Drugs, services and consumables: classes, ratios, limits. 医保目录"
        ),
        "funding": Noun(
            "funding:app",
            "Rules of contributions, allotments and interest. 基金筹集与个人账户划拨规则",
        ),
        "period": Noun("period:app", "Months of the ledger: which are closed. 会计期间"),
        "clearing": Noun("clearing:app", "Monthly clearing with institutions. 医药机构月度清算"),
        "contributions": Noun(
            "contributions:app", "Employers' contributions: post, correct, reverse. 单位缴费入账"
        ),
        "allotment": Noun(
            "allotment:app", "Monthly allotments to personal accounts. 个人账户月划拨"
        ),
        "interest": Noun("interest:app", "Yearly interest on personal accounts. 个人账户年度计息"),
        "account": Noun("account:app", "Personal accounts. 个人账户"),
        "review": Noun(
            "review:app", "Review of settlements: acceptance, calculation, audit, appeals. 结算审核"
        ),
        "workload": Noun(
            "workload:workload",
            "Count the review work of a month: steps, cases, amounts, median time from"
            " taking to signing. 审核工作量",
        ),
        "checks": Noun(
            "checks:app",
            "Checks at the counter: write, try, activate their rules. 柜台智能审核规则",
            {
                "replay": Noun(
                    "checks_replay:replay_checks",
                    "Try stored settlements by a rules file, whatever its own dates, and"
                    " count what it finds.",
                )
            },
        ),
    }


app = typer.Typer(
    cls=CentreCommands,
    help="A medical-insurance fund's card transaction centre. 医疗保障基金卡交易中心",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def cardserver() -> None:
    """Be a group, whatever the table holds."""
