"""Kaldi-style data directories without Kaldi, and one module per corpus."""
