"""Reading picture and sound, writing sound."""
