"""GraphQL documents: parsed and validated once for each text, executed with graphql-core.

Two schemas are built from one text. Documents are validated against the first; the second, by
which they are executed, has opaque leaves where the `edges` of some connections stand, whose
resolver completes the whole selection below them the fast way (`selection.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from mirror.sandbox.connections import Refused
from mirror.sandbox.selection import Resolver, Selections, field_value, typename

FAST: Final = (
    "RunConnection",
    "ArtifactConnection",
    "VersionedArtifactConnection",
    "InputArtifactConnection",
    "ArtifactCollectionConnection",
    "ArtifactCollectionMembershipConnection",
    "FileConnection",
)
"Connections whose `edges` are completed the fast way."
DEEP: Final = frozenset(
    {"artifacts", "artifactCollections", "artifactMemberships", "artifactTypes"}
)


@dataclass(frozen=True)
class Document:
    """A parsed text; `errors` are what validation found."""

    node: DocumentNode | None
    errors: tuple[GraphQLError, ...]

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        if self.node is None:
            return None
        for one in self.node.definitions:
            if isinstance(one, OperationDefinitionNode) and (
                not name or (one.name is not None and one.name.value == name)
            ):
                return one
        return None

    def fields(self, name: str | None) -> frozenset[str]:
        """Return the fields at an operation's root, and those one below that have parts or arguments.

        The listings of artifacts are among them wherever they stand, if they have arguments.
        """
        operation = self.operation(name)
        if operation is None or self.node is None or self.errors:
            return frozenset()  # fragments may go in circles
        fragments = {
            one.name.value: one
            for one in self.node.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        roots = selected(operation.selection_set, fragments)
        below = [
            field
            for root in roots
            if root.selection_set
            for field in selected(root.selection_set, fragments)
            if field.selection_set or field.arguments
        ]
        listings = [one for one in walked(roots, fragments) if one.name.value in DEEP]
        return frozenset(field.name.value for field in [*roots, *below, *listings])


def selected(
    selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> list[FieldNode]:
    """Return the fields of a selection set, those of its fragments included."""
    found: list[FieldNode] = []
    for node in selections.selections:
        if isinstance(node, FieldNode):
            found.append(node)
        elif isinstance(node, InlineFragmentNode):
            found += selected(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
            found += selected(fragments[node.name.value].selection_set, fragments)
    return found


def walked(
    fields: Iterable[FieldNode], fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    """Yield the fields with arguments below some fields, at any depth."""
    for one in fields:
        if one.arguments:
            yield one
        if one.selection_set is not None:
            yield from walked(selected(one.selection_set, fragments), fragments)


@cache
def schema_text() -> str:
    return resources.files("mirror.remote").joinpath("schema.graphql").read_text("utf-8")


def build() -> GraphQLSchema:
    built = build_schema(schema_text())
    for name in ("RunEdge", "VersionedArtifactEdge"):
        node = fields_of(built, name)["node"]
        assert isinstance(node.type, GraphQLNonNull)
        node.type = node.type.of_type  # so that a fault can put a null there
    return built


def fields_of(built: GraphQLSchema, name: str) -> dict[str, GraphQLField]:
    kind = built.get_type(name)
    assert isinstance(kind, GraphQLObjectType)
    fields: dict[str, GraphQLField] = kind.fields
    return fields


@cache
def schema() -> GraphQLSchema:
    """The schema documents are validated against."""
    return build()


@lru_cache(maxsize=1024)
def document(text: str) -> Document:
    """Parse and validate a text; a syntax error is among the errors."""
    try:
        node = parse(text)
    except GraphQLError as error:
        return Document(None, (error,))
    return Document(node, tuple(validate(schema(), node)))


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z][a-z])", r"_\1\2", name).lower()


def unsupported(name: str) -> None:
    raise Refused(501, f"{name} is not supported by this server")


class Executor:
    """Executes documents with a table of resolvers: (type, field) → function(value, args, context).

    Where the table has no entry, a field is the attribute of its name in snake_case, or the key of
    its own name if the value is a dict.
    """

    def __init__(self, resolvers: Mapping[tuple[str, str], Resolver], *, fast: bool = True) -> None:
        self._resolvers = resolvers
        self._schema = build()
        self._attributes: dict[tuple[str, str], str] = {}
        for kind in list(self._schema.type_map.values()):
            if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
                for name, field in kind.fields.items():
                    self._attributes[kind.name, name] = snake_case(name)
                    field.resolve = self._resolver(kind.name, name)
        opaque = GraphQLNonNull(GraphQLScalarType("Edges"))
        for name in FAST if fast else ():
            edges = fields_of(self._schema, name)["edges"]
            edges.type, edges.resolve = opaque, self._edges
            for interface in self._schema.type_map[name].interfaces:  # type: ignore[attr-defined]
                interface.fields["edges"].type = opaque

    def execute(
        self, found: Document, variables: dict[str, Any], operation: str | None, context: Any
    ) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """Return the data and the errors of a valid document."""
        assert found.node is not None
        result = execute_sync(
            self._schema,
            found.node,
            context_value=context,
            variable_values=variables,
            operation_name=operation,
            type_resolver=lambda value, _info, _kind: typename(value),
        )
        return result.data, result.errors or []

    def _resolver(self, kind: str, name: str) -> Any:
        resolve = self._resolvers.get((kind, name))
        if resolve is not None:
            return lambda value, info, **args: resolve(value, args, info.context)
        if kind == "Mutation":
            return lambda _value, _info, **_args: unsupported(name)
        attribute = self._attributes[kind, name]
        return lambda value, _info, **_args: field_value(value, name, attribute)

    def _edges(self, value: Any, info: GraphQLResolveInfo[Any]) -> Any:
        """Complete everything below `edges`; its real type is in the validating schema."""
        selections = Selections(
            schema(), self._resolvers, self._attributes,
            info.fragments, info.variable_values, info.context,
        )  # fmt: skip
        kind = fields_of(schema(), info.parent_type.name)["edges"].type
        return selections.getter(kind, list(info.field_nodes), "edges")(value.edges)
