"""Grafana's dashboards, made from code: what is shown is written once, in two languages.

Every expression uses metrics of `catalogue.py` or records of `rules/recording.yml`, which tests
hold against a running centre. Not here: who writes them (`cardserver/commands/dashboards.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

_WIDTH: Final = 12
_HEIGHT: Final = 8
_SMALL: Final = 4
_FELT: Final = "cardserver_terminal_felt_duration_seconds_bucket"
_DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its lines are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        kind: `lines`, `number` or `heat`.
        unit: As Grafana names units.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "lines"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _lines(title: str, unit: str, *queries: tuple[str, str]) -> Panel:
    return Panel(title, tuple(Query(*one) for one in queries), unit)


def _number(title: str, unit: str, expression: str) -> Panel:
    return Panel(title, (Query(expression),), unit, "number")


def _heat(title: str, expression: str) -> Panel:
    return Panel(title, (Query(expression, "{{le}}"),), "s", "heat")


def _stages(type_: str) -> Panel:
    return _lines(
        f"Mean time by stage 各环节平均时间: {type_}", "s",
        (f'cardserver:stage_duration_seconds:mean_5m{{type="{type_}"}}', "{{stage}}"),
    )  # fmt: skip


BOARDS: Final = (
    Board(
        "cardserver-duty",
        "cardserver: on duty 值班",
        (
            _number("Workers 工作进程", "short", "cardserver_workers"),
            _number("Terminals 在线终端", "short", "cardserver_connections"),
            _number("Requests a second 每秒请求", "reqps", "sum(cardserver:requests:rate5m)"),
            _number(
                "Settlements under 500 ms 结算达标率",
                "percentunit",
                '1 - cardserver:requests_bad:ratio_rate1h{objective="settle"}',
            ),
            _number(
                "Card openings under 1 s 读卡达标率",
                "percentunit",
                '1 - cardserver:requests_bad:ratio_rate1h{objective="card_open"}',
            ),
            _number(
                "Oldest attempt in doubt 最久未决", "s", "cardserver_terminal_outbox_age_seconds"
            ),
            _lines(
                "Slowest in a hundred 99 分位",
                "s",
                (
                    'cardserver:request_duration_seconds:p99_5m{type=~"card_open|preview|settle"}',
                    "{{type}}",
                ),
            ),
            _lines(
                "What cashiers felt, 95 of 100 收费员感受 95 分位",
                "s",
                (
                    f"histogram_quantile(0.95, sum by (type, le) (rate({_FELT}[5m])))",
                    "{{type}}",
                ),
            ),
            _lines(
                "Budget burnt, times what is allowed 误差预算消耗倍数",
                "short",
                ("cardserver:requests_bad:ratio_rate5m / 0.001", "{{objective}} 5m"),
                ("cardserver:requests_bad:ratio_rate30m / 0.001", "{{objective}} 30m"),
                ("cardserver:requests_bad:ratio_rate6h / 0.001", "{{objective}} 6h"),
            ),
            _lines(
                "Refused, by code 按代码拒绝",
                "reqps",
                ('sum by (code) (rate(cardserver_requests_total{code!="0"}[5m]))', "{{code}}"),
            ),
        ),
    ),
    Board(
        "cardserver-latency",
        "cardserver: latency 时延",
        (
            _heat(
                "Settlements 结算",
                'sum by (le) (increase(cardserver_request_duration_seconds_bucket{type="settle"}'
                "[$__rate_interval]))",
            ),
            _heat(
                "Card openings 读卡",
                'sum by (le) (increase(cardserver_request_duration_seconds_bucket{type="card_open"}'
                "[$__rate_interval]))",
            ),
            _stages("settle"),
            _stages("card_open"),
            _stages("preview"),
            _lines(
                "Half and 95 of 100 中位数与 95 分位",
                "s",
                ("cardserver:request_duration_seconds:p50_5m", "{{type}} p50"),
                ("cardserver:request_duration_seconds:p95_5m", "{{type}} p95"),
            ),
        ),
    ),
    Board(
        "cardserver-requests",
        "cardserver: requests 请求",
        (
            _lines(
                "By type 按类型",
                "reqps",
                ("sum by (type) (rate(cardserver_requests_total[5m]))", "{{type}}"),
            ),
            _lines(
                "By type and code 按类型和代码",
                "reqps",
                (
                    'sum by (type, code) (rate(cardserver_requests_total{code!="0"}[5m]))',
                    "{{type}} {{code}}",
                ),
            ),
            _lines(
                "Repeated 重复请求",
                "reqps",
                (
                    'sum by (type) (rate(cardserver_requests_total{duplicate="true"}[5m]))',
                    "{{type}}",
                ),
            ),
            _lines(
                "Connections refused 拒绝连接",
                "cps",
                ("sum by (reason) (rate(cardserver_connections_refused_total[5m]))", "{{reason}}"),
            ),
            _lines(
                "Clocks that are off 时钟偏差",
                "reqps",
                ("rate(cardserver_terminal_clock_skew_total[5m])", ""),
            ),
        ),
    ),
    Board(
        "cardserver-centre",
        "cardserver: centre 中心",
        (
            _lines(
                "Processor of each worker 各进程处理器",
                "percentunit",
                ("rate(cardserver_worker_cpu_seconds_total[1m])", "{{worker}}"),
            ),
            _lines(
                "Memory of each worker 各进程内存",
                "bytes",
                ("cardserver_worker_resident_memory_bytes", "{{worker}}"),
            ),
            _lines(
                "Age of each worker 各进程运行时间",
                "s",
                ("time() - cardserver_worker_start_timestamp_seconds", "{{worker}}"),
            ),
            _lines(
                "Waiting for a commit 等待提交",
                "short",
                ("cardserver_commit_queue_requests", "waiting 等待"),
                ("cardserver_commit_queue_limit_requests", "limit 上限"),
                ("cardserver_requests_in_flight", "in flight 处理中"),
            ),
            _lines(
                "Database 数据库",
                "short",
                ("cardserver_database_up", "up"),
                ("cardserver_database_connections", "{{pool}} {{state}}"),
                ("cardserver_writer_slots", "slots {{state}}"),
                ("cardserver_replication_standbys", "standbys"),
            ),
            _lines("Replication lag 复制延迟", "s", ("cardserver_replication_lag_seconds", "")),
            _lines(
                "Disks 磁盘",
                "bytes",
                ("cardserver_disk_free_bytes", "free {{volume}}"),
                ("cardserver_disk_size_bytes", "size {{volume}}"),
                ("cardserver_database_size_bytes", "database"),
            ),
            _lines(
                "Left out 省略",
                "cps",
                ("rate(cardserver_log_events_dropped_total[5m])", "log 日志"),
                ("rate(cardserver_spans_dropped_total[5m])", "spans 追踪"),
                ("rate(cardserver_spans_sent_total[5m])", "spans sent 已发送"),
            ),
            _lines(
                "Watched 监测时间",
                "s",
                ("time() - cardserver_watch_timestamp_seconds", ""),
            ),
        ),
    ),
    Board(
        "cardserver-fund",
        "cardserver: fund 基金",
        (
            _number(
                "Months not cleared 未清算月份", "short", "cardserver_clearing_uncleared_months"
            ),
            _number(
                "Oldest month ended 最早未清算月份结束于",
                "s",
                "time() - cardserver_clearing_oldest_uncleared_end_timestamp_seconds",
            ),
            _lines(
                "Open differences by age 未决对账差异",
                "short",
                ("cardserver_reconciliation_differences", "{{age}}"),
            ),
            _lines(
                "Terminals 终端",
                "short",
                ("cardserver_terminals_in_doubt", "in doubt 有未决"),
                ("cardserver_terminals_outdated_list", "old list 名单过时"),
                ("cardserver_terminal_certificates_ending", "certificate ends 证书将到期"),
            ),
            _lines(
                "Revocation list 吊销名单",
                "short",
                ("cardserver_revocation_list_version", "version 版本"),
                ("time() - cardserver_revocation_list_checked_timestamp_seconds", "age 距上次核对"),
            ),
            _lines(
                "Certificates end in 证书剩余",
                "s",
                ("cardserver_certificate_expiry_timestamp_seconds - time()", "{{certificate}}"),
            ),
        ),
    ),
)


def expressions() -> list[str]:
    """Give every expression of every dashboard, with Grafana's own names put in."""
    return [
        query.expression.replace("$__rate_interval", "5m")
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]


