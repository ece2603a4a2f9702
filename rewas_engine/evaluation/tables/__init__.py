"""The tables of the papers, measured on any folder of clips."""
