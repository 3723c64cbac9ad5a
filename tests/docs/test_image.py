"""Does the health check of the image tell a pooler that answers from one that does not?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys

from tests.conftest import MakePooler
from tests.docs.pages import ROOT

_CHECK = re.compile(r"^HEALTHCHECK .*\\\n +CMD (?P<words>\[.*\])$", re.MULTILINE)


async def test_the_image_is_healthy_while_the_pooler_answers(make_pooler: MakePooler) -> None:
    pooler = await make_pooler()

    assert await _check(pooler.port) == 0


async def test_the_image_is_not_healthy_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]

    assert await _check(port) != 0


async def _check(port: int) -> int:
    """Run the Dockerfile's check against a port of this machine; return its exit code."""
    match = _CHECK.search((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert match is not None
    python, *arguments = json.loads(match["words"])
    assert python == "python"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, "PGPOOL_LITE_PORT": str(port)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()
