"""A search space is read strictly, and every mistake in it is named at once, with its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from plastsearch.errors import SpecError
from plastsearch.spec.load import load_sweep, load_trial, parse_trial
from plastsearch.spec.places import looks_like_path

GOOD = """
base: {method: plasticity}
space:
  layers: {kind: subset, of: "encoder.*.ffn", max: 3}
  neurons: {kind: int, low: 16, high: 128, step: 16}
  train.lr: {kind: float, low: 1e-4, high: 1e-2, log: true}
"""


@pytest.fixture
def write(tmp_path):
    def made(text, name="space.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return made


def mistakes(path, *overrides):
    with pytest.raises(SpecError) as caught:
        load_sweep(path, overrides)
    return caught.value.mistakes


def test_numbers_words_and_defaults(write):
    spec = load_sweep(write(GOOD + "question: no\nsearch: {trials: 2e1}\n"))
    assert spec.space["train.lr"].low == 1e-4
    assert (spec.question, spec.search.trials, spec.name) == ("no", 20, "space")
    assert [one.metric for one in spec.objectives] == ["dev_eer", "backward_ratio", "params_total"]
    assert spec.controls == ("baseline", "lora", "random")


def test_a_spec_reads_back_from_its_plain_data(write):
    spec = load_sweep(write(GOOD))
    again = type(spec).model_validate(spec.plain())
    assert again == spec
    assert again.spec_hash() == spec.spec_hash()


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("serach: {trials: 3}", "serach", "did you mean 'search'"),
        ("search: {trials: many}", "search.trials", "should be a whole number, not 'many'"),
        ('search: {trials: "24"}', "search.trials", "should be a whole number, not '24'"),
        ("search: {trials: true}", "search.trials", "should be a whole number"),
        ("search: {sampler: tp}", "search.sampler", "did you mean 'tpe'"),
        ("objectives: [{metric: dev_err}]", "objectives.0.metric", "did you mean 'dev_eer'"),
        ("objectives: []", "objectives", "at least 1"),
        ("constraints: [params_total < 3]", "constraints.0", "params_total <= 1.05 * baseline"),
        ("constraints: [parms_total <= 3]", "constraints.0", "did you mean 'params_total'"),
        ("controls: [baseline, baseline]", "controls.1", "listed twice"),
        ("finalists: 3", "finalists", "section"),
        ("try_first: [{neuron: 16}]", "try_first.0.neuron", "did you mean 'neurons'"),
        ("try_first: [{neurons: 17}]", "try_first.0.neurons", "16 to 128 in steps of 16"),
        ("halt: {kind: asha, rungs: [2]}", "halt.rungs.0", "less than 1"),
        ("version: 2", "version", "known: 1"),
        ("name: ../x", "name", "pattern"),
    ],
)
def test_each_mistake_names_line_key_and_remedy(write, line, place, words):
    found = mistakes(write(GOOD + line + "\n"))
    assert len(found) == 1, found
    assert f"space.yaml:7: {place}: " in found[0]
    assert words in found[0]


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("criterion: {kind: choice, of: [tailor]}", "space.criterion.of.0", "taylor"),
        ("criterion: {kind: choice, of: []}", "space.criterion.of", "at least 1"),
        ("criterion: [taylor]", "space.criterion", "section"),
        ("criterion: {of: [taylor]}", "space.criterion", "missing `kind`"),
        ("keep: {kind: flot, low: 0, high: 1}", "space.keep", "did you mean 'float'"),
        ("keep: {kind: float, low: 0, high: 2}", "space.keep.high", "less than or equal to 1"),
        ("keep: {kind: float, low: 1, high: 0}", "space.keep", "swap them"),
        ("rank: {kind: int, low: 1, high: 8, stepp: 2}", "space.rank.stepp", "did you mean 'step'"),
        ("lr: {kind: float, low: 1e-4, high: 1}", "space.lr", "did you mean 'train.lr'"),
        ("model.preset: {kind: choice, of: [tinny]}", "space.model.preset.of.0", "tiny"),
        ("pool: {kind: choice, of: [all], when: {regme: frozen}}", "space.pool.when.regme", "no such key"),
        ("rank: {kind: subset, of: 'encoder.*'}", "space.rank", "subset chooses sites"),
        ("pool: {kind: choice, of: [all], per_layer: true}", "space.pool.per_layer", "'neurons' only"),
    ],
)
def test_mistakes_in_domains(write, line, place, words):
    found = mistakes(write(GOOD + "  " + line + "\n"))
    assert len(found) == 1, found
    assert f"space.yaml:7: {place}: " in found[0]
    assert words in found[0]


def test_all_at_once_and_none_that_only_follows(write):
    text = GOOD.replace("high: 128", "high: 8").replace("plasticity", "plasticty")
    found = mistakes(write(text + "  criterion: {kind: choice, of: [tailor]}\nsearch: {trials: no}\n"))
    assert [line.split(": ")[1] for line in found] == [
        "base.method", "space.neurons", "space.criterion.of.0", "search.trials",
    ]  # fmt: skip


def test_a_key_given_twice(write):
    found = mistakes(write(GOOD + "version: 1\nversion: 1\n"))
    assert found == [f"{write(GOOD + 'version: 1' + chr(10) + 'version: 1' + chr(10))}:7: version: given twice, "
                     "on lines 7 and 8; keep one"]  # fmt: skip


def test_growing_methods_need_sites_and_neurons(write):
    found = mistakes(write("base: {method: dropin}\nspace: {}\n"))
    assert "no sites are named" in found[0]
    assert "by nothing" in found[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("[1, 2]", "key: value"),
        ("a: [1", "not YAML"),
        ("a: 1\n b: 2", "not YAML"),
        ("a: &x [*x]", "contains itself"),
        ("<<: {a: 1}", "merge keys"),
        ("space: !!python/object:os.system {}", "the tag !!python/object:os.system is not read"),
        ("search: {seed: .inf}", "no usable number"),
    ],
)
def test_files_that_are_no_search_space(write, text, words):
    assert any(words in line for line in mistakes(write(text)))


def test_missing_file_folder_and_junk(write, tmp_path):
    write(GOOD, "w2v_layers.yaml")
    assert "did you mean" in mistakes(tmp_path / "w2v_layer.yaml")[0]
    assert "is a folder; give one of its files: w2v_layers.yaml" in mistakes(tmp_path)[0]
    (tmp_path / "junk.yaml").write_bytes(bytes(range(256)))
    assert "not text" in mistakes(tmp_path / "junk.yaml")[0]
    (tmp_path / "nul.yaml").write_bytes(b"a: \0\0")
    assert "not YAML" in mistakes(tmp_path / "nul.yaml")[0]


def test_overrides_are_validated_like_the_file(write):
    path = write(GOOD)
    spec = load_sweep(
        path,
        [
            "search.trials=3",
            "space.train.lr.high=1e-1",
            "base.train.steps=50",
            "space.keep={kind: float, low: 0, high: 1}",
        ],
    )
    assert (spec.search.trials, spec.space["train.lr"].high, spec.base.train.steps) == (3, 0.1, 50)
    assert spec.space["keep"].high == 1
    found = mistakes(path, "search.trails=3", "base.train.steps=abc", "nonsense", "objectives.7.metric=x")
    assert any("--set search.trails=3: search.trails: unknown key; did you mean 'trials'" in line for line in found)
    assert any("--set base.train.steps=abc: base.train.steps: should be a whole number" in line for line in found)
    assert any("write it as path=value" in line for line in found)


def test_a_trial_is_read_from_its_own_file_or_a_space(write):
    assert load_trial(write("method: baseline\ntrain: {lr: 1e-4}\n")).train.lr == 1e-4
    assert load_trial(write(GOOD), ["base.seed=3"]).seed == 3
    with pytest.raises(SpecError, match="unknown key; did you mean 'method'"):
        load_trial(write("methd: baseline\n"))


def test_reading_imports_no_torch():
    code = "import sys; from plastsearch.spec import load; sys.exit(sum(m in sys.modules for m in ('torch', 'optuna')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


PLACES = """
base:
  model: {from: ./weights}
  data: {corpus: asvspoof2019_la, root: corpora/LA, search_dev: {policy: second_corpus, root: ~/other}}
