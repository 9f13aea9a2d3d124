"""Sync: everything between the remote client and the store. `sync` is the door, also for scripts.

from mirror.sync import sync
report = sync(["team/vision"], store="mirror.db")
"""

from __future__ import annotations

from mirror.sync.compare import Difference, verify
from mirror.sync.forecast import Plan, plan
from mirror.sync.report import Event, ProjectReport, SyncReport
from mirror.sync.round import sync

__all__ = ["Difference", "Event", "Plan", "ProjectReport", "SyncReport", "plan", "sync", "verify"]
