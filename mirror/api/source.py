"""Where the facade's answers come from: the store first, the server for what the mode lets through.

`Source` is what the object classes hold and ask. Its parts: `held` (the store), `door` (the rules),
and one class for each family of questions.
"""

from __future__ import annotations

from mirror.api.artifact_door import ArtifactDoor
from mirror.api.door import app_url
from mirror.api.held import Stored
from mirror.api.people_door import PeopleDoor
from mirror.api.run_door import RunDoor

__all__ = ["Source", "Stored", "app_url"]


class Source(RunDoor, ArtifactDoor, PeopleDoor):
    """A store, a server and every question about them. Opens neither before the first read."""
