"""Launchers with Kaldi's contract, for people without Kaldi.

``<cmd> [--option value].. [JOB=1:N] LOG command..`` blocks and exits 0 only if every
task succeeded. They only run what they are given: nothing here knows about training.
"""
