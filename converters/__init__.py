"""One file per foreign format: `plan` a source, `read` its episodes, `write` where the format is a target too.

`base.py` says what a converter owes and `mapping.py` how a source's columns become an episode's features.
Nothing here knows how an episode is stored.
"""
