"""The revocation list: tables, and version 1 of what was revoked before there was a list."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BATCH_ROWS = 1_000


def upgrade() -> None:
    """Create the tables, and list the cards that may not be used."""
    op.create_table(
        "revocation",
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("card_no", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject"),
    )
    op.create_index("revocation_since", "revocation", ["version", "kind", "subject"], unique=True)
    op.create_index("revocation_card", "revocation", ["card_no"], unique=False)
    op.create_table(
        "revocation_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("made_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "revocation_list",
        sa.Column("list_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("list_no"),
    )
    _list_cards(op.get_bind())


def _list_cards(connection: sa.Connection) -> None:
    cards = connection.execute(
        sa.text(
            "SELECT c.card_no, c.profile, c.region, c.identity,"
            " CASE WHEN c.state <> 1 THEN c.state ELSE 5 END"
            " FROM card c LEFT JOIN person p ON p.person_no = c.person_no"
            " WHERE c.state <> 1 OR p.deceased_date IS NOT NULL"
        )
    ).all()
    if not cards:
        return
    rows = [
        {
            "subject": hashlib.sha256(
                f"card\0{profile}\0{region}\0".encode() + bytes(identity)
            ).digest()[:16],
            "card_no": card_no,
            "reason": reason,
        }
        for card_no, profile, region, identity, reason in cards
    ]
    for start in range(0, len(rows), _BATCH_ROWS):
        connection.execute(
            sa.text(
                "INSERT INTO revocation (kind, subject, card_no, reason, version)"
                " VALUES (1, :subject, :card_no, :reason, 1)"
            ),
            rows[start : start + _BATCH_ROWS],
        )
    # The time of this change is not known: it was before any list was asked for.
    connection.execute(sa.text("INSERT INTO revocation_version VALUES (1, 0)"))
    connection.execute(sa.text("INSERT INTO revocation_list VALUES (1, 1)"))
