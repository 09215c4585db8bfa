"""ESPnet's recurrent modules, fast on a CPU with the same numbers."""
