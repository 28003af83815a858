"""What reconciliation leaves open: of a month to be cleared, and by age for those on duty."""

from collections.abc import Mapping

from msgspec import Struct

from ledger.bulk_store import plain
from ledger.database_store import Database

DAY_MS = 86_400_000
AGES_DAYS = (1, 3, 7, 30)
"""Where one age ends and the next begins; the last one has no end."""
OLDER = 0
"""The key of what is older than the last of `AGES_DAYS`."""

# Beside rows that differ, totals that do and of which no rows were compared: which rows they are
# nobody knows yet. A later comparison of the terminal, or of the whole institution, counts.
_MONTH = (
    "SELECT d.institution_no, i.code, count(*), CAST(sum(abs(d.gap_fen)) AS BIGINT),"
    " min(d.business_date), CAST(sum(d.is_of_totals) AS BIGINT) FROM ("
    "SELECT institution_no, business_date, gap_fen, 0 AS is_of_totals"
    " FROM reconciliation_difference WHERE resolution = 0"
    " UNION ALL SELECT institution_no, business_date, 0, 1 FROM reconciliation r"
    " WHERE outcome <> 0 AND is_detailed = 0 AND is_provisional = 0 AND NOT EXISTS ("
    "SELECT 1 FROM reconciliation n WHERE n.business_date = r.business_date"
    " AND n.institution_no = r.institution_no AND n.terminal_no IN (0, r.terminal_no)"
    " AND n.run_no > r.run_no)) d"
    " JOIN institution i ON i.institution_no = d.institution_no"
    " WHERE d.business_date / 100 = {month}"
    " GROUP BY d.institution_no, i.code ORDER BY i.code"
)
_OF_MONTH = plain(
    "open differences of a month",
    postgresql=_MONTH.format(month="$1::integer"),
    sqlite=_MONTH.format(month="?1"),
)
_AGES = (
    "SELECT ({now} - first_time_ms) / 86400000, count(*) FROM reconciliation_difference"
    " WHERE resolution = 0 GROUP BY 1"
)
_BY_AGE = plain(
    "open differences by age",
    postgresql=_AGES.format(now="$1::bigint"),
    sqlite=_AGES.format(now="?1"),
)


class Unresolved(Struct, frozen=True):
    """What is open between the fund and one institution in a month; as text, a sentence.

    Attributes:
        count: How many differences, of rows and of totals.
        gap_fen: What the fund would owe more or less by them, each without its sign.
        oldest_day: The earliest business date of them, YYYYMMDD.
        totals_count: Of them, days' totals of which no rows were compared.
    """

    institution_no: int
    institution: str
    count: int
    gap_fen: int
    oldest_day: int
    totals_count: int = 0

    def __str__(self) -> str:
        return (
            f"{self.institution}: {self.count} differences of reconciliation are open,"
            f" the oldest of {self.oldest_day}"
        ) + (
            f"; {self.totals_count} of them are totals of which the rows were not compared:"
            " `cardserver reconciliation day` names such days"
        ) * bool(self.totals_count)


async def unresolved(database: Database, month: int) -> list[Unresolved]:
    """List what is open of a month (YYYYMM), by institution."""
    return [Unresolved(*row) for row in await database.fetch(_OF_MONTH([(month,)]))]


async def open_by_age(database: Database, now_ms: int) -> Mapping[int, int]:
    """Count open differences by age.

    Returns:
        By the days of `AGES_DAYS` below which they are (each counts once), and `OLDER`; every key
        is there.
    """
    counts = dict.fromkeys((*AGES_DAYS, OLDER), 0)
    for days, count in await database.fetch(_BY_AGE([(now_ms,)])):
        counts[next((age for age in AGES_DAYS if days < age), OLDER)] += count
    return counts
