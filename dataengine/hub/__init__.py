"""The Hugging Face Hub: what may leave, how it leaves in one commit, and a local stand-in to rehearse on.

`preflight.py` says what speaks against publishing, `card.py` and `croissant.py` describe the dataset,
`publish.py` sends it with the real client, `server.py` is a Hub small enough to run beside a test.
"""
