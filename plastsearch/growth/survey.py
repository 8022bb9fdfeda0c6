"""Finds the sites of a network: those it declares, else those of a known family; and why others cannot grow."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.families import recognise
from plastsearch.growth.layers import layer_refused
from plastsearch.growth.paths import at
from plastsearch.growth.site import _STREAM, _WAVLM, Refusal, Site, layers_of


def find_sites(module: nn.Module) -> dict[str, Site]:
    """All sites of a network that can change their width by name, the earliest computed first."""
    sites, refused = survey(module)
    if refused and not sites:
        raise GrowthError("\n".join(dict.fromkeys(refused.values())))
    return sites


def survey(module: nn.Module) -> tuple[dict[str, Site], dict[str, str]]:
    """The sites of a network, and the names that cannot be sites with the reasons: one part does not block the rest."""
    factory: Any = module.__dict__.get("_site_factory")
    if factory is not None:
        sites = factory(module)
    elif hasattr(module, "declare_sites"):
        declare: Any = module.declare_sites
        sites = declare()
    else:
        sites = recognise(module)
    found: dict[str, Site] = {}
    refused = {one.name: one.reason for one in sites if isinstance(one, Refusal)}
    for site in sorted((one for one in sites if isinstance(one, Site)), key=lambda site: site.order):
        if site.name in found or site.name in refused:
            raise GrowthError(f"site '{site.name}' is declared twice in {type(module).__name__}")
        reason = next(filter(None, (layer_refused(at(module, path), path) for path in layers_of(site))), None)
        if reason is None:
            found[site.name] = site
        else:
            refused[site.name] = f"site '{site.name}' cannot change its width: {reason}"
    return found, refused


def pick(root: nn.Module, sites: Mapping[str, Site], name: str) -> Site:
    """The site of a name, or an error that lists the sites there are."""
    if name in sites:
        return sites[name]
    refused = survey(root)[1]
    if name in refused:
        raise GrowthError(refused[name])
    reason = ""
    if _STREAM.search(name):
        reason = (
            ": the residual stream cannot grow without changing the function, since LayerNorm averages over the stream "
            "and new channels would move its mean and variance; grow an inner width"
        )
    if name.endswith((".attention", ".head_width")) and any(hasattr(m, "gru_rel_pos_const") for m in root.modules()):
        reason = f": {_WAVLM}"
    raise GrowthError(f"no site '{name}' in {type(root).__name__}{reason}; its sites: {', '.join(sites)}")
