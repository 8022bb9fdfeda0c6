"""Every corpus is read by its protocol, tree for tree, with its quirks; a wrong tree is refused with the way out."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plastsearch.data.corpora import read_corpus
from plastsearch.errors import DataError


def rows(manifest, split):
    return manifest.splits[split].to_pylist()


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_la_reads_attack_from_column_four(la_tree):
    manifest = read_corpus("asvspoof2019_la", la_tree)
    assert {split: len(table) for split, table in manifest.splits.items()} == {"train": 16, "dev": 12, "eval": 8}
    second = rows(manifest, "train")[1]
    assert second == {
        "id": "LA_T_1002", "path": "ASVspoof2019_LA_train/flac/LA_T_1002.flac", "label": 0, "attack": "A01",
        "speaker": "LA_t001", "condition": "-", "line": 2,
    }  # fmt: skip
    assert not len(manifest.problems)


def test_pa_reads_environment_and_leaves_enrolment_files_alone(tmp_path):
    touch(tmp_path, *(f"ASVspoof2019_PA_{s}/flac/PA_{s}_1.flac" for s in ("train", "dev", "eval")))
    touch(tmp_path, "ASVspoof2019_PA_dev/flac/PA_D_enrolment.flac")
    for split, kind in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        path = tmp_path / "ASVspoof2019_PA_cm_protocols" / f"ASVspoof2019.PA.cm.{split}.{kind}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"PA_0079 PA_{split}_1 aaa - bonafide\nPA_0079 PA_{split}_2 acb AB spoof\n")
    manifest = read_corpus("asvspoof2019_pa", tmp_path)
    first, second = rows(manifest, "dev")
    assert (first["condition"], first["attack"], first["label"]) == ("aaa", "-", 1)
    assert (second["condition"], second["attack"], second["label"]) == ("acb", "AB", 0)
    assert len(manifest.splits["dev"]) == 2


@pytest.mark.parametrize("place", ["keys", "ASVspoof2021_LA_eval/keys"])
def test_2021_joins_audio_with_keys_and_separates_subsets(tmp_path, place):
    touch(tmp_path, "ASVspoof2021_LA_eval/flac/LA_E_1.flac")
    (tmp_path / "ASVspoof2021_LA_eval/ASVspoof2021.LA.cm.eval.trl.txt").write_text("LA_E_1\nLA_E_2\nLA_E_9\n")
    keys = tmp_path / place / "LA" / "CM" / "trial_metadata.txt"
    keys.parent.mkdir(parents=True)
    keys.write_text(
        "LA_0009 LA_E_1 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0010 LA_E_2 none loc_tx bonafide bonafide notrim eval\n"
        "LA_0010 LA_E_3 none loc_tx bonafide bonafide notrim progress\n"
    )
    manifest = read_corpus("asvspoof2021_la", tmp_path, needed=("eval",))
    assert [(r["id"], r["attack"], r["condition"]) for r in rows(manifest, "eval")] == [
        ("LA_E_1", "A07", "alaw"),
        ("LA_E_2", "-", "none"),
    ]
    assert [r["line"] for r in rows(manifest, "progress")] == [3]
    assert "1 keyed clips are not in it, 1 of its clips have no key" in manifest.notes[0]


def test_2021_df_has_thirteen_columns(tmp_path):
    touch(tmp_path, "ASVspoof2021_DF_eval/flac/DF_E_1.flac")
    keys = tmp_path / "keys" / "DF" / "CM" / "trial_metadata.txt"
    keys.parent.mkdir(parents=True)
    keys.write_text("LA_0023 DF_E_1 low_mp3 asvspoof A14 spoof notrim eval traditional_vocoder - - - -\n")
    manifest = read_corpus("asvspoof2021_df", tmp_path, needed=("eval",))
    assert rows(manifest, "eval")[0]["condition"] == "low_mp3"
    assert any("no audio list" in note for note in manifest.notes)


def test_2021_without_keys_says_where_to_put_them(tmp_path):
    touch(tmp_path, "ASVspoof2021_LA_eval/flac/LA_E_1.flac")
    with pytest.raises(DataError, match=r"LA-keys-full.*keys/LA/CM/trial_metadata\.txt"):
        read_corpus("asvspoof2021_la", tmp_path, needed=("eval",))


@pytest.mark.parametrize("gap", [" ", "\t", "  "])
def test_asvspoof5_tsv_is_split_at_any_white_space(tmp_path, gap):
    touch(tmp_path, "flac_T/T_0000000000.flac", "flac_D/D_0000000001.flac")
    line = gap.join(["T_4850", "T_0000000000", "F", "-", "-", "-", "AC3", "A05", "spoof", "-"])
    (tmp_path / "ASVspoof5.train.tsv").write_text(line + "\n")
    (tmp_path / "ASVspoof5.dev.track_1.tsv").write_text("D_0062 D_0000000001 M - - - - bonafide bonafide -\r\n")
    manifest = read_corpus("asvspoof5", tmp_path, needed=("train", "dev"))
    assert rows(manifest, "train")[0]["attack"] == "A05"
    assert rows(manifest, "dev")[0] == {
        "id": "D_0000000001", "path": "flac_D/D_0000000001.flac", "label": 1, "attack": "-", "speaker": "D_0062",
        "condition": "-", "line": 1,
    }  # fmt: skip
    assert any("no eval protocol" in note for note in manifest.notes)


FOR_PLACES = [
    ("for-norm", "for-norm/for-norm"),
    ("for-norm", "for-norm"),
    ("for-2sec", "for-2sec/for-2seconds"),
    ("for-rerec", "for-rerec/for-rerecorded"),
    ("for-original", "for-original/for-original"),
]


@pytest.mark.parametrize(("variant", "place"), FOR_PLACES)
def test_fake_or_real_finds_the_inner_folder_as_shipped(tmp_path, variant, place):
    odd = "file7.wav_16k.wav_norm.wav_mono.wav_silence.wav"
    for split in ("training", "validation", "testing"):
        touch(tmp_path / place, *(f"{split}/{label}/{odd}" for label in ("real", "fake")))
    touch(tmp_path / place, "training/real/.DS_Store", "training/real/Thumbs.db", "training/real/FILE8.MP3")
    manifest = read_corpus("fake_or_real", tmp_path, variant=variant)
    assert [(r["id"], r["label"]) for r in rows(manifest, "train")] == [
        ("training/real/FILE8.MP3", 1),
        (f"training/real/{odd}", 1),
        (f"training/fake/{odd}", 0),
    ]
    assert not len(manifest.problems)


def test_fake_or_real_at_the_wrong_level_says_so(tmp_path):
    touch(tmp_path / "for-norm", "training/real/a.wav")
    with pytest.raises(DataError, match=r"it holds for-norm: set `data\.variant` \(--variant\)"):
        read_corpus("fake_or_real", tmp_path, variant="for-2sec")
    with pytest.raises(DataError, match="known: for-original, for-norm, for-2sec, for-rerec"):
        read_corpus("fake_or_real", tmp_path, variant="for-3sec")


def test_in_the_wild_has_a_hyphen_and_splits_by_speaker(tmp_path):
    folder = tmp_path / "release_in_the_wild"
    lines = [f"{i}.wav,Speaker {i % 10},{'bona-fide' if i % 2 else 'spoof'}" for i in range(200)]
    touch(folder, "0.wav")
    (folder / "meta.csv").write_text("file,speaker,label\n" + "\n".join(lines) + "\n")
    manifest = read_corpus("in_the_wild", tmp_path)
    speakers = [set(manifest.splits[s]["speaker"].to_pylist()) for s in ("train", "dev", "eval")]
    assert all(speakers)
    assert not speakers[0] & speakers[1]
    assert not speakers[0] & speakers[2]
    assert not speakers[1] & speakers[2]
    assert sum(len(t) for t in manifest.splits.values()) == 200
    first = min(rows(manifest, "train") + rows(manifest, "dev") + rows(manifest, "eval"), key=lambda r: r["line"])
    assert first["line"] == 2


@pytest.mark.parametrize("kind", ["csv", "semicolon", "parquet"])
def test_manifest_takes_csv_and_parquet(tmp_path, kind):
    table = {
        "path": ["a.wav", "b.wav", "c.wav", "d.wav"],
        "label": ["real", "fake", "bona-fide", "0"],
        "split": ["training", "train", "validation", "test"],
        "speaker": ["s1", "", "s2", "s2"],
    }
    path = tmp_path / ("clips.parquet" if kind == "parquet" else "clips.csv")
    if kind == "parquet":
        pq.write_table(pa.table(table), path)
    else:
        gap = ";" if kind == "semicolon" else ","
        lines = [gap.join(table)] + [gap.join(row) for row in zip(*table.values(), strict=True)]
        path.write_text("\n".join(lines) + "\n")
    manifest = read_corpus("manifest", None, manifest=path)
    assert [(r["path"], r["label"], r["attack"], r["speaker"]) for r in rows(manifest, "train")] == [
        ("a.wav", 1, "-", "s1"),
        ("b.wav", 0, "spoof", "-"),
    ]
    assert len(manifest.splits["dev"]) == len(manifest.splits["eval"]) == 1


def test_manifest_lists_every_bad_line(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("path,label,split\na.wav,real,train\nb.wav,maybe,train\nc.wav,fake,later\nd.wav,fake\n,fake,dev\n")
    manifest = read_corpus("manifest", None, manifest=path, needed=("train",))
    text = manifest.problems.text()
    for expected in (
        f"{path}:3: b.wav: unknown label: 'maybe'",
        f"{path}:4: c.wav: unknown split: 'later'",
        f"{path}:5: d.wav,fake: wrong column count: 2 columns instead of 3",
        f"{path}:6: no path",
    ):
        assert expected in text


def test_manifest_without_a_column_names_it(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("path,label\na.wav,real\n")
    with pytest.raises(DataError, match=r"clips\.csv: column split is missing; it has path, label"):
        read_corpus("manifest", None, manifest=path)


def test_protocol_lines_are_refused_with_file_and_line(la_tree, protocol_of):
    path = protocol_of(la_tree, "dev")
    lines = path.read_text().splitlines()
    lines[3] = " ".join(lines[3].split()[:4])
    lines[5] = lines[5].replace("bonafide", "genuin").replace("spoof", "spof")
    lines.insert(7, "")
    lines.append(lines[0])
    path.write_text("\n".join(lines))
    manifest = read_corpus("asvspoof2019_la", la_tree)
    text = manifest.problems.text()
    assert f"{path}:4: {lines[3]}: wrong column count: 4 columns instead of 5" in text
    assert f"{path}:6: LA_D_1022: unknown label: 'spof' in column 5" in text
    assert f"{path}:14: LA_D_1017: duplicated id: already on line 1" in text
    assert len(manifest.problems) == 3
    assert len(manifest.splits["dev"]) == 10


def test_a_clip_in_two_splits_is_found(la_tree, protocol_of):
    line = protocol_of(la_tree, "train").read_text().splitlines()[0]
    with protocol_of(la_tree, "dev").open("a") as file:
        file.write(line + "\n")
    manifest = read_corpus("asvspoof2019_la", la_tree, needed=("train", "dev"))
    assert [str(p).split(": ", 1)[1] for p in manifest.problems.entries] == ["LA_T_1001: in two splits: also in train"]
    assert "LA_T_1001" not in manifest.splits["dev"]["id"].to_pylist()


WRONG = [
    ("..", "asvspoof2019_la", r"holds no ASVspoof2019_LA_cm_protocols; did you mean `root: .*/LA`\?"),
    ("ASVspoof2019_LA_train", "asvspoof2019_la", r"did you mean `root: .*/LA`\?"),
    ("nowhere", "asvspoof2019_la", r"root .*nowhere does not exist"),
    (".", "asvspoof2019_pa", r"`root` must be the folder `PA` of the distribution"),
    (".", "asvspoof5", r"holds no ASVspoof5\.train\.tsv"),
    (".", "in_the_wild", r"holds no release_in_the_wild"),
    (".", "asvspoof2019", r"unknown corpus 'asvspoof2019'; did you mean 'asvspoof2019_\w\w'\? known: synthetic, "),
]


@pytest.mark.parametrize(("below", "corpus", "message"), WRONG)
def test_a_wrong_root_names_the_way_out(la_tree, below, corpus, message):
    with pytest.raises(DataError, match=message):
        read_corpus(corpus, (la_tree / below).resolve())


def test_a_missing_audio_folder_is_told_from_missing_clips(la_tree):
    (la_tree / "ASVspoof2019_LA_dev").rename(la_tree / "elsewhere")
    with pytest.raises(DataError, match=r"lists 12 clips, but the folder .*ASVspoof2019_LA_dev/flac is missing"):
        read_corpus("asvspoof2019_la", la_tree)


def test_problems_are_capped_but_counted(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("path,label,split\nok.wav,real,train\n" + "".join(f"{i}.wav,maybe,train\n" for i in range(3000)))
    manifest = read_corpus("manifest", None, manifest=path, needed=("train",))
    assert len(manifest.problems) == 3000
    assert len(manifest.problems.entries) == 1000
    assert "… 3,000 in all: 3,000 × unknown label" in manifest.problems.text()
