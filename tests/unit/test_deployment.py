"""What can be known of the deployment files without Docker, systemd or Kubernetes: that they say nothing wrong."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from footfall import __version__
from footfall.settings import VARIABLES, load
from footfall.wire import Half, check

ROOT = Path(__file__).parents[2]
COMPOSE = ("docker-compose.yml", "docker-compose.clickhouse.yml")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
HALVES = {half.value: half for half in Half}
SECRETS = {"REDIS_PASSWORD": "s3cret", "CLICKHOUSE_PASSWORD": "s3cret"}
PINNED = re.compile(r"[a-z./-]+:\d+\.\d+[a-z0-9.-]*")
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def tool(name: str) -> str:
    """A command of the environment that runs these tests."""
    return str(Path(sys.executable).parent / name)


def merged(*names: str) -> dict[str, Any]:
    """Compose files as `docker compose -f ... -f ...` puts them together, as far as these use it."""
    services: dict[str, Any] = {}
    for name in names:
        for service, said in yaml.safe_load((ROOT / name).read_text())["services"].items():
            known = services.setdefault(service, {})
            for key, value in said.items():
                known[key] = known.get(key, {}) | value if isinstance(value, dict) else value
    return services


def given(environment: dict[str, str]) -> dict[str, str]:
    """What a container gets to see, where only the secrets are set outside."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return SECRETS.get(name, default if kind == "-" else "")

    return {name: VARIABLE.sub(value, text) for name, text in environment.items()}


def environment_of_the_image() -> dict[str, str]:
    """What the Dockerfile sets."""
    said = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ENV "))
    return dict(pair.split("=", 1) for pair in said.split()[1:])


@pytest.mark.parametrize("name", COMPOSE)
def test_a_compose_file_keeps_to_the_specification_of_compose(name: str) -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(ROOT / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("names", [COMPOSE[:1], COMPOSE], ids=["mongodb", "clickhouse"])
@pytest.mark.parametrize("service", ["api", "worker"])
def test_footfall_can_run_on_the_settings_that_a_compose_file_gives(names: tuple[str, ...], service: str) -> None:
    said = merged(*names)[service]
    environment = given(said["environment"])
    assert set(environment) <= set(VARIABLES)
    loaded = load(environment_of_the_image() | environment, None)
    check(loaded.settings, HALVES[said["command"][0]])
    assert loaded.settings.redis_password == SECRETS["REDIS_PASSWORD"]
    assert loaded.settings.mongodb_uri is not None
    assert (loaded.settings.clickhouse_url is not None) is (names == COMPOSE)


def test_images_are_named_by_a_version_and_ours_by_the_one_that_is_here() -> None:
    services = merged(*COMPOSE)
    images = {said["image"] for said in services.values()}
    assert f"footfall:{__version__}" in images
    froms = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert [name for name in (*images, *froms) if not PINNED.fullmatch(name)] == []


def test_only_the_api_has_a_port_outside_and_only_on_this_machine() -> None:
    services = merged(*COMPOSE)
    assert [name for name, said in services.items() if "ports" in said] == ["api"]
    assert services["api"]["ports"][0].startswith("127.0.0.1:")
    inside = [name for name, said in services.items() if said["networks"] == ["back"]]
    assert inside == ["worker", "valkey", "mongo", "clickhouse"]
    assert yaml.safe_load((ROOT / COMPOSE[0]).read_text())["networks"]["back"] == {"internal": True}


def test_the_queue_and_the_store_of_compose_keep_what_they_are_given() -> None:
    services = merged(*COMPOSE)
    valkey = " ".join(services["valkey"]["command"])
    assert "--appendonly yes" in valkey
    assert "--maxmemory-policy noeviction" in valkey
    assert "--replSet" in services["mongo"]["command"]
    for name in ("valkey", "mongo", "clickhouse"):
        assert services[name]["volumes"], name
        assert services["worker"]["depends_on"][name] == {"condition": "service_healthy"}


def test_no_secret_has_a_default_and_every_other_variable_of_compose_has_one() -> None:
    for name in COMPOSE:
        for variable, kind, _ in VARIABLE.findall((ROOT / name).read_text()):
            assert kind == ("?" if variable.endswith("PASSWORD") else "-"), variable


def test_one_env_file_serves_compose_and_footfall(tmp_path: Path) -> None:
    """What only compose reads must not be taken for a misspelt setting of ours."""
    path = tmp_path / ".env"
    path.write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    assert load({}, path).settings.redis_password == SECRETS["REDIS_PASSWORD"]


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    done = subprocess.run(
        [tool("hadolint"), "--format", "json", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == []


def test_the_image_runs_as_a_user_without_rights_and_says_how_it_is() -> None:
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert set(environment_of_the_image()) - {"PATH", "PYTHONUNBUFFERED"} <= set(VARIABLES)


def test_what_the_image_is_built_from_is_sent_along() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in sent)
    assert {"footfall", "pyproject.toml", "README.md", "requirements-server.lock"} <= sent


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_there_is_with_settings_that_there_are(path: Path) -> None:
    lines = [line.partition("=") for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
    said = {name: value for name, _, value in lines if name != "Environment"}
    half = said["ExecStart"].split()[-1]
    assert half in HALVES
    names = {pair.split("=")[0] for name, _, value in lines if name == "Environment" for pair in value.split()}
    assert names <= set(VARIABLES)
    assert ("@" in path.stem) is (half != "up")
    assert said["DynamicUser"] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_no_fault_in_a_unit(path: Path, tmp_path: Path) -> None:
    program = tmp_path / "footfall"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / path.name.replace("@", "@1")
    unit.write_text(path.read_text().replace("/opt/footfall/bin/footfall", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert unit.name not in done.stderr, done.stderr


def test_the_page_on_deployment_names_no_setting_and_no_file_that_there_is_not() -> None:
    page = (ROOT / "DEPLOYMENT.md").read_text()
    assigned = set(re.findall(r"^([A-Z][A-Z_]+)=", page, re.MULTILINE))
    assert assigned
    assert assigned <= set(VARIABLES)
    assert [
        name for name in re.findall(r"-f (docker-compose\S*)|(deploy/\S+)", page) if not any(map(_is_there, name))
    ] == []


def _is_there(name: str) -> bool:
    return bool(name) and (ROOT / name).exists()


def test_the_sketch_for_kubernetes_can_be_read_and_its_settings_are_ours() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "DEPLOYMENT.md").read_text(), re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in yaml.safe_load_all(block)]
    assert [part["metadata"]["name"] for part in parts] == ["footfall-api", "footfall-worker"]
    for part in parts:
        container = part["spec"]["template"]["spec"]["containers"][0]
        assert container["args"][0] in HALVES
        assert {each["name"] for each in container["env"]} <= set(VARIABLES)
        assert container["image"].endswith(f":{__version__}")
        probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("readiness", "liveness")]
        assert probes == ["/api/health/ready", "/api/health/live"]
