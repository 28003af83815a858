"""Facts of the database that those on duty look at: writers, size, connections, replication."""

from dataclasses import dataclass

from ledger.bulk_store import Statement, plain
from ledger.database_store import Database

_SLOTS_TEXT = (
    "SELECT slot, owner, sequence, lease_until_ms FROM writer_slot ORDER BY lease_until_ms DESC"
    " LIMIT 100"
)
_SLOTS = plain("writer slots", postgresql=_SLOTS_TEXT, sqlite=_SLOTS_TEXT)


@dataclass(frozen=True, slots=True)
class WriterSlot:
    """One writer's slot; who holds it is empty once it was given back."""

    slot: int
    owner: str
    sequence: int
    lease_until_ms: int


async def writer_slots(database: Database) -> list[WriterSlot]:
    """List writers' slots, those held longest first."""
    return [WriterSlot(*row) for row in await database.fetch(_SLOTS())]


def _fact(name: str, postgresql: str, sqlite: str) -> Statement:
    return plain(name, postgresql=postgresql, sqlite=sqlite)


# Name in Chinese and English, and what each database answers, as text.
_FACTS = (
    (
        "版本", "version",
        _fact("version", "SELECT version()", "SELECT 'SQLite ' || sqlite_version()"),
    ),
    (
        "大小", "size",
        _fact(
            "size",
            "SELECT pg_size_pretty(pg_database_size(current_database()))",
            "SELECT (page_count * page_size / 1048576) || ' MB'"
            " FROM pragma_page_count(), pragma_page_size()",
        ),
    ),
    (
        "连接（活动 / 全部）", "connections (active / all)",
        _fact(
            "connections",
            "SELECT count(*) FILTER (WHERE state = 'active') || ' / ' || count(*)"
            " FROM pg_stat_activity WHERE datname = current_database()",
            "SELECT '–'",
        ),
    ),
    (
        "等待锁", "waiting for locks",
        _fact(
            "locks",
            "SELECT count(*)::text FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'",
            "SELECT '–'",
        ),
    ),
    (
        "缓存命中率", "cache hits",
        _fact(
            "cache",
            "SELECT round(100.0 * blks_hit / greatest(blks_hit + blks_read, 1), 2) || ' %'"
            " FROM pg_stat_database WHERE datname = current_database()",
            "SELECT '–'",
        ),
    ),
    (
        "备库（最大延迟）", "standbys (largest lag)",
        _fact(
            "replication",
            "SELECT count(*) || coalesce(' / ' || max(replay_lag)::text, '')"
            " FROM pg_stat_replication",
            "SELECT '–'",
        ),
    ),
    (
        "最长的事务", "oldest transaction",
        _fact(
            "oldest",
            "SELECT coalesce(max(now() - xact_start)::text, '–') FROM pg_stat_activity"
            " WHERE datname = current_database()",
            "SELECT '–'",
        ),
    ),
)  # fmt: skip


async def centre_facts(database: Database) -> list[tuple[str, str, str]]:
    """Return facts of the database: name in Chinese, in English, and what it answers."""
    return [
        (zh, en, str((await database.fetch(statement()))[0][0])) for zh, en, statement in _FACTS
    ]
