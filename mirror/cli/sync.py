"""Commands that ask the server, or look after the asking: init, sync, status, verify, doctor, schedule."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.app import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PARTLY, cli
from mirror.cli.interrupting import stopped_by_signals
from mirror.cli.opening import opened
from mirror.cli.options import DURATION, common, one_of, project_argument, store_option
from mirror.cli.output import age, bytes_text, counted, json_text, print_table
from mirror.cli.progress import following

if TYPE_CHECKING:
    from mirror.doctor import Finding
    from mirror.status import ProjectStatus, Status
    from mirror.sync import Plan, SyncReport

base_url_option = click.option(
    "--base-url",
    metavar="URL",
    help="The W&B server.  [default: WANDB_BASE_URL, mirror.toml, W&B's own settings]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), default="mirror.toml", show_default=True, help="Where to write it.")  # fmt: skip
@click.option("--store", metavar="URL", help="The database to name in it: a file path or a URL.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(paths: Sequence[str], file: Path, store: str | None, force: bool) -> None:
    """Write a mirror.toml with every setting, its default and what it means.

    PATH is a project or a pattern that `mirror sync` shall take.

    \b
    mirror init "my-team/*" --store mirror.db
    """
    from mirror.config import template
    from mirror.paths import check_pattern

    for path in paths:
        check_pattern(path)
    if file.exists() and not force:
        raise click.UsageError(f"{file} is there already: --force writes over it")
    text = template(include=list(paths), store=store)
    try:
        file.write_text(text)
    except OSError as error:
        raise click.UsageError(f"cannot write {file}: {error.strerror}") from error
    next_step = "run" if paths else "name your projects in it, then run"
    click.echo(f"wrote {file}: {next_step} `mirror sync`")


# ------------------------------------------------------------------ sync


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--reconcile", is_flag=True, help="Compare every run with the server, not only what moved.")  # fmt: skip
@click.option("--full", is_flag=True, help="Read every document again, too.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what a sync would cost; write nothing.")  # fmt: skip
@click.option(
    "--watch", is_flag=True, help="Go on for ever, a round every interval of mirror.toml."
)
@click.option("--yes", is_flag=True, help="Mark runs as deleted even if many are missing.")
@click.option("--history", is_flag=True, help="Refused: histories are not mirrored yet.")
@click.option("--max-rps", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most so many requests a second.  [default: polite]")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@base_url_option
@json_option
@store_option
@common
@click.pass_context
def sync(ctx: click.Context, /, paths: Sequence[str], plan_only: bool, watch: bool, **options: Any) -> None:  # fmt: skip
    """Bring the mirror up to date with the server.

    PATH is entity/project, or a pattern such as "entity/*"; without one, what mirror.toml includes.
    It can be stopped at any moment and goes on from there.

    \b
    mirror sync my-team/vision
    mirror sync "my-team/*" --quiet
    mirror sync --reconcile
    """
    if options.pop("history"):
        raise click.UsageError(_NO_HISTORY)
    one_of(
        {"--plan": plan_only, "--watch": watch, "--reconcile": options["reconcile"] and plan_only}
    )
    run = _plan if plan_only else _watch if watch else _sync
    ctx.exit(run(list(paths) or None, **options))


_NO_HISTORY = (
    "histories (what `wandb.log` wrote, step by step) are not mirrored yet; `mirror sync` takes runs "
    "with config, summary and system metrics"
)


def _sync(paths: list[str] | None, *, quiet: bool, as_json: bool, **options: Any) -> int:
    from mirror.sync import sync

    with following(quiet=quiet) as on_event, stopped_by_signals() as stop:
        report = sync(paths, on_event=on_event, stopping=stop, **options)
    _say_what_found_no_project(report)
    if as_json:
        click.echo(json_text(report.to_dict(), indent=True))
    elif not quiet:
        _print_report(report)
    return EXIT_INTERRUPTED if stop.signal == signal.SIGINT else report.exit_code


def _say_what_found_no_project(report: SyncReport) -> None:
    """Say why a pattern could not be expanded: no project's events tell it."""
    for pattern in sorted(report.failures.keys() - {project.path for project in report.projects}):
        click.echo(f"{pattern}: {report.failures[pattern]}", err=True)


def _print_report(report: SyncReport) -> None:
    """Print a line a project; why one failed was said on standard error when it happened."""
    not_through = "stopped" if report.interrupted else "failed"
    for project in report.projects:
        click.echo(f"{project.path}: {not_through if project.error else _counts(project)}")
    click.echo(
        f"{counted(report.requests, 'request')}, {bytes_text(report.bytes)}, {report.elapsed_s:.1f} s"
        + (f", {counted(report.retries, 'retry')}" if report.retries else "")
    )


