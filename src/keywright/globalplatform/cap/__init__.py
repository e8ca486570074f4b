"""CAP files: Java Card packages as they are kept, checked, signed and loaded (Java Card VM specification, 6)."""
