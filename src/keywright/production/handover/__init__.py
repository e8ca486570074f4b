"""What is done with finished units: ledger, signed records and their outbox, manifest, labels, the closing of a lot."""
