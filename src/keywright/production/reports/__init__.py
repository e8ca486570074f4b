"""What became of a lot, for people: figures, pages, pictures."""