def _counts(project: Any) -> str:
    names = ("new", "changed", "tombstoned", "revived", "out_of_selection")
    said = [f"{getattr(project, n):,} {n.replace('_', ' ')}" for n in names if getattr(project, n)]
    for name, before, after in (("versions_new", "new ", ""), ("versions_gone", "", " gone")):
        if count := getattr(project, name):
            said.append(f"{counted(count, f'{before}version')}{after}")
    if project.registries_gone:
        said.append(f"registries gone: {project.registries_gone:,}")
    if project.quarantined:
        said.append(f"{len(project.quarantined):,} in quarantine")
    if project.failed_stages:
        said.append(f"not read: {', '.join(project.failed_stages)}")
    return ", ".join(said) or "nothing new"


def _plan(paths: list[str] | None, *, as_json: bool, **options: Any) -> int:
    from mirror.sync import plan

    names = ("store", "base_url", "config", "full")
    found = plan(paths, **{name: options[name] for name in names})
    if as_json:
        click.echo(json_text(found.to_dict(), indent=True))
    else:
        _print_plan(found)
    if not found.failures:
        return 0
    asked = [project for project in found.projects if project.kind != "registries"]
    return EXIT_PARTLY if asked else EXIT_FAILED


def _print_plan(plan: Plan) -> None:
    names = (
        "project", "kind", "on the server", "mirrored", "to read", "versions", "requests", "bytes"
    )  # fmt: skip
    rows = [
        (
            p.path,
            p.kind,
            p.server_count,
            p.mirrored,
            p.runs,
            p.versions,
            p.requests,
            bytes_text(p.bytes),
        )
        for p in plan.projects
    ]
    print_table(names, rows, right=names[2:])
    for path, problem in plan.failures.items():
        click.echo(f"{path}: {problem}", err=True)
    click.echo(
        f"in all {counted(plan.requests, 'request')}, {bytes_text(plan.bytes)}, {counted(plan.runs, 'run')}; "
        f"nothing was written, asking took {counted(plan.spent_requests, 'request')}"
    )


def _watch(paths: list[str] | None, *, quiet: bool, as_json: bool, **options: Any) -> int:
    from mirror.config import resolve
    from mirror.sync import sync
    from mirror.sync.daemon import watch

    named = {name: options.pop(name) for name in ("store", "base_url", "config")}
    with following(quiet=quiet) as on_event:
        watch(
            lambda: resolve(**named),
            lambda settings, stopping: sync(
                paths, config=settings, stopping=stopping, on_event=on_event, **options
            ),
            on_event=on_event,
            on_report=_print_round if as_json else lambda report: _say_round(report, quiet),
        )
    return 0


def _print_round(report: SyncReport) -> None:
    _say_what_found_no_project(report)
    click.echo(json_text(report.to_dict()))
    sys.stdout.flush()


def _say_round(report: SyncReport, quiet: bool) -> None:
    _say_what_found_no_project(report)
    if not quiet:
        _print_report(report)
        sys.stdout.flush()


# ------------------------------------------------------------------ status


