"""Which retraining next?"""
