"""The YAML files that ship with the package."""
