"""Arms with exponential neurons ([A]): the limits that their paths to infinity lead to."""
