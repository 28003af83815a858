"""All tables of the centre. Not here: what they hold, which each room's `tables.py` says."""

from sqlalchemy import MetaData

from cardserver.catalogue import tables as catalogue_tables
from cardserver.checks import tables as checks_tables
from cardserver.claims import tables as claims_tables
from cardserver.clearing import tables as clearing_tables
from cardserver.funding import tables as funding_tables
from cardserver.reconciliation import tables as reconciliation_tables
from cardserver.registry import tables as registry_tables
from cardserver.review import tables as review_tables
from cardserver.telemetry import tables as telemetry_tables
from cardserver.visits import tables as visits_tables
from ledger import tables as ledger_tables

METADATAS: tuple[MetaData, ...] = (
    ledger_tables.metadata,
    registry_tables.metadata,
    catalogue_tables.metadata,
    claims_tables.metadata,
    visits_tables.metadata,
    checks_tables.metadata,
    funding_tables.metadata,
    clearing_tables.metadata,
    review_tables.metadata,
    reconciliation_tables.metadata,
    telemetry_tables.metadata,
)
