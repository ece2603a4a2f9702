"""Running a pack: devices, precision, memory, caching, locks, atomic files and progress."""
