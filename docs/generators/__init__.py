"""What `make docs` takes from the program: one module for each subject, each with `FILES` or `PARTS`.

`FILES` maps a path below the checkout to a function that returns the whole file; `PARTS` maps a page to its parts:
the name between the markers, and a function that returns what stands there.
"""
