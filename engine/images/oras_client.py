"""oras, with our way of asking a registry. Only pushing needs it: loading it takes two tenths of a second, most of which are
requests and jsonschema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import oras.provider
import requests

from engine.images.http import READ_ERRORS, HttpError, Response
from engine.images.transport import RegistryTransport

_MAX_ANSWER_BYTES = 4 << 20


class OrasClient(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """An oras client whose every request goes through a transport of ours: its credentials, deadlines and retries."""

    def __init__(self, transport: RegistryTransport) -> None:
        endpoint = transport.endpoint
        super().__init__(
            hostname=endpoint.host,
            insecure=endpoint.is_plain_http,
            tls_verify=not endpoint.config.skip_verify,
        )
        self._transport = transport

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        with self._transport.do_request(url, method, headers=headers, body=data, document=json) as answer:
            return _as_of_requests(answer, method)


def _as_of_requests(answer: Response, method: str) -> requests.Response:
    """The answer in the form that oras looks at."""
    made = requests.Response()
    made.status_code, made.reason, made.url = answer.status, answer.reason or "", answer.url
    made.headers.update(answer.headers.items())
    made.request = requests.Request(method, answer.url).prepare()
    try:
        made._content = answer.read(_MAX_ANSWER_BYTES)
    except READ_ERRORS as error:
        raise HttpError(error) from error
    return made
