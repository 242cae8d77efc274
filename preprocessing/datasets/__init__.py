"""Published data sets, each in its own format."""
