"""A read-only web page on loopback: the server, its queue, and its latest sounds."""
