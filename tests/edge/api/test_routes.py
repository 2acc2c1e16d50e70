"""Routes: what is registered is what is decorated, with a scope and a description each."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
from aiohttp import web

from gateway.edge import api
from gateway.edge.api.openapi import document
from gateway.edge.api.routes import ADMIN, LINK, OPEN, PAGE, READ, Route, routes_of
from gateway.edge.api.server import RESOURCES, OperatorPort
from tests.conftest import Serve

ALL = routes_of(RESOURCES)


def registered(port: OperatorPort) -> set[tuple[str, str]]:
    """Method and path of what aiohttp answers; HEAD comes with GET."""
    assert port.server is not None
    routes = port.server.app.router.routes()
    found = {(route.method, route.resource.canonical) for route in routes if route.resource}
    return {(method, path) for method, path in found if method != "HEAD"}


async def test_what_is_registered_is_what_is_decorated_and_described(serve: Serve) -> None:
    house = await serve()
    decorated = [(route.method, route.path) for route in ALL]
    described = {(method.upper(), path) for path, each in document(ALL)["paths"].items() for method in each}
    assert len(set(decorated)) == len(decorated)
    assert registered(house.gateway.operator) == set(decorated) == described


def test_no_file_with_routes_is_forgotten() -> None:
    modules = [import_module(f"{api.__name__}.{each.name}") for each in pkgutil.iter_modules(api.__path__)]
    assert {route.path for route in routes_of(modules)} == {route.path for route in ALL}
    assert {module for module in modules if routes_of([module])} == set(RESOURCES)


@pytest.mark.parametrize("route", ALL, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_a_scope_and_acting_needs_the_higher_one(route: Route) -> None:
    assert route.scope in {OPEN, PAGE, LINK, READ, ADMIN}
    assert route.scope == ADMIN or route.method == "GET"
    assert route.summary.endswith(".")


@pytest.mark.parametrize("path", ["/api/tokens", "/api/backup"])
def test_what_gives_power_away_is_not_for_reading(path: str) -> None:
    assert [route.scope for route in ALL if route.path == path] == [ADMIN]


def test_a_pattern_keeps_a_parameter_from_a_fixed_step() -> None:
    async def handler(_: object, __: web.Request) -> web.Response:
        return web.Response()

    route = Route("GET", "/a/{b}/{c}", scope=READ, summary="A.", patterns={"b": "(?!d$)[^{}/]+"})(handler)
    assert route.pattern == "/a/{b:(?!d$)[^{}/]+}/{c}"
    assert route.handler is handler
