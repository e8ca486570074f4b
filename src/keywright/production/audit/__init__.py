"""The audit log: what was done to a lot, by whom, so that nobody can change it afterwards without being found."""
