"""Monthly clearing: runs, statements, payments, periods."""

revision = "0008"
down_revision = "0007b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing yet."""
