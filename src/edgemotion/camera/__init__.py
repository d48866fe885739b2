"""A camera, a film or rendered faces in; each face's emotion, live and smoothed, out, without torch."""

from edgemotion.camera.feed import Frame, Source
from edgemotion.camera.loop import main, run
from edgemotion.camera.report import Report, describe
from edgemotion.camera.sources import Camera, Video
from edgemotion.camera.synthetic import Synthetic

__all__ = ["Camera", "Frame", "Report", "Source", "Synthetic", "Video", "describe", "main", "run"]
