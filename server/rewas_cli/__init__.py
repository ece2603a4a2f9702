"""The `rewas` command."""
