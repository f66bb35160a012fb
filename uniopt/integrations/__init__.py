"""uniopt's transformations in the form that each framework's training loops expect."""
