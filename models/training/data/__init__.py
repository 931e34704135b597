"""Labelled cells: manifests, pixels, duplicates, folds, the LMU data set."""
