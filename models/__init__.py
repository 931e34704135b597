"""Networks, cards, weights and training. Knows arrays, not slides or HTTP."""
