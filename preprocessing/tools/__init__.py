"""Keypoints of pose tools: one reader for each tool's format, tracks and labels for all."""
