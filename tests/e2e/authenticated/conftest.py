"""One running system with authentication on for all tests of this folder: each uses identities and ids of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.e2e.authenticated.secured import Secured, secured_system


@pytest.fixture(scope="package")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    async with secured_system(tmp_path_factory.mktemp("secured")) as system:
        yield system
