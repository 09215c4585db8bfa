"""Commands: `get_parser()` and `main(cmd=None)`, one call into the library each."""
