"""Ray carries a lot over many stations and machines; the unit store alone says what is done and by whom.

Nothing here is imported, and Ray least of all, unless a lot runs with `--engine ray://…`.
"""
