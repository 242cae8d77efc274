"""Names of the metrics that runs log."""

EVERY_EPOCH = ("train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "val/mean_class")
AT_THE_END = ("test/loss", "test/top1", "test/top5", "test/mean_class", "params", "gmacs",
              "latency_ms")
