"""Schemes in the form of `ccc.scheme`, one module each."""
