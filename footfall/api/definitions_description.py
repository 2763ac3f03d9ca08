"""How a site's rules, goals, segments and funnels are described in /openapi.json."""

from typing import Any, Final

from footfall.api.posting import FILTERS, STEP
from footfall.event import NAME_CHARS_MAX as EVENT_CHARS_MAX
from footfall.event import PROP_KEY_CHARS_MAX, PROP_VALUE_CHARS_MAX, SITE_ID_PATTERN
from footfall.query.defining import Kind
from footfall.query.definitions import GOAL_PROPS_MAX, NAME_CHARS_MAX, PAGE_CHARS_MAX, WeekStart
from footfall.query.funnel import STEPS_MAX, STEPS_MIN, Order, Unit
from footfall.rules import ORIGIN_CHARS_MAX, ORIGINS_MAX, RATE_MAX

_NAME: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "additionalProperties": False, "properties": properties}


_RULES: Final[dict[str, Any]] = {
    "timezone": {"type": "string", "description": "An IANA name: the zone of its days.", "examples": ["Europe/Paris"]},
    "week_start": {"enum": list(WeekStart)},
    "requires_key": {"type": "boolean", "description": "Take its events only with a key that has the scope ingest."},
    "allowed_origins": {
        "type": "array",
        "maxItems": ORIGINS_MAX,
        "items": {"type": "string", "maxLength": ORIGIN_CHARS_MAX},
        "description": "Whose browsers may send events; none: all. `*` stands for one label.",
    },
    "rate_per_minute": {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": RATE_MAX,
        "description": "Events a minute; null: the setting RATE_LIMIT_SITE; 0: no limit.",
    },
}
_FIELDS: Final[dict[Kind, tuple[dict[str, Any], tuple[str, ...]]]] = {
    Kind.GOALS: (
        {
            "event": {"type": "string", "minLength": 1, "maxLength": EVENT_CHARS_MAX},
            "page": {
                "type": "string",
                "minLength": 1,
                "maxLength": PAGE_CHARS_MAX,
                "description": "`*` stands for any characters but a slash, `**` for any at all.",
            },
            "props": {
                "type": "object",
                "maxProperties": GOAL_PROPS_MAX,
                "propertyNames": {"minLength": 1, "maxLength": PROP_KEY_CHARS_MAX},
                "additionalProperties": {"type": "string", "minLength": 1, "maxLength": PROP_VALUE_CHARS_MAX},
            },
        },
        (),
    ),
    Kind.SEGMENTS: ({"filters": {**FILTERS, "type": "array", "minItems": 1}}, ("filters",)),
    Kind.FUNNELS: (
        {
            "steps": {"type": "array", "minItems": STEPS_MIN, "maxItems": STEPS_MAX, "items": STEP},
            "options": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "order": {"enum": list(Order)},
                    "by": {"enum": list(Unit)},
                    "window": {"type": "string"},
                },
            },
        },
        ("steps",),
    ),
}
EXAMPLES: Final[dict[Kind, dict[str, Any]]] = {
    Kind.GOALS: {"event": "signup", "props": {"plan": "pro"}},
    Kind.SEGMENTS: {"filters": [["is", "visit:country", ["FR", "BE"]]]},
    Kind.FUNNELS: {"steps": [{"page": "/pricing"}, {"event": "signup"}], "options": {"window": "7d"}},
}
_TITLE: Final = {Kind.GOALS: "Goal", Kind.SEGMENTS: "Segment", Kind.FUNNELS: "SavedFunnel"}
SCHEMAS: Final[dict[str, Any]] = {
    "SiteRules": _object(_RULES),
    "Site": _object({"id": {"type": "string"}, **_RULES}, "id", *_RULES),
} | {_TITLE[kind]: _object({"name": _NAME, **fields}, *required) for kind, (fields, required) in _FIELDS.items()}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(word: str, what: str, summary: str, answer: dict[str, Any], **more: object) -> dict[str, Any]:
    body = _object({"success": {"const": True}, "data": answer}, "success", "data")
    return {
        "tags": ["Definitions"],
        "operationId": f"{word}{what}",
        "summary": summary,
        "responses": {"200": {"description": "Done.", "content": {"application/json": {"schema": body}}}},
        "security": [{}, {"key": []}],
        **more,
    }


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_SITE_ID: Final = _in_path("site_id", {"type": "string", "pattern": SITE_ID_PATTERN})


def _paths_of(kind: Kind) -> dict[str, Any]:
    title, one = _TITLE[kind], kind.one
    named = {"parameters": [_SITE_ID, _in_path("name", _NAME)]}
    many = _object({kind.value: {"type": "array", "items": _ref(title)}}, kind.value)
    put = _operation(
        "put",
        title,
        f"Make a {one}, or replace it",
        _ref(title),
        description="The same again changes nothing. The name is the one in the address, percent-encoded.",
        requestBody=_body(_ref(title), EXAMPLES[kind]),
        **named,
    )
    return {
        f"/api/sites/{{site_id}}/{kind}": {
            "get": _operation("list", f"{title}s", f"All {kind} of a site", many, parameters=[_SITE_ID])
        },
        f"/api/sites/{{site_id}}/{kind}/{{name}}": {
            "get": _operation("get", title, f"One {one}", _ref(title), **named),
            "put": put,
            "delete": _operation("delete", title, f"Remove a {one}", {"type": "null"}, **named),
        },
    }


PATHS: Final[dict[str, Any]] = {
    "/api/sites/{site_id}": {
        "get": _operation("get", "Site", "The rules of a site", _ref("Site"), parameters=[_SITE_ID]),
        "patch": _operation(
            "change",
            "Site",
            "Change rules of a site",
            _ref("Site"),
            description="What is not named stays as it is; a site that is not there is made.",
            parameters=[_SITE_ID],
            requestBody=_body(_ref("SiteRules"), {"timezone": "Europe/Paris", "week_start": "sunday"}),
        ),
    },
} | {path: item for kind in Kind for path, item in _paths_of(kind).items()}
