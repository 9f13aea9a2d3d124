"""Errors of the facade: of two families where wandb is loaded, of one elsewhere; all of them pickle."""

from __future__ import annotations

import pickle

import pytest
import wandb.apis.public.runs
import wandb.errors
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from mirror import errors
from mirror.api.raising import adapt, edge, normalized

CASES = [
    pytest.param(errors.NotMirrored("x", path="a/b"), wandb.errors.CommError, id="not mirrored"),
    pytest.param(errors.StaleError("x", path="a/b"), wandb.errors.CommError, id="stale"),
    pytest.param(errors.OfflineError("no"), wandb.errors.CommError, id="offline"),
    pytest.param(errors.StoreError("no"), wandb.errors.CommError, id="store"),
    pytest.param(errors.CommError("no", KeyError("k")), wandb.errors.CommError, id="comm"),
    pytest.param(errors.UnsupportedError("no"), wandb.errors.UnsupportedError, id="unsupported"),
    pytest.param(errors.UsageError("no", {"a": "b"}), wandb.errors.UsageError, id="usage"),
    pytest.param(errors.AuthenticationError("no"), wandb.errors.AuthenticationError, id="key"),
    pytest.param(errors.Unreachable("no"), WandbApiFailedError, id="unreachable, unwrapped"),
    pytest.param(errors.Unreachable("no"), wandb.errors.CommError, id="unreachable, wrapped"),
    pytest.param(errors.GraphQLError("Op", ["bad"], status=400), WandbApiFailedError, id="refused"),
    pytest.param(errors.RateLimited("no", retry_after_s=3), WandbApiFailedError, id="limited"),
    pytest.param(errors.QueryError("$and", "bad", "do"), WandbApiFailedError, id="query"),
    pytest.param(errors.RunNotFoundError("no"), wandb.apis.public.runs.RunNotFoundError, id="run"),
]


@pytest.mark.parametrize(("error", "theirs"), CASES)
def test_an_error_is_caught_by_both_families_and_says_the_same(
    error: errors.MirrorError, theirs: type[Exception]
) -> None:
    adapted = adapt(error)
    assert isinstance(adapted, type(error))
    assert isinstance(adapted, theirs)
    assert str(adapted) == str(error)
    assert {name: getattr(adapted, name) for name in vars(error)} == vars(error)
    assert adapt(adapted) is adapted


@pytest.mark.parametrize(("error", "theirs"), CASES)
def test_an_error_of_both_families_pickles(
    error: errors.MirrorError, theirs: type[Exception]
) -> None:
    again = pickle.loads(pickle.dumps(adapt(error)))
    assert isinstance(again, theirs)
    assert isinstance(again, type(error))
    assert str(again) == str(error)
    assert type(again) is type(adapt(error)), "one class for each pair"


@pytest.mark.parametrize("error", [case.values[0] for case in CASES])
def test_an_error_of_ours_alone_pickles(error: errors.MirrorError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    assert {k: repr(v) for k, v in vars(again).items()} == {
        k: repr(v) for k, v in vars(error).items()
    }


@pytest.mark.parametrize("inner", [ValueError("bad"), KeyError("k"), IndexError("i")])
def test_a_normalized_member_raises_comm_errors_with_the_cause(inner: Exception) -> None:
    @normalized
    def member() -> None:
        raise inner

    with pytest.raises(errors.CommError) as caught:
        member()
    assert caught.value.exc is inner
    assert str(caught.value) == str(inner)


def test_a_normalized_member_leaves_not_mirrored_what_it_is() -> None:
    @normalized
    def member() -> None:
        raise errors.NotMirrored("project 'a/b'", path="a/b")

    with pytest.raises(errors.NotMirrored) as caught:
        member()
    assert caught.value.path == "a/b"
    assert not isinstance(caught.value, errors.CommError)


def test_the_edge_keeps_the_cause() -> None:
    cause = OSError("disk")

    @edge
    def member() -> None:
        raise errors.StoreError("no") from cause

    with pytest.raises(wandb.errors.CommError) as caught:
        member()
    assert caught.value.__cause__ is cause


def test_what_is_no_error_of_ours_passes_the_edge() -> None:
    @edge
    def member() -> None:
        raise ValueError("plain")

    with pytest.raises(ValueError, match="plain") as caught:
        member()
    assert type(caught.value) is ValueError
