"""What all objects of the facade share: the server's fields as attributes, and their look in notebooks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Attrs", "camel", "iframe", "in_vscode"]


def camel(name: str) -> str:
    """Return the server's spelling of an attribute: `created_at` → `createdAt`."""
    text = "".join(part.title() for part in name.split("_"))
    return text[0].lower() + text[1:]


class Attrs:
    """An object over a node of the server: its fields are attributes, in snake_case or as sent."""

    _attrs: dict[str, Any]

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self._attrs = dict(attrs)

    def snake_to_camel(self, string: str) -> str:
        """Return the server's spelling of an attribute."""
        return camel(string)

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Show the object in a Jupyter notebook; return whether it could be shown.

        Raises nothing; outside a notebook it returns False.
        """
        if not _in_jupyter():
            return False
        html = self.to_html(height, hidden)
        if html is None:
            from mirror.api.notices import warn

            warn("This object does not support `.display()`")
            return False
        from IPython.display import HTML, display

        display(HTML(html))
        return True

    def to_html(self, *args: Any, **kwargs: Any) -> Any:
        """Return HTML that shows the object; None for kinds that have no page."""
        return None

    def __getattr__(self, name: str) -> Any:
        if name == "_attrs" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        key = camel(name)
        if key == "user":
            raise AttributeError
        attrs = self._attrs
        if key in attrs:
            return attrs[key]
        if name in attrs:
            return attrs[name]
        raise AttributeError(f"{repr(self)!r} object has no attribute {name!r}")


def iframe(url: str, height: int, hidden: bool, what: str) -> str:
    """Return the frame that shows a page of W&B's app, behind a button when hidden."""
    style = f"border:none;width:100%;height:{height}px;"
    button = ""
    if hidden:
        style += "display:none;"
        reveal = "this.nextSibling.style.display='block';this.style.display='none';"
        button = f'<button onClick="{reveal}">Display W&B {what}</button>'
    return f"{button}<iframe src={f'{url}?jupyter=true'!r} style={style!r}></iframe>"


def _shell() -> Any:
    if "IPython" not in sys.modules:
        return None
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _in_jupyter() -> bool:
    return type(_shell()).__name__ == "ZMQInteractiveShell"


def in_vscode() -> bool:
    """Whether this is a notebook of VS Code, which shows no frames."""
    kernel = getattr(_shell(), "kernel", None)
    parent: Any = getattr(kernel, "get_parent", dict)()
    return bool(kernel) and "vscode" in str(parent)
