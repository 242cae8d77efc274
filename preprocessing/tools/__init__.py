"""Keypoints from pose tools: one reader per format, and tracks and labels for all."""
