"""The parts of a mail: addresses and attachments, and how any part says what is wrong with it.

Parts check themselves when they are made. Whatever way they are made, what is
wrong comes as one `InvalidMailError` that names the field; neither it nor a
`repr` holds an address, a name or content.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from postman.core.addresses import MAX_EMAIL_LENGTH, normal_email
from postman.core.text import BIDI, check_line
from postman.errors import InvalidMailError

__all__ = [
    "MAX_FILENAME_BYTES",
    "MAX_NAME_LENGTH",
    "Address",
    "Attachment",
    "Part",
    "Text",
    "as_invalid_mail",
    "checked",
    "is_content_type",
]

MAX_NAME_LENGTH: Final = 255
"""Characters of a display name."""
MAX_FILENAME_BYTES: Final = 255

Text = Annotated[str, Strict()]

_CONTENT_TYPE: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:; ?charset=\"?[A-Za-z0-9_.:+-]{1,40}\"?)?"
)
_CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,128}")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_FROM_JSON: Final = {"base64": True}
_PROBLEMS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not a field that is known here",
    "string_type": "must be a string",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "tuple_type": "must be a list",
    "too_long": "has too many entries",
}


class Part(BaseModel):
    """Something that is valid as long as it exists: checked when made, then frozen.

    Fields that a later version may have added are kept (and count in comparisons) where `tolerate` made the part;
    elsewhere an unknown field is refused.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )

    if not TYPE_CHECKING:  # type checkers read the fields instead

        def __init__(self, /, **data: Any) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise as_invalid_mail(error) from None

        # Says to pydantic that parts within parts need not come through here.
        __init__.__pydantic_base_init__ = True

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make one of JSON's objects: content is base64, unknown fields are refused."""
        return cls._made(obj, {"context": _FROM_JSON, **options})

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Make one of JSON text; `postman.core.wire.parse` looks closer."""
        try:
            return super().model_validate_json(json_data, **{"context": _FROM_JSON, **options})
        except ValidationError as error:
            raise as_invalid_mail(error) from None

    @classmethod
    def tolerate(cls, obj: object) -> Self:
        """Make one of JSON's objects, keeping the fields that are not known here."""
        return cls._made(obj, {"context": _FROM_JSON, "extra": "allow", "by_name": False, "by_alias": True})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with changes is checked as if made anew."""
        if not update:
            return super().model_copy(deep=deep)
        return self._made({**dict(self), **update}, {"extra": "allow" if self.model_extra else "forbid"})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._shown())})"

    __str__ = __repr__

    def __rich_repr__(self) -> Iterable[str]:
        return self._shown()

    def _shown(self) -> Iterable[str]:
        return ()

    @classmethod
    def _made(cls, obj: object, options: Mapping[str, Any]) -> Self:
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise as_invalid_mail(error) from None


def as_invalid_mail(error: ValidationError) -> InvalidMailError:
    """Return the first problem that *error* has, with the number of the others.

    Raise it unchained: the places that *error* names hold the caller's own keys.
    """
    details = error.errors(include_url=False, include_input=False)
    first, more = details[0], len(details) - 1
    field, problem = _path(first["loc"]), _problem(first)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidMailError):
        field = _joined(field, cause.field)
        problem = cause.problem
    suffix = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    return InvalidMailError(field, problem + suffix)


def _problem(detail: ErrorDetails) -> str:
    if known := _PROBLEMS.get(detail["type"]):
        return known
    return str(detail.get("ctx", {}).get("error", detail["msg"]))


def _path(location: Iterable[int | str]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            path = _joined(path, _step(step))
    return path


def _step(key: str) -> str:
    if key == "from_":
        return "from"
    return key if _PLAIN_KEY.fullmatch(key) else "?"


def _joined(path: str, step: str) -> str:
    return f"{path}.{step}" if path and step and not step.startswith("[") else path + step


def checked(check: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that only looks."""

    def look(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(look)


def _check_name(name: str) -> None:
    check_line(name)
    if BIDI.search(name):
        raise ValueError("must not have characters that reverse the direction of the text")


def _check_filename(name: str) -> None:
    _check_name(name)
    if len(name.encode()) > MAX_FILENAME_BYTES:
        raise ValueError(f"is longer than {MAX_FILENAME_BYTES} bytes")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError("must be a name without a path")
    if not name.strip():
        raise ValueError("is empty")


def is_content_type(text: str) -> bool:
    """Whether *text* is `type/subtype`, at the most with a charset, and of one file."""
    return _CONTENT_TYPE.fullmatch(text) is not None and not text.lower().startswith("multipart/")


def _check_content_type(text: str) -> None:
    if not is_content_type(text):
        raise ValueError("must look like type/subtype, at the most with a charset, and not be multipart")


def _check_content_id(text: str) -> None:
    if not _CONTENT_ID.fullmatch(text):
        raise ValueError("must be 1 to 128 ASCII characters without spaces and <>")


def _content(value: object, info: ValidationInfo) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be bytes, in JSON a base64 string")  # noqa: TRY004 — pydantic collects ValueErrors
    if not (info.context or {}).get("base64"):
        raise ValueError("must be bytes; only JSON has base64 text here")
    try:
        return b64decode(value, validate=True)
    except (Base64Error, ValueError):
        # Not chained: nothing there but the same sentence with less help.
        raise ValueError("is not base64 (standard alphabet with padding, no line breaks, no data: URL)") from None


def _to_base64(content: bytes) -> str:
    return b64encode(content).decode()


class Address(Part):
    """Who a mail comes from or goes to."""

    email: Annotated[
        Text,
        AfterValidator(normal_email),
        Field(json_schema_extra={"format": "idn-email", "maxLength": MAX_EMAIL_LENGTH}),
    ]
    """In normal form: the domain in lower case and punycode. An international domain may be given as it is written."""
    name: Annotated[Text, Field(max_length=MAX_NAME_LENGTH), checked(_check_name)] | None = None
    """To be shown; empty is None."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("name") == "":
            return {**value, "name": None}
        return value

    @property
    def domain(self) -> str:
        """What follows the @."""
        return self.email.rpartition("@")[2]

    def as_json(self) -> dict[str, Any]:
        """Return JSON's object of what is set."""
        named = {"email": self.email, "name": self.name} if self.name else {"email": self.email}
        return named | (self.model_extra or {})

    def _shown(self) -> Iterable[str]:
        return ("hidden",)


class Attachment(Part):
    """A file that travels with a mail, or an image shown within its HTML. An empty file is a file."""

    filename: Annotated[
        Text, checked(_check_filename), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_FILENAME_BYTES})
    ]
    content_type: Annotated[Text, checked(_check_content_type)]
    """`type/subtype`, and `; charset=…` for text."""
    content: Annotated[
        bytes,
        BeforeValidator(_content),
        PlainSerializer(_to_base64, when_used="json"),
        WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
    ]
    """The bytes; in JSON base64 with padding and without line breaks."""
    content_id: Annotated[Text, checked(_check_content_id)] | None = None
    """Without <>; by it the HTML shows the image, as `cid:…`."""

    @model_validator(mode="before")
    @classmethod
    def _without_url(cls, value: Any) -> Any:
        for name in ("url", "href", "path"):
            if isinstance(value, dict) and name in value:
                raise InvalidMailError(name, "URLs are not fetched and no paths read: send the content")
        return value

    def as_json(self) -> dict[str, Any]:
        """Return JSON's object of what is set."""
        plain: dict[str, Any] = {
            "filename": self.filename,
            "content_type": self.content_type,
            "content": _to_base64(self.content),
        }
        if self.content_id is not None:
            plain["content_id"] = self.content_id
        return plain | (self.model_extra or {})

    def _shown(self) -> Iterable[str]:
        return (f"{len(self.content)} bytes",)
