"""The resident model process: the networks of one machine, loaded once, for all its slides.

`server` and what it imports load torch; `client` and what it imports do not.
"""
