"""Strict schemas: a field that Kubernetes would silently drop is an error."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

Schema = dict[str, Any]
# The Kubernetes version whose schemas the built-in kinds are checked against.
KUBERNETES = "1.32"
CRD_FILES = {
    "RayCluster": "ray.io_rayclusters.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
    "RayService": "ray.io_rayservices.yaml",
    "ClusterQueue": "kueue/clusterqueues.yaml",
    "LocalQueue": "kueue/localqueues.yaml",
    "ResourceFlavor": "kueue/resourceflavors.yaml",
    "WorkloadPriorityClass": "kueue/workloadpriorityclasses.yaml",
}
# What a manifest may say of an object; the definitions leave `metadata` open.
METADATA: Schema = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def is_custom(obj: dict[str, Any]) -> bool:
    return obj["apiVersion"].split("/")[0] in ("ray.io", "kueue.x-k8s.io")


def custom_errors(obj: dict[str, Any], crds: Path) -> list[str]:
    """The parts of an object that its custom resource definition does not allow, with the path of each finding."""
    schema = _crd_schema(crds / CRD_FILES[obj["kind"]], obj["apiVersion"].split("/")[1])
    errors = jsonschema.Draft202012Validator(schema).iter_errors(obj)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def core_errors(obj: dict[str, Any]) -> list[str]:
    """The same for a built-in Kubernetes kind. Needs the package kubernetes-validate."""
    group, _, version = obj["apiVersion"].rpartition("/")
    name = "-".join(filter(None, [obj["kind"].lower(), group.partition(".")[0], version]))
    folder, registry = _core_schemas()
    schema = json.loads((folder / f"{name}.json").read_text())
    errors = jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(obj)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@functools.cache
def _core_schemas() -> tuple[Path, Registry]:
    """The strict schemas of a Kubernetes version, and the definitions that they refer to."""
    import kubernetes_validate

    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, definitions @ Registry()


@functools.cache
def _crd_schema(file: Path, version: str) -> Schema:
    definition = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (served,) = [v for v in definition["spec"]["versions"] if v["name"] == version and v["served"]]
    schema = closed(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = METADATA
    schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata"})
    return schema


def closed(schema: Schema) -> Schema:
    """An OpenAPI schema as a JSON schema that allows no field it does not name.

    Fields with a default may be left out, as the API server fills them in before it validates.
    """
    properties = {name: closed(inner) for name, inner in schema.get("properties", {}).items()}
    out: Schema = {
        key: schema[key]
        for key in ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
        if key in schema
    }
    for key in ("allOf", "anyOf", "oneOf"):
        # Pieces only add conditions; closing them would forbid what the whole allows.
        if key in schema and not schema.get("x-kubernetes-int-or-string"):
            out[key] = schema[key]
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    elif "type" in schema:
        out["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
    if "items" in schema:
        out["items"] = closed(schema["items"])
    if properties:
        out["properties"] = properties
        out["required"] = [n for n in schema.get("required", []) if "default" not in schema["properties"].get(n, {})]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = closed(schema["additionalProperties"])
    return out
