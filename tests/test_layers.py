"""The layers: imports only go down, and each dangerous module has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bybit_copyws"
FILES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {
    "__main__": 11,
    "pytest_plugin": 10,
    "tools": 10,
    "__init__": 9,
    "client": 8,
    "account": 6,
    "books": 7,
    "subscription": 6,
    "rest": 6,
    "options": 5,
    "delivery": 5,
    "stream": 5,
    "state": 4,
    "sandbox": 5,
    "policy": 3,
    "wire": 2,
    "health": 1,
    "models": 1,
    "fields": 1,
    "messages": 1,
    "events": 1,
    "errors": 0,
    "version": 0,
}
ONLY = {
    "websocket": ("stream/transport.py",),
    "asyncio": (
        "sandbox/server.py",
        "sandbox/peer.py",
        "sandbox/exchange.py",
        "sandbox/background.py",
        "sandbox/window.py",
    ),
    "requests": ("rest/transport.py",),
    "urllib3": ("rest/connection.py", "rest/transport.py"),
    "aiohttp": ("sandbox/server.py", "sandbox/peer.py", "sandbox/window.py"),
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _part(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in _imports(path):
        if name.split(".")[0] == "bybit_copyws":
            other = _part(name)
            assert LEVELS[other] < LEVELS[own] or other == own or LEVELS[own] == 1, name
        door = ONLY.get(name.split(".")[0])
        assert door is None or str(path.relative_to(PACKAGE)) in door, name


def test_the_sandbox_knows_only_the_wire() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        for name in _imports(path):
            if name.startswith("bybit_copyws"):
                assert _part(name) in ("sandbox", "wire", "errors"), (path, name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_sleeps_or_changes_the_process(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("time.sleep", "basicConfig", "setdefaulttimeout", "enableTrace(", "verify=False"):
        assert word not in text
    if "tools" not in path.parts:
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        assert "print" not in names
