"""One file per kind of label: a pure function of one episode, quality checks included.

What needs to see many episodes, or learns from them, belongs to `pipelines`.
"""
