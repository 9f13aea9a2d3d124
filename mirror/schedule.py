"""Texts that make a system run `mirror sync` regularly: a cron line, systemd units, a launchd plist.

Pure: nothing is installed or written. The texts name no key; each says where to put one.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from xml.sax.saxutils import escape

from mirror.errors import ConfigError

__all__ = ["cron", "launchd", "systemd"]

_LABEL = "mirror-sync"


def cron(command: Sequence[str], *, every_s: int, folder: str) -> str:
    """Return a crontab line that runs `command` in `folder` every so often.

    Raises ConfigError for what cron cannot say: it counts in minutes that divide an hour, hours that
    divide a day, or days.
    """
    when = _cron_when(every_s)
    line = f"cd {shlex.quote(folder)} && {shlex.join(command)}"
    # A bare % ends the command in a crontab.
    return f"{when} {line.replace('%', chr(92) + '%')}\n"


def _cron_when(every_s: int) -> str:
    minutes, rest = divmod(every_s, 60)
    if not rest and 0 < minutes < 60 and 60 % minutes == 0:
        return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    hours, rest = divmod(every_s, 3600)
    if not rest and 0 < hours < 24 and 24 % hours == 0:
        return "0 * * * *" if hours == 1 else f"0 */{hours} * * *"
    if every_s == 86_400:
        return "0 3 * * *"
    raise ConfigError(
        f"cron cannot say every {every_s} s: choose minutes that divide 60 (5m, 10m, 15m), hours that "
        "divide 24 (1h, 6h) or 1d; or use --systemd, which takes any interval"
    )


def systemd(command: Sequence[str], *, every_s: int, folder: str) -> str:
    """Return a service and a timer for `systemctl --user`, one after the other, with where to put them."""
    run = " ".join(_systemd_quoted(part) for part in command)
    return f"""\
# ~/.config/systemd/user/{_LABEL}.service
[Unit]
Description=Mirror Weights & Biases
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={_systemd_path(folder)}
ExecStart={run}
# 3: some projects or runs are not fresh. 4: another sync is at work. The timer tries again.
SuccessExitStatus=3 4
# The key: from ~/.netrc, or from a file that only you can read with WANDB_API_KEY=... in it.
EnvironmentFile=-%h/.config/mirror/environment

# ~/.config/systemd/user/{_LABEL}.timer
[Unit]
Description=Mirror Weights & Biases regularly

[Timer]
OnStartupSec=2min
OnUnitInactiveSec={every_s}s
RandomizedDelaySec={max(1, every_s // 20)}s

[Install]
WantedBy=timers.target

# systemctl --user daemon-reload && systemctl --user enable --now {_LABEL}.timer
# loginctl enable-linger   (so that it runs while you are logged out)
"""


def _systemd_path(text: str) -> str:
    return text.replace("%", "%%")


def _systemd_quoted(text: str) -> str:
    text = _systemd_path(text).replace("$", "$$")
    if text and all(char.isalnum() or char in "-_./=:@%$+," for char in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def launchd(command: Sequence[str], *, every_s: int, folder: str) -> str:
    """Return a property list for `launchctl`, with a comment on where to put it."""
    arguments = "\n".join(f"    <string>{escape(part)}</string>" for part in command)
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- ~/Library/LaunchAgents/local.{_LABEL}.plist, then: launchctl load -w (that file).
     The key is read from ~/.netrc, as launchd starts programs without your shell's environment. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>local.{_LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{arguments}
  </array>
  <key>WorkingDirectory</key>
  <string>{escape(folder)}</string>
  <key>StartInterval</key>
  <integer>{every_s}</integer>
  <key>RunAtLoad</key>
  <true/>
</dict>
</plist>
"""
