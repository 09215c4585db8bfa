"""Language models: AWD-LSTM, its training text and its perplexity."""
