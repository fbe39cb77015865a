"""What a person sees and touches: the page of a sitting and the server that lets one driver, and many watchers, in.

It knows `messages.py` and nothing else of a session; `server.py` opens the doors, `room.py` holds all pages.
"""
