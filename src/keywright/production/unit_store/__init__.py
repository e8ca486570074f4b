"""The unit store: every unit of a lot as a row, in SQLite or PostgreSQL, and who may change which row."""
