"""One retraining: planned, prepared, run, verified."""
