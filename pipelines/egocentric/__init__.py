"""Episodes that hold a person's hands: cut where the hands do something. What a robot makes of them is `retarget`."""
