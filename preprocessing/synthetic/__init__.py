"""A procedural data set in the format of NTU RGB+D."""
