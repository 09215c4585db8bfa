"""Error counts that equal sclite's, and significance tests."""
