"""Python comparisons as run filters, for the run sets of reports: PythonMongoishQueryGenerator.

`loss < 0.5 and config_key == 3` becomes `{"$or": [{"$and": [{…}, {…}]}]}`. Names of the app, such as
`User`, become the server's; other names are keys of the config or metrics of the summary.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Final

__all__ = ["PythonMongoishQueryGenerator"]

_CLOCKS: Final = {
    "Step": "_step",
    "Relative Time (Wall)": "_absolute_runtime",
    "Relative Time (Process)": "_runtime",
    "Wall Time": "_timestamp",
}
_DOT: Final = "ǀ"  # a letter that nobody names a metric with
_CLOCKS_BACK: Final = {v: k for k, v in _CLOCKS.items()}


class PythonMongoishQueryGenerator:
    """Translates comparisons and names; `run_set` tells which names are config keys."""

    SPACER: Final = "----------"
    DECIMAL_SPACER: Final = ";;;"
    FRONTEND_NAME_MAPPING: Final = {
        "ID": "name",
        "Name": "displayName",
        "Tags": "tags",
        "State": "state",
        "CreatedTimestamp": "createdAt",
        "Runtime": "duration",
        "User": "username",
        "Sweep": "sweep",
        "Group": "group",
        "JobType": "jobType",
        "Hostname": "host",
        "UsingArtifact": "inputArtifacts",
        "OutputtingArtifact": "outputArtifacts",
        **_CLOCKS,
    }
    FRONTEND_NAME_MAPPING_REVERSED: Final = {v: k for k, v in FRONTEND_NAME_MAPPING.items()}
    AST_OPERATORS: Final = {
        ast.Lt: "$lt",
        ast.LtE: "$lte",
        ast.Gt: "$gt",
        ast.GtE: "$gte",
        ast.Eq: "=",
        ast.Is: "=",
        ast.NotEq: "$ne",
        ast.IsNot: "$ne",
        ast.In: "$in",
        ast.NotIn: "$nin",
        ast.And: "$and",
        ast.Or: "$or",
        ast.Not: "$not",
    }
    AST_FIELDS: Final = {ast.Constant: "value", ast.Name: "id", ast.List: "elts", ast.Tuple: "elts"}

    def __init__(self, run_set: Any) -> None:
        self.run_set = run_set

    def python_to_mongo(self, filterstr: str) -> dict[str, Any]:
        """Return the filter of a Python expression. Raises ValueError for one that cannot be read."""
        # A dot of a number stays; one inside a name would be an attribute to Python.
        text = re.sub(r"(?<=[^\W\d])\.|(?<=\w)\.(?=[^\W\d])", _DOT, filterstr)
        try:
            body: Any = ast.parse(f"({text})", mode="eval").body
        except SyntaxError as error:
            raise ValueError(
                "Invalid python comparison expression; form something like `my_col == 123`"
            ) from error
        if hasattr(body, "op"):
            operator = self.AST_OPERATORS[type(body.op)]
            return {"$or": [{operator: [self._compared(part) for part in body.values]}]}
        return {"$or": [{"$and": [self._compared(body)]}]}

    def _compared(self, node: Any) -> dict[str, Any]:
        left = self.front_to_back(self._value(node.left))
        operator = self.AST_OPERATORS[type(node.ops[0])]
        right = self._value(node.comparators[0])
        return {left: right if operator == "=" else {operator: right}}

    def _value(self, node: Any) -> Any:
        found = getattr(node, self.AST_FIELDS[type(node)])
        if isinstance(found, list):
            return [self._value(item) for item in found]
        return found.replace(_DOT, ".") if isinstance(found, str) else found

    def _placed(self, name: str, config: str, summary: str) -> str:
        """The server's name of a key, with what stands before keys of the config and the summary."""
        first, dot, rest = name.partition(".")
        if first in self.FRONTEND_NAME_MAPPING:
            return self.FRONTEND_NAME_MAPPING[first]
        if first in self.FRONTEND_NAME_MAPPING_REVERSED:
            return first
        if first in self.run_set._runs_config:
            return f"{config}{first}.value{dot}{rest}"
        return f"{summary}{first}{dot}{rest}"

    def front_to_back(self, name: str) -> str:
        """Return the server's name of a name of the app."""
        return self._placed(name, "config.", "summary_metrics.")

    def back_to_front(self, name: str) -> str:
        """Return the app's name of a name of the server; a name that is neither stays."""
        if name in self.FRONTEND_NAME_MAPPING_REVERSED:
            return self.FRONTEND_NAME_MAPPING_REVERSED[name]
        if name in self.FRONTEND_NAME_MAPPING:
            return name
        if name.startswith("config.") and ".value" in name:
            return name.replace("config.", "").replace(".value", "")
        return name.replace("summary_metrics.", "")

    def pc_front_to_back(self, name: str | None) -> str | None:
        """Return the server's name of an axis of a parallel-coordinates plot."""
        if name is None:
            return None
        first = name.partition(".")[0]
        if first in _CLOCKS:
            return f"summary:{_CLOCKS[first]}"
        return self._placed(name, "config:", "summary:")

    def pc_back_to_front(self, name: str | None) -> str | None:
        """Return the app's name of an axis of a parallel-coordinates plot."""
        if name is None:
            return None
        if "summary:" in name:
            metric = name.replace("summary:", "")
            return _CLOCKS_BACK.get(metric, metric)
        if name in self.FRONTEND_NAME_MAPPING_REVERSED:
            return self.FRONTEND_NAME_MAPPING_REVERSED[name]
        if name.startswith("config:") and ".value" in name:
            return name.replace("config:", "").replace(".value", "")
        return name.replace("summary_metrics.", "")
