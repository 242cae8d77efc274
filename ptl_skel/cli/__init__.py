"""The command line, the only place that ties data and model together."""
