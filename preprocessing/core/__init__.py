"""What all sources share: the interface, the runner, files and layouts."""
