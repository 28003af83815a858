"""The registry: what was changed by whom, and filings (备案) that benefits depend on."""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing yet."""
