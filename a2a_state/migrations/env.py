"""Run by alembic, on the connection that ``a2a_state.migrate`` hands over."""

from alembic import context

from a2a_state.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
