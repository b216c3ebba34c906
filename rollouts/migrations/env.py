"""What Alembic runs for a migration: the steps, in the transaction of a connection that it is given."""

from alembic import context

from rollouts.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
