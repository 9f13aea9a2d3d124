"""Texts for cron, systemd and launchd."""

from __future__ import annotations

import plistlib
import shlex
from configparser import ConfigParser

import pytest

from mirror.errors import ConfigError
from mirror.schedule import cron, launchd, systemd

COMMAND = ["/opt/my env/bin/mirror", "sync", "--quiet", "team/100%", 'a"b$c']


@pytest.mark.parametrize(
    ("every_s", "when"),
    [
        (60, "* * * * *"),
        (300, "*/5 * * * *"),
        (1800, "*/30 * * * *"),
        (3600, "0 * * * *"),
        (21_600, "0 */6 * * *"),
        (86_400, "0 3 * * *"),
    ],
)
def test_cron_says_the_interval(every_s: int, when: str) -> None:
    assert cron(["mirror", "sync"], every_s=every_s, folder="/home/me").startswith(f"{when} cd ")


@pytest.mark.parametrize("every_s", [30, 90, 420, 7 * 3600, 2 * 86_400, 61])
def test_what_cron_cannot_say_is_refused_with_what_it_can(every_s: int) -> None:
    with pytest.raises(ConfigError, match=r"cron cannot say every .*choose minutes that divide 60"):
        cron(["mirror"], every_s=every_s, folder="/")


def test_a_cron_line_runs_the_command_in_its_folder() -> None:
    line = cron(COMMAND, every_s=300, folder="/home/me/my mirror")
    text = line.split(" ", 5)[5].strip()
    assert text.replace("\\%", "").count("%") == 0  # a bare % would end the command
    words = shlex.split(text.replace("\\%", "%"))
    assert words == ["cd", "/home/me/my mirror", "&&", *COMMAND]


def test_the_systemd_units_have_what_systemd_needs() -> None:
    text = systemd(COMMAND, every_s=600, folder="/home/me/100%")
    service, timer = text.split("# ~/.config/systemd/user/mirror-sync.timer")
    assert 'ExecStart="/opt/my env/bin/mirror" sync --quiet team/100%% "a\\"b$$c"' in service
    assert "WorkingDirectory=/home/me/100%%" in service
    units = ConfigParser(interpolation=None, strict=True)
    units.optionxform = str  # type: ignore[assignment,method-assign]
    units.read_string(service)
    assert units["Service"]["Type"] == "oneshot"
    units = ConfigParser(interpolation=None)
    units.read_string(timer)
    assert units["Timer"]["OnUnitInactiveSec"] == "600s"
    assert units["Install"]["WantedBy"] == "timers.target"


def test_the_launchd_list_is_a_property_list() -> None:
    text = launchd([*COMMAND, "<&>"], every_s=900, folder="/Users/me/<mirror>")
    found = plistlib.loads(text.encode())
    assert found["ProgramArguments"] == [*COMMAND, "<&>"]
    assert (found["StartInterval"], found["WorkingDirectory"]) == (900, "/Users/me/<mirror>")
