"""The life of a run: its folder, its record, its checkpoints."""
