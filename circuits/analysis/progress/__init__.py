"""Progress measures, their onsets and lags behind test accuracy."""
