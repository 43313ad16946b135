"""What a call can raise.

NovitaError                    base: `.message`, `.status_code`
├── AuthenticationError        401, or no key at all
│   └── ForbiddenError         403; also an APIError
├── BadRequestError            400; `.details` is the whole body
├── NotFoundError              404
│   └── MissingReferenceError  400 because of something that is not there; also a BadRequestError
├── RateLimitError             429; `.retry_after` seconds, where it was said
├── APIError                   5xx and any other refusal; `.response_body`
│   ├── ConnectionFailedError  the other side could not be reached; no status
│   └── UnexpectedAnswerError  it answered something that does not fit; also a ValueError
└── TimeoutError               no answer in time; no status. Not Python's own class
"""

from __future__ import annotations

from typing import Any


class NovitaError(Exception):
    """Base of everything this package raises on purpose."""

    def __init__(self, message: str = "The request failed.", status_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code


class AuthenticationError(NovitaError):
    def __init__(self, message: str = "The API key is missing or not accepted.", status_code: int | None = 401) -> None:
        super().__init__(message, status_code)


class BadRequestError(NovitaError):
    def __init__(self, message: str = "Bad request: Invalid parameters", details: Any = None) -> None:
        super().__init__(message, 400)
        self.details = details


class NotFoundError(NovitaError):
    def __init__(self, message: str = "Resource not found.", status_code: int | None = 404) -> None:
        super().__init__(message, status_code)


class MissingReferenceError(NotFoundError, BadRequestError):
    """The cloud says 400 where others say 404, for what is addressed and for what a request names alike: whichever of the
    two a program waits for, it is this."""

    def __init__(self, message: str, details: Any = None) -> None:
        NovitaError.__init__(self, message, 400)
        self.details = details


class RateLimitError(NovitaError):
    def __init__(self, message: str = "Too many requests.", retry_after: float | None = None) -> None:
        super().__init__(message, 429)
        self.retry_after = retry_after


class APIError(NovitaError):
    def __init__(self, message: str = "API error", status_code: int | None = None, response_body: Any = None) -> None:
        super().__init__(message, status_code)
        self.response_body = response_body
        self.retry_after: float | None = None


class ForbiddenError(AuthenticationError, APIError):
    """The key is known, or not, but may not do this."""

    def __init__(self, message: str, response_body: Any = None) -> None:
        APIError.__init__(self, message, 403, response_body)


class ConnectionFailedError(APIError):
    """No connection, or one that broke."""


class UnexpectedAnswerError(APIError, ValueError):
    """The answer was a success, but cannot be read."""


class TimeoutError(NovitaError):  # noqa: A001 - the name programs written for this API catch
    def __init__(self, message: str = "The request timed out.") -> None:
        super().__init__(message, None)
