"""When each terminal's certificate ends."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what it holds of terminals known already is seen when they connect."""
    op.add_column(
        "terminal",
        sa.Column("certificate_ends_ms", sa.BigInteger(), nullable=False, server_default="0"),
    )
