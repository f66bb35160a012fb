"""The transformations that are chained around a rule, and that aliases are made of: one idea a file."""
