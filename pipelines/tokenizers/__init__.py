"""Action tokenizers: chunks of actions to integers and back, fitted on a store.

`chunks.py` cuts a store into action chunks; each tokenizer is one file that fits on chunks, encodes, decodes,
saves and loads; `jobs.py` fits one on a finished store, measures it on held-out episodes and labels frames.
"""
