"""The audit sealed and append-only; what terminals felt, and the traces of requests.

Rows of the audit from before are sealed as they are found, at the end of a slot of their own.
"""

import sqlalchemy as sa
from alembic import op

from ledger.sealing import seal

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SEQUENCE_BITS = 40
_ROWS_OF_SEAL = 500
_COLUMNS = (
    "recorded_time_ms", "institution_no", "terminal_no", "operator_no", "action", "subject",
    "detail",
)  # fmt: skip
_NAMES = ", ".join(_COLUMNS)


def upgrade() -> None:
    """Make them."""
    _seal_the_audit()
    _refuse_changes()
    op.add_column(
        "request_stage",
        sa.Column("trace", sa.LargeBinary(16), nullable=False, server_default=sa.text("''")),
    )
    op.create_table(
        "request_felt",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("took_us", sa.BigInteger(), nullable=False),
        sa.Column("sends", sa.BigInteger(), nullable=False),
        sa.Column("stages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("msgid", "terminal_no", "institution_no", "recorded_time_ms"),
    )


def _seal_the_audit() -> None:
    connection = op.get_bind()
    op.rename_table("audit", "audit_before")
    op.create_table(
        "audit",
        sa.Column("seal_no", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("seal_no", "line", name="audit_of_seal"),
        sqlite_with_rowid=False,
    )
    slot = connection.scalar(sa.text("SELECT coalesce(max(slot), 0) + 1 FROM writer_slot"))
    sequence, head, last_no = 0, bytes(32), -(2**63)
    while rows := connection.execute(
        sa.text(
            f"SELECT audit_no, {_NAMES} FROM audit_before"  # noqa: S608 - our own names
            " WHERE audit_no > :last ORDER BY audit_no LIMIT :count"
        ),
        {"last": last_no, "count": _ROWS_OF_SEAL},
    ).fetchall():
        last_no = rows[-1][0]
        sequence += 1
        seal_no = slot << _SEQUENCE_BITS | sequence
        sealed = [(seal_no, line, *row[1:]) for line, row in enumerate(rows, 1)]
        head, checks = seal(head, {"audit": sealed})
        connection.execute(
            sa.text(
                f"INSERT INTO audit (seal_no, line, {_NAMES}) VALUES"  # noqa: S608 - our own names
                f" (:seal_no, :line, {', '.join(f':{name}' for name in _COLUMNS)})"
            ),
            [dict(zip(("seal_no", "line", *_COLUMNS), row, strict=True)) for row in sealed],
        )
        connection.execute(
            sa.text(
                "INSERT INTO seal (slot, last_sequence, first_sequence, digest, checks)"
                " VALUES (:slot, :sequence, :sequence, :digest, :checks)"
            ),
            {"slot": slot, "sequence": sequence, "digest": head, "checks": checks},
        )
    if sequence:
        connection.execute(
            sa.text(
                "INSERT INTO writer_slot (slot, owner, lease_until_ms, sequence, chain_head)"
                " VALUES (:slot, '', 0, :sequence, :head)"
            ),
            {"slot": slot, "sequence": sequence, "head": head},
        )
    op.drop_table("audit_before")


def _refuse_changes() -> None:
    """Have the database itself refuse whatever is no new row."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit BEGIN"
                " SELECT RAISE(ABORT, 'the audit is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )
