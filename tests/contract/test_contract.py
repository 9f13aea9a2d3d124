"""One script, two clients: whatever a script can see of `wandb.Api` it sees of `mirror.Api`.

The real client asks the sandbox; ours is offline over a store synced from it, on both engines.
"""

from __future__ import annotations

from typing import Any

import catalogue
import listings
import pytest
import through
import values
from compare import Script, outcome, plain, same
from members import OBJECTS, members_of

SCRIPTS: dict[str, Script] = {**values.SCRIPTS, **listings.SCRIPTS, **catalogue.SCRIPTS}

_judged: dict[str, Any] = {}


def judged(name: str, script: Script, real: Any) -> Any:
    """What the real client does with a script; asked once for both engines."""
    if name not in _judged:
        _judged[name] = outcome(script, real)
    return _judged[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_the_same_on_both(name: str, real: Any, mirrored: Any) -> None:
    found, wanted = outcome(SCRIPTS[name], mirrored), judged(name, SCRIPTS[name], real)
    assert same(found, wanted), _difference(found, wanted)


@pytest.mark.parametrize("name", through.SCRIPTS)
def test_what_needs_the_server_is_read_through_and_then_kept(
    name: str, real: Any, reading: Any, mirrored: Any
) -> None:
    script = through.SCRIPTS[name]
    expected = judged(name, script, real)
    for api in (reading, mirrored):  # the second is offline
        found = outcome(script, api)
        assert same(found, expected), _difference(found, expected)


@pytest.mark.parametrize("name", through.LIVE)
def test_what_is_never_kept_is_passed_to_the_server(name: str, real: Any, reading: Any) -> None:
    script = through.LIVE[name]
    assert same(outcome(script, reading), judged(name, script, real))


@pytest.mark.parametrize("name", OBJECTS)
def test_every_member_of_an_object_answers_alike(name: str, real: Any, mirrored: Any) -> None:
    for api in (real, mirrored):  # both keep listings, and what other tests have loaded of them
        for kept in (api._projects, api._reports, api._runs, api._sweeps):
            kept.clear()
    theirs, ours = OBJECTS[name](real), OBJECTS[name](mirrored)
    assert plain(ours) == plain(theirs)
    differing = {}
    for member in members_of(theirs):
        wanted = outcome(lambda _api, m=member: _seen(getattr(theirs, m)), real)
        found = outcome(lambda _api, m=member: _seen(getattr(ours, m)), mirrored)
        if not same(found, wanted):
            differing[member] = (wanted, found)
    assert not differing


def _difference(ours: Any, theirs: Any, where: str = "") -> str:
    """The first place where two plain values part."""
    alike = (
        type(ours) is type(theirs) and isinstance(ours, tuple | list) and len(ours) == len(theirs)
    )
    if alike:
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if mine != other:
                return _difference(mine, other, f"{where}[{place}]")
    return f"at {where or 'the top'}: mirror has {ours!r:.500}, wandb has {theirs!r:.500}"


def _seen(value: Any) -> Any:
    return "a method" if callable(value) and hasattr(value, "__func__") else value


def test_the_catalogue_has_scripts_enough() -> None:
    assert len(catalogue.SCRIPTS) >= 25
