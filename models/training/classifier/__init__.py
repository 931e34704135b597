"""Training the classifier: recipes, data order, augmentation, runs, calibration, export."""
