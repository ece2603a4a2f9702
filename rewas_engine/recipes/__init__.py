"""Complete training runs: the starter pack, packs from user recordings, single parts, the judge, and model cards."""
