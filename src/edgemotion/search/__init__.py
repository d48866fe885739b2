"""The search for the Pareto front of accuracy, latency and size, on train and val alone."""
