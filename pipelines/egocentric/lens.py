"""The lens of the camera that saw the hands, as the episode's meta says it."""

from __future__ import annotations

from dataengine.episode import Episode
from dataengine.errors import ConfigError, EpisodeError
from dataengine.lens import Lens


def lens_of(episode: Episode, width: int, height: int) -> Lens | None:
    """For pictures of this size; None where the episode does not say its lens. Raises `EpisodeError` for numbers that
    are no lens."""
    said = episode.meta.extra.get("camera")
    if said is None:
        return None
    try:
        fx, fy, cx, cy = (float(said[name]) for name in ("fx", "fy", "cx", "cy"))
        wide, high = int(said.get("width", width)), int(said.get("height", height))
        distortion = tuple(float(number) for number in said.get("distortion") or ())
        lens = Lens(width=wide, height=high, fx=fx, fy=fy, cx=cx, cy=cy, distortion=distortion)
        return lens.stretched(width, height)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise EpisodeError(episode.id, f"its meta's camera is no lens: {type(error).__name__} {error}") from error
    except ConfigError as error:
        raise EpisodeError(episode.id, f"its meta's camera is no lens: {error}") from error
