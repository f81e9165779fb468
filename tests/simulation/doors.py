"""The daemon's API for one life after the other: its routes are built once for a process, which takes most of a start.

The routes ask a desk, and get the present life's. What belongs to one life, such as who was refused, is its own.
"""

from typing import cast

from quart_trio import QuartTrio

from syncd.edges.api.app import Api, build_quart
from syncd.edges.api.desk import Desk
from syncd.edges.api.webhooks import WebhookDoor


class PresentDesk:
    """Answers for the desk of the life that began last."""

    desk: Desk | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.desk, name)


_PRESENT = PresentDesk()
_BUILT: list[QuartTrio] = []


class LivingApi(Api):
    """The API of one life."""

    def __init__(self, desk: Desk) -> None:
        _PRESENT.desk = desk
        if not _BUILT:
            _BUILT.append(build_quart(cast("Desk", _PRESENT)))
        self.webhooks = WebhookDoor(desk)
        self.quart = _BUILT[0]
