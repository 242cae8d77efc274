"""Runs a sweep file without a server."""