def dashboards() -> dict[str, str]:
    """Make the dashboards: JSON by file name, to be put where Grafana is provisioned from."""
    return {
        f"{board.uid}.json": JSONEncoder(sort_keys=True, indent=2).encode(_built(board)) + "\n"
        for board in BOARDS
    }


def _built(board: Board) -> object:
    built = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .tags(["cardserver"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for panel in board.panels:
        built = built.with_panel(_panel(panel))
    return built.build()


_Builder = timeseries.Panel | stat.Panel | heatmap.Panel


def _panel(panel: Panel) -> _Builder:
    built: _Builder
    match panel.kind:
        case "number":
            built = stat.Panel().height(_SMALL).span(_SMALL)
        case "heat":
            built = heatmap.Panel().calculate(False).height(_HEIGHT).span(_WIDTH)  # noqa: FBT003
        case _:
            built = timeseries.Panel().height(_HEIGHT).span(_WIDTH)
    built = built.title(panel.title).unit(panel.unit).datasource(_DATASOURCE)
    for target in _targets(panel.queries, is_heat=panel.kind == "heat"):
        built = built.with_target(target)
    return built


def _targets(queries: Sequence[Query], *, is_heat: bool) -> list[prometheus.Dataquery]:
    targets: list[prometheus.Dataquery] = []
    for index, query in enumerate(queries):
        target = (
            prometheus.Dataquery()
            .expr(query.expression)
            .ref_id(chr(ord("A") + index))
            .exemplar("_bucket" in query.expression)
        )
        if query.legend:
            target = target.legend_format(query.legend)
        if is_heat:
            target = target.format(PromQueryFormat.HEATMAP)
        targets.append(target)
    return targets
