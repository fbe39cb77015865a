"""The reference policy: a small vision-language-action model that reads in one sitting and trains on two cores.

`train` learns from any store, `load_policy` gives back a `dataengine.plugins.Policy`; `stock` hands the same store
to LeRobot's own policies instead. Read `model.py` first, then `train.py`. Worlds and rollouts are elsewhere.
"""
