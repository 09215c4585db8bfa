"""What do I have? An ESPnet experiment: its config, layers, weights."""
