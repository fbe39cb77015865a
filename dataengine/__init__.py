"""What an episode is, and how one is kept, moved and proven.

Holds the episode, clips and codecs, the on-disk store, the Dask flow, the embedded world, Hub access,
guards for untrusted input and the protocols of all parts. Stands below every other room: nothing here
imports `collectors`, `converters`, `annotators` or `pipelines`; their parts are asked for by name.
"""
