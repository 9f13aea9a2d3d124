"""One sync round a store: who holds it, who may take it over, and what a lost lease does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import sqlalchemy as sa

from mirror.errors import StoreBusy
from mirror.store import tables
from mirror.sync import lease


def test_a_second_holder_is_told_who_holds_it_since_when(store):
    with lease.held(store), pytest.raises(StoreBusy) as caught, lease.held(store):
        pass
    assert f"process {os.getpid()} on {socket.gethostname()} since 20" in str(caught.value)
    assert caught.value.since is not None
    assert lease.holder(store) is None


def test_a_lease_whose_holder_died_is_taken_over(store):
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    with store.begin() as tx:
        tx.execute(sa.update(tables.leases).values(
            owner="process gone", host=socket.gethostname(), pid=int(child.stdout),
            heartbeat_at_us=2**60, token=7,
        ))  # fmt: skip
    with lease.held(store) as token:
        assert token == 8


def test_a_lease_of_another_host_is_taken_over_once_its_heartbeat_is_old(store):
    with store.begin() as tx:
        tx.execute(
            sa.update(tables.leases).values(
                owner="process 1", host="elsewhere", pid=1, heartbeat_at_us=1, token=3
            )
        )
    with lease.held(store) as token:
        assert token == 4


def test_a_lost_lease_fails_the_next_commit_and_writes_nothing(store):
    with lease.held(store) as token:
        with store.begin() as tx:
            tx.execute(
                sa.update(tables.leases).values(
                    owner="process 9", host="elsewhere", token=token + 1
                )
            )
        with (
            pytest.raises(StoreBusy, match="taken over by process 9"),
            store.begin(lease=token) as tx,
        ):
            tx.set_meta("written", "yes")
        assert store.meta("written") is None
