"""The chain's own books: what verification and digests keep."""

revision = "0007b"  # beside 0007_accumulators, which came first
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing yet."""
