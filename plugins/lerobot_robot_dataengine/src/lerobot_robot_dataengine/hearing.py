"""Where episodes begin: LeRobot has no hook for it, but it tells the person, and a robot can hear that as well.

`lerobot-record` and the episodic strategy of `lerobot-rollout` announce "Recording episode N" through `log_say`, which
always logs the words, spoken or not, right before the first observation. N is the dataset's own number: it goes on
after `--resume=true` and stays after a redo.
"""

from __future__ import annotations

import logging
import re

SAID = re.compile(r"Recording episode (\d+)")


class Hearing(logging.Handler):
    """Remembers the last episode that was announced until somebody asks."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._episode: int | None = None
        self.recording = False

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, str) and (said := SAID.fullmatch(record.getMessage())):
            self._episode, self.recording = int(said[1]), True

    def start(self) -> None:
        """Listen at the root logger, where `log_say` speaks. LeRobot clears its handlers before robots are made."""
        self._episode, self.recording = None, False
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self)

    def announced(self) -> int | None:
        """The episode that was announced since the last call."""
        episode, self._episode = self._episode, None
        return episode
