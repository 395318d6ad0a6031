"""What the server remembers: SQLAlchemy 2, one set of statements for SQLite and PostgreSQL."""
