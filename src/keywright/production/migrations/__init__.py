"""The unit store's schema, one file per change in `versions`, and what brings an older store up to date.

To change the schema: change `unit_store.tables`, add `versions/vNNNN_what.py` whose `down_revision` is the
newest one, and set `tables.HEAD` to it. Published versions are never edited.
"""
