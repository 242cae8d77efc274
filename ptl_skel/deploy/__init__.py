"""Trained networks outside PyTorch: ONNX files that take keypoints, and their runtime.

Nothing is imported here: `ptl_skel.deploy.runtime` works without torch.
"""
