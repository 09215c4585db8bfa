"""Error counts that equal sclite's, and the interval of a difference."""
