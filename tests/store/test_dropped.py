"""A Store or an Api that is dropped closes its connections: scripts seldom close anything."""

from __future__ import annotations

import gc
import sqlite3
from typing import Any

import psycopg
import pytest

import mirror
from mirror.store.store import Store


def is_open(connection: Any) -> bool:
    try:
        connection.cursor().execute("SELECT 1")
    except (sqlite3.ProgrammingError, psycopg.OperationalError) as error:
        return "closed" not in str(error)
    return True


@pytest.fixture
def made(store_url: str) -> str:
    Store.open(store_url, create=True, upgrade=True).close()
    return store_url


def test_a_dropped_store_closes_its_connections(made: str) -> None:
    store = Store.open(made)
    with store.read() as connection:
        driver = connection.connection.driver_connection
    assert is_open(driver)
    del store, connection
    gc.collect()
    assert not is_open(driver)


def test_a_dropped_api_closes_the_connection_that_watches_for_changes(made: str) -> None:
    api = mirror.Api(store=made, mode="offline")
    memo = api._service_api.held.memo
    assert memo.answer("question", lambda: 1) == 1
    driver = memo._cursor.connection
    assert is_open(driver)
    del api, memo
    gc.collect()
    assert not is_open(driver)
