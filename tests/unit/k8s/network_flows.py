"""The traffic allowed by the network policies, by Kubernetes' rules: a connection must be allowed out, and in."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from manifests import Object, selects


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod with labels in a namespace with labels, or an address (`ip`) that is no pod's."""

    labels: dict[str, str] = field(default_factory=dict[str, str])
    namespace: dict[str, str] = field(default_factory=dict[str, str])
    ip: str | None = None


def allowed(
    objects: list[Object], source: End, target: End, port: int, *, home: dict[str, str], protocol: str = "TCP"
) -> bool:
    """Whether the policies let `source` reach `port` of `target`; `home` are the labels of the policies' namespace."""
    policies = [obj["spec"] for obj in objects if obj["kind"] == "NetworkPolicy"]
    ends = (("Egress", source, target, "to"), ("Ingress", target, source, "from"))
    for direction, end, other, key in ends:
        if end.namespace != home or end.ip is not None:
            continue
        chosen = [p for p in policies if direction in p["policyTypes"] and selects(p["podSelector"], end.labels)]
        rules = [rule for policy in chosen for rule in policy.get(direction.lower(), [])]
        if chosen and not any(_lets(rule, key, other, port, protocol, home) for rule in rules):
            return False
    return True


def _lets(rule: Object, key: str, other: End, port: int, protocol: str, home: dict[str, str]) -> bool:
    ports = [(p.get("protocol", "TCP"), p["port"]) for p in rule.get("ports", [])]
    is_open = not ports or (protocol, port) in ports
    return is_open and (key not in rule or any(_is_peer(peer, other, home) for peer in rule[key]))


def _is_peer(peer: Object, other: End, home: dict[str, str]) -> bool:
    if "ipBlock" in peer:
        if other.ip is None:
            return False
        address, block = ip_address(other.ip), peer["ipBlock"]
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(cidr) for cidr in block.get("except", []))
    if other.ip is not None:
        return False
    of_namespace = selects(peer["namespaceSelector"], other.namespace) if "namespaceSelector" in peer else None
    if of_namespace is None:
        of_namespace = other.namespace == home
    return of_namespace and selects(peer.get("podSelector", {}), other.labels)
