"""Public corpora: one small file each, which says where to get it, checks the layout and lists its recordings.

`base` has the Corpus class and what they share; `mvector.registry.CORPORA` finds them by name.
"""
