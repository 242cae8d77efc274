"""The LightningModule, and weights of others."""
