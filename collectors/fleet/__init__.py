"""A fleet: many recorders stream whole episodes into one growing store, over HTTP, and a learner reads it meanwhile.

`offer` is what an episode looks like on the wire. The service: `gate` (who may ask), `inbox` (uploads that are not
whole yet), `intake` (checks what came, as one does with strangers), `committer` (the one writer), `service` (the
addresses). The recorder's side: `packing`, `wire`, `push`. docs/fleet.md has the protocol and what it promises.
"""
