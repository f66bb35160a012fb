"""Conformance of optimizers and array libraries: references, problems, reports."""
