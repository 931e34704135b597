"""What predictions are worth: figures, intervals, tables, plots."""
