"""The schema for editors takes every space that can be read, and refuses what it can know to be wrong."""

import itertools
import json
from pathlib import Path

import jsonschema
import pytest

from plastsearch.errors import SpecError
from plastsearch.models.catalog import PRESETS
from plastsearch.models.sites import site_table
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import METRICS, parse_constraint
from plastsearch.spec.document import read_document
from plastsearch.spec.load import load_sweep
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.schema import FILE, as_text, schema
from plastsearch.spec.sweep import SweepSpec
from tests.cli import test_check
from tests.spec import test_load

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "search_spaces").rglob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator
SPACE, TRIAL = VALIDATOR(schema("space")), VALIDATOR(schema("trial"))

# What a schema cannot know, by the mistake that `check` tells: arithmetic, networks, and keys of other parts.
BEYOND = {
    "swap them": "one number is compared with another",
    "16 to 128 in steps of 16": "a point is compared with its domain",
    "are 4 runs of a trial": "one number is compared with another",
    "but the patterns match 6 sites": "a network is asked",
    "no site matches": "a network is asked",
    "does not fit 'encoder.5.att": "a network is asked",
    "wav2vec2 cannot read 'lfcc'": "a network is asked",
    "missing; give the corpus's folder": "files are looked for",
    "layers: e": "a point is compared with its domain",
    "grid needs": "the whole space is counted",
    "grnn has nothing to compile": "a network is asked",
    "is timed while other trials compute": "resources are asked",
}


def refused(text, overrides=()):
    """What the schema says of a text with overrides, as an editor would see it."""
    document = read_document(text)
    from plastsearch.spec.coherence import paths
    from plastsearch.spec.document import override

    for one in overrides:
        override(document, one, paths())
    return [*SPACE.iter_errors(document.data)]


def table(function):
    """The cases of a test of another file."""
    return function.pytestmark[0].args[1]


def broken():
    """Every broken space of the tests that can be read as YAML: text, overrides, words of the mistake."""
    for line, _, words in table(test_load.test_each_mistake_names_line_key_and_remedy):
        yield test_load.GOOD + line + "\n", (), words
    for line, _, words in table(test_load.test_mistakes_in_domains):
        yield test_load.GOOD + "  " + line + "\n", (), words
    yield "base: {method: dropin}\nspace: {}\n", (), "no sites are named"
    repeating = "space: {neurons: {kind: choice, of: [8, 16]}}\nbase: {method: dropin, layers: [gru.0]}\n"
    for change, words in table(test_load.test_repeats_that_cannot_be_are_refused):
        yield repeating, (change,), words
    for text, overrides, words in table(test_check.test_what_does_not_exist):
        yield text, overrides, words


def test_it_is_a_schema_and_the_committed_file_is_it():
    VALIDATOR.check_schema(schema("space"))
    VALIDATOR.check_schema(schema("trial"))
    assert (ROOT / "search_spaces" / FILE).read_text() == as_text(), f"plastsearch schema --out search_spaces/{FILE}"
    assert "http" not in as_text().replace(json.loads(as_text())["$schema"], "")


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_names_it_and_passes(path):
    named = [line for line in path.read_text().splitlines() if line.startswith("# yaml-language-server: $schema=")]
    assert len(named) == 1
    assert (path.parent / named[0].partition("=")[2]).resolve() == (ROOT / "search_spaces" / FILE).resolve()
    assert not [*SPACE.iter_errors(read_document(path).data)]
    assert not [*TRIAL.iter_errors(read_document(path).data["base"])]
    # with all defaults spelt out, as a journal keeps it
    assert not [*SPACE.iter_errors(load_sweep(path).plain())]


def test_broken_spaces_are_refused_but_for_what_no_schema_can_know(tmp_path):
    missed, seen = {}, 0
    for text, overrides, words in broken():
        path = tmp_path / "space.yaml"
        path.write_text(text)
        seen += 1
        if not refused(path, overrides):
            missed[words] = text
    known = {words: [one for one in BEYOND if one in words] for words in missed}
    assert all(known.values()), f"a schema could have known {[words for words, why in known.items() if not why]}"
    assert {one for why in known.values() for one in why} == set(BEYOND), "no longer beyond a schema"
    assert (seen >= 45, len(missed)) == (True, len(BEYOND))


@pytest.mark.parametrize(
    "text",
    [
        "base: {train: {steps: 10, epochs: 2}}",
        "space: {data.crops: {kind: choice, of: [1, 4]}}",
        "space: {layers: {kind: int, low: 1, high: 3}}",
        "space: {layers: {kind: subset, of: encoder.*.fnn}}",
        "space: {neurons: {kind: int, low: -8, high: 8}}",
        "space: {train.lr: {kind: float, low: 0, high: 1, log: true}}",
        "space: {rank: {kind: int, low: 1, high: 8, step: 2, log: true}}",
        "space: {pool: {kind: choice, of: [all], fit: snap}}",
        "space: {pool: {kind: choice, of: [all], when: {pool: all}}}",
        "objectives: [{metric: spike_rate}]",
        "constraints: ['spike_rate <= 0.2']",
        "try_first: [{criterion: tailor}]",
    ],
)
def test_what_excludes_each_other_is_known_to_the_schema_and_to_check(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text + "\n")
    assert refused(path)
    if "fnn" not in text:  # a network's sites are looked up later
        with pytest.raises(SpecError):
            load_sweep(path)


def test_every_site_and_usual_pattern_looks_like_one():
    items = VALIDATOR({"$ref": "#/$defs/TrialConfig/properties/layers", **{"$defs": schema("trial")["$defs"]}})
    names = [
        row.name for name, presets in PRESETS.items() for preset in presets
        for row in site_table(ModelConfig(name=name, preset=preset))
    ]  # fmt: skip
    patterns = ["encoder.*.ffn", "encoder.{0..5,7}.attention", "gru.{0,2}", "layer{1,2}.*", "layer*.0", "*.*.ffn",
                "encoder.3.*", "encoder.1*.ffn", "{gru}.1"]  # fmt: skip
    assert items.is_valid([*names, *patterns])
    for wrong in ("encoder.3.fnn", "encodr.3.ffn", "gru", "gru.x", "layer1", "encoder.*.head"):
        assert not items.is_valid([wrong]), wrong


def test_constraints_look_like_what_is_read():
    pattern = VALIDATOR(schema("space")["properties"]["constraints"]["items"] | {"type": "string"})
    signs, bounds = ("<=", ">=", "<", "="), ("1.05 * baseline", "baseline", "3", ".5e3", "-1", "x", "2 * base", "")
    for metric, sign, bound in itertools.product([*list(METRICS)[:3], "eer"], signs, bounds):
        text = f"{metric} {sign} {bound}"
        try:
            parse_constraint(text)
            fine = True
        except ValueError:
            fine = False
        assert pattern.is_valid(text) is fine, text


def test_every_setting_is_described_and_has_its_default():
    """The reference is made from these: a setting without a sentence would have none."""
    made = schema("space")
    sections = {"": made, **{name: one for name, one in made["$defs"].items() if name != "JsonValue"}}
    for section, found in sections.items():
        for name, one in found["properties"].items():
            target = one.get("$ref", "").rsplit("/", 1)[-1]
            assert one.get("description") or (target and made["$defs"][target].get("description")), (section, name)
    for model in (SweepSpec, TrialConfig):
        for name, field in model.model_fields.items():
            assert field.description.endswith("."), name
