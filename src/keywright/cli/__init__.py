"""The command line: `keywright NOUN VERB`."""
