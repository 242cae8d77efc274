"""What every source shares: the contract, the runner, files and layouts."""
