"""One try of one job in a worker, between the operators and the decisions in jobs."""
