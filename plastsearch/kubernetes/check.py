"""Manifests looked at without a cluster: KubeRay's fields and rules, and whether the parts agree with each other."""

from collections.abc import Sequence

from plastsearch.kubernetes import (
    network_rules,
    object_rules,
    pod_rules,
    policy_rules,
    ray_rules,
    references,
    schema,
    sweep_rules,
)
from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import Objects
from plastsearch.kubernetes.sweep_rules import Reader


def check(
    objects: Objects, read: Reader, beside: Objects | None = None, releases: Sequence[str] = ()
) -> tuple[list[Finding], str | None]:
    """Every mistake once, in the objects' order, and what could not be looked at.

    What is `beside` them is in the cluster already; KubeRay's releases are all that are known, unless some are named.
    """
    whole = Objects((*objects.all, *(beside.all if beside else ())))
    core, note = object_rules.core_findings(objects)
    rules = (
        object_rules.object_findings(whole, releases or schema.releases()),
        object_rules.claim_findings(whole),
        object_rules.size_findings(whole),
        core,
        object_rules.duplicate_entries(whole),
        ray_rules.ray_findings(whole),
        pod_rules.pod_findings(whole),
        pod_rules.image_findings(whole),
        references.reference_findings(whole),
        network_rules.selector_findings(whole),
        network_rules.mlflow_findings(whole),
        policy_rules.policy_findings(whole),
        sweep_rules.sweep_findings(whole, read),
    )
    order = {id(one): place for place, one in enumerate(objects.all)}
    found = {str(one): one for rule in rules for one in rule if id(one.about) in order}
    return sorted(found.values(), key=lambda one: order[id(one.about)]), note
