"""Figures of an evaluation, drawn without a screen: one module a figure, one style for all."""
