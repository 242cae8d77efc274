"""The LightningModule, and loading of published weights."""
