"""All sounds of a timeline as one durable job: finished sounds are kept, and a repeat generates only the rest."""
