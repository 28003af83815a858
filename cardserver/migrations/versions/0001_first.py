"""The first schema: registry, ledger and claims."""

from alembic import op

from cardserver.migrations.schema import METADATAS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    for metadata in METADATAS:
        metadata.create_all(op.get_bind())
