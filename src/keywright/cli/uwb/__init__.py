"""`keywright uwb`: the ranging laboratory on the command line."""