@cli.command()
@project_argument(required=False)
@click.option("--max-age", type=DURATION, help="Exit 3 if a project is older, such as 6h.")
@click.option("--syncs", type=click.IntRange(min=0), default=5, show_default=True, help="So many entries of the sync log.")  # fmt: skip
@json_option
@store_option
@common
@click.pass_context
def status(
    ctx: click.Context,
    path: str | None,
    max_age: int | None,
    syncs: int,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Show how fresh the mirror is, what is in it, and what went wrong lately.

    \b
    mirror status
    mirror status --max-age 6h || echo "the mirror is stale"
    """
    from mirror.status import status as read_status

    with opened(store, config) as mirrored:
        only = None if path is None else mirrored.project(path).path
        found = read_status(mirrored.store, path=only, syncs=syncs)
    stale = [] if max_age is None else found.stale(max_age)
    if as_json:
        click.echo(json_text({**found.to_dict(), "stale": [p.path for p in stale]}, indent=True))
    else:
        _print_status(found, stale)
    ctx.exit(EXIT_PARTLY if stale else 0)


def _print_status(found: Status, stale: Sequence[ProjectStatus]) -> None:
    click.echo(f"{found.store}  revision {found.revision}, {bytes_text(found.size_bytes)}")
    if found.holder:
        click.echo(f"syncing now: {found.holder}")
    names = (
        "project",
        "fresh as of",
        "runs",
        "unfinished",
        "deleted",
        "behind",
        "reconciled",
        "note",
    )
    rows = [_status_row(project) for project in found.projects]
    print_table(names, rows, right=("runs", "unfinished", "deleted", "behind"))
    for project in found.projects:
        if project.last_error:
            click.echo(f"{project.path}: failed at {project.last_error_at}: {project.last_error}")
    for org in found.organizations:
        read = age(org.age_s) if org.synced_at else "never"
        click.echo(f"registries of {org.name}: {org.registries:,}, last read whole: {read}")
        if org.last_error:
            click.echo(f"  not read at {org.last_error_at}: {org.last_error}")
    for one in stale:
        click.echo(f"stale: {one.path}, {age(one.age_s)}")
    if found.syncs:
        click.echo("\nlast syncs:")
        print_table(
            ("started", "took", "project", "kind", "outcome", "error"),
            [(s.started_at, s.took, s.path, s.kind, s.outcome, s.error) for s in found.syncs],
        )


def _status_row(project: ProjectStatus) -> tuple[Any, ...]:
    return (
        project.path,
        age(project.age_s),
        project.runs,
        project.unfinished,
        project.tombstones,
        project.behind,
        project.reconciled_at,
        project.note,
    )


# ------------------------------------------------------------------ verify


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--deep", is_flag=True, help="Read the documents, too, and compare them byte for byte.")  # fmt: skip
@base_url_option
@json_option
@store_option
@common
@click.pass_context
def verify(
    ctx: click.Context,
    paths: Sequence[str],
    deep: bool,
    base_url: str | None,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Compare the mirror with the server and list every difference; nothing is written.

    Exits 3 if there is a difference that is an error.

    \b
    mirror verify my-team/vision --deep
    """
    from mirror.sync import verify as compare

    found = compare(list(paths) or None, deep=deep, base_url=base_url, store=store, config=config)
    if as_json:
        click.echo(json_text([asdict(each) for each in found], indent=True))
    else:
        rows = [(d.severity, d.kind, d.path, d.name, d.detail) for d in found]
        if rows:
            print_table(("severity", "kind", "project", "run", "what differs"), rows)
        errors = sum(each.severity == "error" for each in found)
        said = f"{counted(errors, 'error')} in {counted(len(found), 'difference')}"
        click.echo(said if found else "no difference")
    ctx.exit(EXIT_PARTLY if any(each.severity == "error" for each in found) else 0)


# ------------------------------------------------------------------ doctor


@cli.command()
@base_url_option
@json_option
@store_option
@common
@click.pass_context
def doctor(
    ctx: click.Context,
    base_url: str | None,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Check settings, key, server, clock, database, disk and lease; say what to do about each.

    Exits 1 if something does not work. The key itself is never shown.

    \b
    mirror doctor
    """
    from mirror.doctor import examine

    found = list(examine(store=store, config=config, base_url=base_url))
    if as_json:
        click.echo(json_text([asdict(each) for each in found], indent=True))
    else:
        _print_findings(found)
    ctx.exit(EXIT_FAILED if any(each.level == "problem" for each in found) else 0)


def _print_findings(found: Sequence[Finding]) -> None:
    marks = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
    for each in found:
        click.echo(f"{marks[each.level]}  {each.check}: {each.found}")
        if each.remedy:
            click.echo(f"{' ' * 9}→ {each.remedy}")


# ------------------------------------------------------------------ schedule


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--cron", is_flag=True, help="A line for crontab -e.")
@click.option("--systemd", is_flag=True, help="A service and a timer for systemctl --user.")
@click.option("--launchd", is_flag=True, help="A property list for launchctl (macOS).")
@click.option("--every", type=DURATION, default="15m", show_default=True, help="How often.")
@click.option("--store", metavar="URL", help="The --store of the command that is run.")
@click.option("--config", metavar="FILE", help="The --config of the command that is run.")
def schedule(
    paths: Sequence[str],
    cron: bool,
    systemd: bool,
    launchd: bool,
    every: int,
    store: str | None,
    config: str | None,
) -> None:
    """Print what makes the system run `mirror sync` regularly; nothing is installed.

    \b
    mirror schedule --cron --every 15m
    mirror schedule --systemd --every 10m "my-team/*"
    """
    from mirror import schedule as texts

    how = one_of({"cron": cron, "systemd": systemd, "launchd": launchd})
    if how is None:
        raise click.UsageError("say which: --cron, --systemd or --launchd")
    write = {"cron": texts.cron, "systemd": texts.systemd, "launchd": texts.launchd}[how]
    command = _sync_command(paths, store, config)
    click.echo(write(command, every_s=every, folder=str(Path.cwd())), nl=False)


def _sync_command(paths: Sequence[str], store: str | None, config: str | None) -> list[str]:
    """The command line of a sync by this installation, which does not depend on the PATH."""
    beside = Path(sys.executable).with_name("mirror")
    program = str(beside) if beside.exists() else shutil.which("mirror")
    command = [program] if program else [sys.executable, "-m", "mirror"]
    command += ["sync", "--quiet"]
    for name, value in (("--store", store), ("--config", config)):
        command += [name, value] if value else []
    return [*command, *paths]
