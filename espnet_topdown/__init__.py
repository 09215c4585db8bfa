"""Top-down training for ESPnet: train the classifier first, then everything below."""

__version__ = "0.1.0"
