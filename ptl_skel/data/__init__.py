"""From clips of a keypoint file to batches on the device: sampling, transforms, loaders."""
