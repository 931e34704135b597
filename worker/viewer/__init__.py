"""Serves pixels of slides to the api: each slide is opened in a process that can be killed.

`python -m worker viewer` starts `serving`: the `app`, whose `pool` holds one `slide_process` per
slide in view, each running `child`, which renders by `rendering` on the grid of `deep_zoom`.
"""
