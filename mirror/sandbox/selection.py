"""A selection set compiled for one type: a fast way to complete many objects of that type.

graphql-core takes microseconds for each field of each object, which is seconds for a page of runs.
Here the fragments are expanded and the arguments coerced once; what is left for each object is a
list of (response key, getter). A test proves the outcome equal to graphql-core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionSetNode,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.values import get_argument_values, get_directive_values

from mirror.sandbox.artifact_objects import Artifact, ArtifactType, Collection, Membership
from mirror.sandbox.objects import Run, User

Getter = Callable[[Any], Any]
Resolver = Callable[[Any, dict[str, Any], Any], Any]
CLASSES = {
    "Run": Run, "User": User, "Artifact": Artifact, "ArtifactType": ArtifactType,
    "ArtifactCollectionMembership": Membership, "ArtifactSequence": Collection,
    "ArtifactPortfolio": Collection,
}  # fmt: skip
PASSED_ON = frozenset({"String", "ID", "DateTime", "JSON", "JSONString", "Int64", "Duration"})


class Selections:
    """Compiles the selections of one request; resolvers are looked up by (type, field)."""

    def __init__(
        self,
        schema: GraphQLSchema,
        resolvers: Mapping[tuple[str, str], Resolver],
        attributes: Mapping[tuple[str, str], str],
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Any,
        context: Any,
    ) -> None:
        self._schema = schema
        self._resolvers = resolvers
        self._attributes = attributes
        self._fragments = fragments
        self._variables = variables
        self._context = context

    def getter(self, kind: GraphQLOutputType, nodes: list[FieldNode], place: str) -> Getter:
        """Return what turns a resolved value into its part of the answer."""
        if is_non_null_type(kind):
            return required(self.getter(of(kind), nodes, place), place)
        if is_list_type(kind):
            one = self.getter(of(kind), nodes, place)
            return lambda value: None if value is None else [one(item) for item in value]
        if is_leaf_type(kind):
            return leaf(kind)
        if is_abstract_type(kind):
            return self._abstract(kind, nodes, place)
        assert isinstance(kind, GraphQLObjectType)
        return self._object(kind, nodes, place)

    def _abstract(self, kind: GraphQLAbstractType, nodes: list[FieldNode], place: str) -> Getter:
        made: dict[str, Getter] = {}

        def complete(value: Any) -> Any:
            if value is None:
                return None
            name = typename(value)
            if name not in made:
                possible = self._schema.get_type(name)
                assert isinstance(possible, GraphQLObjectType)
                assert self._schema.is_sub_type(kind, possible), f"{name} is no {kind.name}"
                made[name] = self._object(possible, nodes, place)
            return made[name](value)

        return complete

    def _object(self, kind: GraphQLObjectType, nodes: list[FieldNode], place: str) -> Getter:
        plan = [
            (key, self._field(kind, fields, f"{place}.{key}"))
            for key, fields in self._fields(kind, nodes).items()
        ]
        return lambda value: None if value is None else {key: get(value) for key, get in plan}

    def _field(self, kind: GraphQLObjectType, nodes: list[FieldNode], place: str) -> Getter:
        name = nodes[0].name.value
        if name == "__typename":
            return lambda _value: kind.name
        definition = kind.fields[name]
        resolve = self._resolve(kind, name, definition, nodes[0])
        if passes(definition.type):
            return resolve
        complete = self.getter(definition.type, nodes, place)
        return lambda value: complete(resolve(value))

    def _resolve(
        self, kind: GraphQLObjectType, name: str, definition: GraphQLField, node: FieldNode
    ) -> Getter:
        resolver = self._resolvers.get((kind.name, name))
        if resolver is None:
            return plain(kind.name, name, self._attributes[kind.name, name])
        arguments, context = get_argument_values(definition, node, self._variables), self._context
        return lambda value: resolver(value, arguments, context)

    def _fields(
        self, kind: GraphQLObjectType, nodes: list[FieldNode]
    ) -> dict[str, list[FieldNode]]:
        """Merge the selections of nodes with one response key, in the order of first mention."""
        found: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for node in nodes:
            if node.selection_set is not None:
                for field in self._expand(kind, node.selection_set, seen):
                    key = field.alias.value if field.alias else field.name.value
                    found.setdefault(key, []).append(field)
        return found

    def _expand(
        self, kind: GraphQLObjectType, selections: SelectionSetNode, seen: set[str]
    ) -> Iterator[FieldNode]:
        for node in selections.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._applies(
                    kind, node.type_condition.name.value
                ):
                    yield from self._expand(kind, node.selection_set, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._applies(kind, fragment.type_condition.name.value):
                    yield from self._expand(kind, fragment.selection_set, seen)

    def _included(self, node: Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return not (skip and skip["if"]) and not (include and not include["if"])

    def _applies(self, kind: GraphQLObjectType, condition: str) -> bool:
        wanted = self._schema.get_type(condition)
        return wanted is kind or (
            is_abstract_type(wanted) and self._schema.is_sub_type(wanted, kind)
        )


def plain(kind: str, name: str, attribute: str) -> Getter:
    """Return what reads a field without a resolver: an attribute, or a key of a dict."""
    if hasattr(CLASSES.get(kind), attribute):
        return attrgetter(attribute)
    return lambda value: field_value(value, name, attribute)


def field_value(value: Any, name: str, attribute: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, attribute, None)


def of(kind: Any) -> Any:
    assert isinstance(kind, GraphQLNonNull | GraphQLList)
    return kind.of_type


def passes(kind: GraphQLOutputType) -> bool:
    """Tell whether a nullable value of this type goes into the answer as it is."""
    return is_leaf_type(kind) and kind.name in PASSED_ON


def leaf(kind: GraphQLLeafType) -> Getter:
    if kind.name in PASSED_ON:
        return lambda value: value
    serialize = kind.serialize
    return lambda value: None if value is None else serialize(value)


def required(get: Getter, place: str) -> Getter:
    def checked(value: Any) -> Any:
        found = get(value)
        if found is None:
            raise GraphQLError(f"Cannot return null for non-nullable field {place}.")
        return found

    return checked


def typename(value: Any) -> str:
    """Return the GraphQL type of a value found where an interface or union stands."""
    if isinstance(value, dict):
        return str(value["__typename"])
    if isinstance(value, Run):
        return "Run"
    return str(getattr(value, "kind", None) or type(value).__name__)
