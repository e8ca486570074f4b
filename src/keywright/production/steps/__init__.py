"""The steps a recipe may name: one module each, found by `table.step`.

A step is a module with `run(job, parameters)`, a dialogue that may be run again at any time: what it did before it
finds in the job's history, what was left uncertain it probes.
"""
