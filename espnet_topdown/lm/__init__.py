"""Language models: AWD-LSTM, its training text and its perplexity."""

from espnet_topdown.models import type_checks

type_checks.leave_out()
