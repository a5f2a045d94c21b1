"""Data lists, trials, datasets and corpora. Import what you need from its module: nothing is imported here.

`lists` (data lists), `trials` (trial lists, enrollment maps, all pairs), `corpora/` (one file per public corpus).
"""
