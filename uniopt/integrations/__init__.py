"""uniopt's transformations as the optimizers of other libraries."""
