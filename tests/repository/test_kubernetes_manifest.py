"""The manifest in docs/service: Kubernetes, Ray Serve and the server accept it, and its parts fit together."""

import copy
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from rewas_cli.app import app
from rewas_server.cluster.remote_work import ClusterSettings

DOCUMENTS: list[dict[str, Any]] = list(
    yaml.safe_load_all(
        (Path(__file__).resolve().parents[2] / "docs" / "service" / "rewas-kuberay.yaml").read_text("utf-8")
    )
)
KUBERNETES_VERSION = "1.33"


def group_schema(**fields: object) -> dict[str, object]:
    properties = {"rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}}, "template": {}}
    return {
        "type": "object",
        "properties": properties | fields,
        "required": [*properties, *({"groupName"} & set(fields))],
        "additionalProperties": False,
    }


COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
RAY_SERVICE = {
    "type": "object",
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayService"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "serveConfigV2": {"type": "string"},
                "rayClusterConfig": {
                    "type": "object",
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "enableInTreeAutoscaling": {"type": "boolean"},
                        "autoscalerOptions": {
                            "type": "object",
                            "properties": {"idleTimeoutSeconds": COUNT},
                            "additionalProperties": False,
                        },
                        "headGroupSpec": group_schema(),
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": group_schema(
                                groupName={"type": "string"}, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT
                            ),
                        },
                    },
                    "required": ["headGroupSpec"],
                    "additionalProperties": False,
                },
            },
            "required": ["serveConfigV2", "rayClusterConfig"],
            "additionalProperties": False,
        },
    },
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
}
"""The fields of ray.io/v1 that the manifest uses, as KubeRay documents them. Pods are checked by Kubernetes' schema."""


def document(kind: str) -> dict[str, Any]:
    (found,) = (each for each in DOCUMENTS if each["kind"] == kind)
    return found


def ray_templates(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]


def check_all(documents: list[dict[str, Any]]) -> None:
    """Raise an error if a document does not fit its schema."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for each in documents:
        if each["kind"] != "RayService":
            kubernetes_validate.validate(each, KUBERNETES_VERSION, strict=True)
            continue
        jsonschema.validate(each, RAY_SERVICE)
        for template in ray_templates(each):
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": template.get("metadata", {}),
                "spec": template["spec"],
            }
            kubernetes_validate.validate(pod, KUBERNETES_VERSION, strict=True)


def pod_specs() -> Iterator[dict[str, Any]]:
    yield document("Deployment")["spec"]["template"]["spec"]
    for template in ray_templates(document("RayService")):
        yield template["spec"]


def serve_config() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(document("RayService")["spec"]["serveConfigV2"])
    return config


def option(name: str) -> str:
    command = document("Deployment")["spec"]["template"]["spec"]["containers"][0]["command"]
    (value,) = (each.partition("=")[2] for each in command if each.startswith(f"--{name}="))
    return str(value)


def test_the_schemas_accept_the_manifest() -> None:
    check_all(DOCUMENTS)


@pytest.mark.parametrize(
    "path",
    [
        ("RayService", "spec", "rayClusterConfig", "headGroupSpecs"),
        ("RayService", "spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplica"),
        ("RayService", "spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "container"),
        ("Deployment", "spec", "template", "spec", "containers", 0, "commands"),
        ("NetworkPolicy", "spec", "podSelectors"),
    ],
)
def test_the_schemas_refuse_a_misspelt_field(path: tuple[Any, ...]) -> None:
    kind, *keys, name = path
    documents = copy.deepcopy(DOCUMENTS)
    (owner,) = (each for each in documents if each["kind"] == kind)
    for key in keys:
        owner = owner[key]
    owner[name] = []
    with pytest.raises(Exception, match=name):
        check_all(documents)


def test_ray_serve_accepts_the_application() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    (application,) = schema.ServeDeploySchema.model_validate(serve_config()).applications
    module, _, name = application.import_path.partition(":")
    assert inspect.isfunction(getattr(importlib.import_module(module), name))
    settings = ClusterSettings(**application.args)
    (workers,) = document("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (settings.min_replicas, settings.max_replicas)


def test_the_server_knows_the_options_of_its_command_line() -> None:
    program, *arguments = document("Deployment")["spec"]["template"]["spec"]["containers"][0]["command"]
    assert program == "rewas"
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None):
        command = command.commands[arguments.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {argument.partition("=")[0] for argument in arguments} <= known


def test_the_server_and_the_replicas_agree() -> None:
    (application,) = serve_config()["applications"]
    arguments = application["args"]
    port = serve_config()["http_options"]["port"]
    assert option("ray-url") == f"http://{document('RayService')['metadata']['name']}-serve-svc:{port}"
    assert option("ray-token-file") == arguments["token_file"]
    assert option("content-store") == arguments["content_store"]
    assert int(option("ray-replicas")) == arguments["max_replicas"]
    (rule,) = (each for each in document("NetworkPolicy")["spec"]["ingress"] if "ports" in each)
    assert [each["port"] for each in rule["ports"]] == [port]
    images = {container["image"] for spec in pod_specs() for container in spec["containers"]}
    assert len(images) == 1
    for spec in pod_specs():
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounts = [mount for each in spec["containers"] for mount in each["volumeMounts"]]
        assert {mount["name"] for mount in mounts} <= volumes
        assert Path(arguments["token_file"]).parent in {Path(mount["mountPath"]) for mount in mounts}
