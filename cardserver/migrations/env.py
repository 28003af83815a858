"""Alembic's entry: run the steps on the connection that `schema.upgrade` hands over."""

from alembic import context

from cardserver.migrations.tables import METADATAS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=list(METADATAS),
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