space:
  model.from: {kind: choice, of: [facebook/wav2vec2-base, ../weights, mine]}
  layers: {kind: subset, of: "encoder.*.ffn", max: 3}
  neurons: {kind: int, low: 16, high: 128, step: 16}
try_first: [{model.from: mine}]
"""


def test_paths_are_absolute_once_read_wherever_a_worker_will_stand(write, tmp_path, monkeypatch):
    """A name that exists as a folder here is that folder; whatever else may be a hub name stays one."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    spec = load_sweep(write(PLACES), ["base.data.manifest=tables/clips.csv"])
    assert spec.base.model.from_ == str(tmp_path / "weights")
    assert spec.base.data.root == str(tmp_path / "corpora/LA")
    assert spec.base.data.manifest == str(tmp_path / "tables/clips.csv")
    assert spec.base.data.search_dev.root == "/home/someone/other"
    chosen = ("facebook/wav2vec2-base", str(tmp_path.parent / "weights"), str(tmp_path / "mine"))
    assert tuple(spec.space["model.from"].of) == chosen
    assert spec.try_first[0]["model.from"] == str(tmp_path / "mine")
    assert load_trial(write(PLACES)).data.root == str(tmp_path / "corpora/LA")
    assert parse_trial({"data": {"root": "LA"}}).data.root == str(tmp_path / "LA")


@pytest.mark.parametrize(("root", "kept"), [(None, False), ("corpus", True)])
def test_relative_recordings_lie_below_the_corpus_or_else_here(root, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse_trial({"data": {"root": root, "augment": ["noise:musan", "codec"]}})
    assert config.data.augment == ("noise:musan" if kept else f"noise:{tmp_path / 'musan'}", "codec")


@pytest.mark.parametrize("source", ["/a/b", "./b", "../b", "~/b", "a/b/c", "a\\b", ".hidden"])
def test_what_looks_like_a_path(source):
    assert looks_like_path(source)
    assert not any(
        looks_like_path(name) for name in ("bert", "facebook/wav2vec2-base", "me/mine@refs/pr/1", "a/b@v1.0")
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("search={replicate: auto, duplicates: replicate}", "search.replicate: repeats trials already"),
        ("search={replicate: 4, trials: 3}", "4 seeds are 4 runs of a trial, and search.trials allows 3"),
        ("search={replicate: 1}", "search.replicate"),
        ("search={replicate: often}", "search.replicate"),
    ],
)
def test_repeats_that_cannot_be_are_refused(tmp_path, change, says):
    file = tmp_path / "space.yaml"
    file.write_text("space: {neurons: {kind: choice, of: [8, 16]}}\nbase: {method: dropin, layers: [gru.0]}\n")
    with pytest.raises(SpecError, match=says):
        load_sweep(file, [change])
