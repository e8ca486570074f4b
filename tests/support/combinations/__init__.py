"""Every legal combination of the secure channels as data, and what runs one; begin with `table`."""
