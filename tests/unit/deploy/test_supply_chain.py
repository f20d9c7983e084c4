"""What the system is built from is locked by hash, can be listed and looked up, and runs with as few rights as it can."""

import json
import os
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / "deploy" / "packages.sh"
VULNERABLE = "litestar"


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    return tomllib.loads((ROOT / "uv.lock").read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """Its instructions."""
    joined = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_every_file_of_every_locked_package_has_its_hash(lock: dict[str, Any]) -> None:
    packages = [one for one in lock["package"] if "registry" in one["source"]]
    assert len(packages) == len(lock["package"]) - 1, "all but Tidemark itself come from a registry"
    for one in packages:
        files = [*one.get("wheels", []), *([one["sdist"]] if "sdist" in one else [])]
        assert files, one["name"]
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", file["hash"]) for file in files), one["name"]


def test_what_the_image_is_built_with_has_the_hashes_of_the_lock(lock: dict[str, Any]) -> None:
    locked = {f"{one['name']}=={one['version']}": one for one in lock["package"]}
    tools = re.split(r"\n(?=\S)", (ROOT / "deploy" / "build.txt").read_text())
    assert {name.split("==")[0] for name in (tool.split()[0] for tool in tools)} >= {"uv", "hatchling"}
    for tool in tools:
        one = locked[tool.split()[0]]
        hashes = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", tool))
        assert hashes == {file["hash"] for file in [*one["wheels"], one["sdist"]]}, one["name"]


def test_nothing_is_installed_but_what_is_locked(dockerfile: list[str]) -> None:
    script = (ROOT / "deploy" / "bootstrap.sh").read_text()
    lines = [*dockerfile, *(line for line in script.splitlines() if not line.lstrip().startswith("#"))]
    installs = [line for line in lines if re.search(r"pip install|uv\"? sync|uv build|apt-get install", line)]
    assert len(installs) >= 6
    for line in installs:
        locked = "--require-hashes" in line or "uv_wanted[@]" in line or "sync --locked" in line
        assert locked or "python3-venv python3-pip" in line, line
    assert "uv_wanted=(--require-hashes" in script


def test_the_image_runs_as_a_user_that_is_not_root(dockerfile: list[str]) -> None:
    last_stage = dockerfile[max(n for n, line in enumerate(dockerfile) if line.startswith("FROM")) :]
    users = [line.split()[1] for line in last_stage if line.startswith("USER")]
    assert users
    assert users[-1].isdecimal()
    assert int(users[-1]) > 0
    after = last_stage[last_stage.index(f"USER {users[-1]}") :]
    assert not [line for line in after if line.startswith(("RUN", "COPY", "ADD"))]
    assert not [line for line in dockerfile if line.startswith("ADD") or "curl" in line or "wget" in line]


def test_every_service_runs_with_as_few_rights_as_it_can(compose: dict[str, Any]) -> None:
    built = {name: one for name, one in compose["services"].items() if one.get("image") == "tidemark:local"}
    assert len(built) >= 10
    for name, one in compose["services"].items():
        assert "no-new-privileges:true" in one.get("security_opt", ()), name
        assert one.get("cap_drop") == ["ALL"], name
        assert not one.get("privileged"), name
        assert "docker.sock" not in json.dumps(one), name
    for name, one in built.items():
        assert one.get("read_only") is True, name
        assert "cap_add" not in one, name
        assert "user" not in one or not str(one["user"]).startswith(("0", "root")), name


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PACKAGES, *arguments], env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_bill_of_materials_names_every_package_that_is_installed_with_its_hashes(
    tmp_path: Path, lock: dict[str, Any]
) -> None:
    done = run("sbom", str(tmp_path / "sbom.json"))
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    versions = {one["name"]: one["version"] for one in lock["package"]}
    components = {one["name"]: one for one in bill["components"]}
    (own,) = [one for one in lock["package"] if one["name"] == "tidemark"]
    assert {one["name"] for one in own["dependencies"]} <= components.keys()
    assert "pytest" not in components
    for name, one in components.items():
        assert one["version"] == versions[name]
        assert one["purl"].startswith(f"pkg:pypi/{name}@")
        hashes = [hash_ for file in one["externalReferences"] for hash_ in file.get("hashes", ())]
        assert hashes, name


class Osv(BaseHTTPRequestHandler):
    """The part of the OSV API that is asked, with one vulnerability."""

    vulnerable = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = [
            {"vulns": [{"id": "TEST-1", "modified": "2026-01-01T00:00:00Z"}]}
            if self.vulnerable and query["package"]["name"] == VULNERABLE
            else {}
            for query in asked["queries"]
        ]
        self._answer({"results": results})

    def do_GET(self) -> None:
        affected = {"package": {"ecosystem": "PyPI", "name": VULNERABLE}, "ranges": [], "versions": []}
        times = {"modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z"}
        self._answer({"id": "TEST-1", "summary": "a hole", "affected": [affected]} | times)

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("vulnerable", "code"), [(True, 1), (False, 0)])
def test_a_package_with_a_known_vulnerability_is_named(
    osv: str, monkeypatch: pytest.MonkeyPatch, vulnerable: bool, code: int
) -> None:
    monkeypatch.setattr(Osv, "vulnerable", vulnerable)
    done = run("audit", TIDEMARK_OSV_URL=osv)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert ("TEST-1" in done.stdout) is vulnerable
    assert (VULNERABLE in done.stdout) is vulnerable


def test_a_database_that_cannot_be_asked_is_no_clean_bill_of_health() -> None:
    done = run("audit", TIDEMARK_OSV_URL="http://127.0.0.1:1/")
    assert done.returncode == 3
    assert "nothing is known about the packages" in done.stderr
