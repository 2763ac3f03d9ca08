"""How the two ingestion routes are described: the collector answers them, /openapi.json tells of them."""

from typing import Any, Final

from footfall.event import (
    EVENT_ID_CHARS_MAX,
    NAME_CHARS_MAX,
    PATH_CHARS_MAX,
    PROP_KEY_CHARS_MAX,
    PROP_VALUE_CHARS_MAX,
    PROPS_MAX,
    SITE_ID_PATTERN,
    USER_ID_CHARS_MAX,
)

EXAMPLE: Final = {"site_id": "my-website", "event_type": "pageview", "path": "/products", "user_id": "user-123"}


def _text(description: str, limit: int | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["string", "null"], "description": description}
    return schema if limit is None else {**schema, "maxLength": limit}


_SCALAR: Final = {
    "anyOf": [{"type": "string", "maxLength": PROP_VALUE_CHARS_MAX}, {"type": ["number", "boolean", "null"]}]
}

EVENT: Final[dict[str, Any]] = {
    "title": "EventInput",
    "type": "object",
    "description": "One thing that happened. Unknown fields are ignored, or refused by name with ?strict=1.",
    "required": ["site_id", "event_type"],
    "properties": {
        "site_id": {"type": "string", "pattern": SITE_ID_PATTERN, "description": "The site."},
        "event_type": {
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_CHARS_MAX,
            "description": "`pageview` is the one that counts as a view.",
        },
        "path": _text("A path or a full URL; default: /", PATH_CHARS_MAX),
        "user_id": _text(
            "Who; without it the visitor is a hash under a salt that is destroyed daily.", USER_ID_CHARS_MAX
        ),
        "timestamp": {
            "type": ["string", "number", "null"],
            "description": "ISO 8601 with offset, or seconds or milliseconds since 1970; default: now.",
        },
        "event_id": _text("Your idempotency key: the same one for the same site counts once.", EVENT_ID_CHARS_MAX),
        "referrer": _text("The page before."),
        "title": _text("The page's title."),
        "hostname": _text("The page's host."),
        "screen": _text("Like 1920x1080."),
        "language": _text("Like en-GB."),
        "props": {
            "type": ["object", "null"],
            "maxProperties": PROPS_MAX,
            "propertyNames": {"maxLength": PROP_KEY_CHARS_MAX},
            "additionalProperties": _SCALAR,
            "description": "Your own properties.",
        },
        "revenue": {
            "type": ["object", "null"],
            "required": ["amount", "currency"],
            "properties": {
                "amount": {"type": ["number", "string"]},
                "currency": {"type": "string", "description": "ISO 4217, three letters."},
            },
        },
        "interactive": {"type": ["boolean", "null"], "description": "false does not end a bounce; default: true."},
        "ip": _text("Instead of the sender's address; needs the scope ingest where AUTH is not open. Never stored."),
        "user_agent": _text("Instead of the header; needs the scope ingest where AUTH is not open."),
    },
    "example": EXAMPLE,
}

ACCEPTED: Final[dict[str, Any]] = {
    "title": "Accepted",
    "type": "object",
    "required": ["success", "message", "processing_time_ms"],
    "properties": {
        "success": {"type": "boolean"},
        "message": {"type": "string"},
        "processing_time_ms": {"type": "number"},
    },
    "example": {"success": True, "message": "Event queued successfully", "processing_time_ms": 12},
}

BATCH: Final[dict[str, Any]] = {
    "title": "BatchAccepted",
    "type": "object",
    "required": ["success", "accepted", "rejected"],
    "properties": {
        "success": {"type": "boolean"},
        "accepted": {"type": "integer"},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "errors"],
                "properties": {
                    "index": {"type": "integer"},
                    "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
                },
            },
        },
    },
    "example": {
        "success": True,
        "accepted": 1,
        "rejected": [{"index": 1, "errors": [{"field": "site_id", "message": "is required"}]}],
    },
}

SCHEMAS: Final = {"EventInput": EVENT, "Accepted": ACCEPTED, "BatchAccepted": BATCH}

_EVENT_REF: Final = {"$ref": "#/components/schemas/EventInput"}
_MANY: Final = {"type": "array", "maxItems": 1_000, "minItems": 1, "items": _EVENT_REF}
_STRICT: Final = {
    "name": "strict",
    "in": "query",
    "required": False,
    "description": "1: refuse unknown fields by name, which shows a typing error.",
    "schema": {"type": "string", "enum": ["0", "1"]},
}
_DROPPED: Final = {
    "X-Footfall-Dropped": {
        "description": "Why a valid event is not counted: bot, spam_referrer, blocked, unknown_site.",
        "schema": {"type": "string"},
    }
}


def _operation(identity: str, summary: str, description: str, content: dict[str, Any], ok: str) -> dict[str, Any]:
    return {
        "tags": ["Events"],
        "operationId": identity,
        "summary": summary,
        "description": description,
        "parameters": [_STRICT],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "202": {
                "description": "The event would survive a crash now.",
                "headers": _DROPPED,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ok}"}}},
            }
        },
        "security": [{}, {"key": []}],
    }


PATHS: Final[dict[str, Any]] = {
    "/api/event": {
        "post": _operation(
            "event",
            "Send one event",
            "Answered only after the event would survive a crash of every process. At most 64 KiB.",
            {
                "application/json": {"schema": _EVENT_REF, "example": EXAMPLE},
                "text/plain": {"schema": _EVENT_REF, "example": EXAMPLE},
            },
            "Accepted",
        )
    },
    "/api/events": {
        "post": _operation(
            "events",
            "Send up to 1,000 events",
            "What is valid is accepted, the rest named by index; 400 only when none was accepted. At most 5 MiB.",
            {
                "application/json": {
                    "schema": {
                        "oneOf": [_MANY, {"type": "object", "required": ["events"], "properties": {"events": _MANY}}]
                    },
                    "example": {"events": [EXAMPLE]},
                },
                "application/x-ndjson": {
                    "schema": {"type": "string", "description": "One event a line."},
                    "example": '{"site_id": "my-website", "event_type": "pageview"}\n',
                },
            },
            "BatchAccepted",
        )
    },
}
"""Path -> OpenAPI path item."""
