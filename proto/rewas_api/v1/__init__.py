"""Code generated from rewas/v1/rewas.proto by scripts/dev/generate_contract.py; do not edit."""
