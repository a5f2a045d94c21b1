"""Every registered corpus on a miniature of its published layout."""

import json
from pathlib import Path

import pytest

from mvector.data.corpora.base import SPLITS, Corpus, Recording
from mvector.errors import DataListError
from mvector.registry import CORPORA

# What `utterances` should give: path below the corpus folder → (speaker, gender, split).
Expected = dict[str, tuple[str, str | None, str | None]]


def put(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def build_folder(root: Path) -> Expected:
    names = {"anna/1.wav": "anna", "anna/later/2.flac": "anna", "张伟/录音.mp3": "张伟"}
    for name in [*names, "anna/notes.txt", ".hidden/x.wav", "anna/.partial.wav"]:
        put(root, name)
    return {name: (speaker, None, None) for name, speaker in names.items()}


def build_cnceleb1(root: Path) -> Expected:
    put(root, "dev/dev.lst", "id00000\nid00005\n")  # neither the first folders nor all of them
    for speaker in ("id00000", "id00001", "id00005", "id00800", "id00802"):
        put(root, f"data/{speaker}/singing-01-001.flac")
        put(root, f"data/{speaker}/drama-01-001.flac")
    put(root, "eval/enroll/id00800-enroll.flac")
    put(root, "eval/test/id00800-vlog-01-001.flac")
    put(root, "eval/test/id00802-vlog-01-001.flac")
    # The lists name .wav even where the files are FLAC.
    enroll = [
        "id00800-enroll id00800/singing-01-001.wav id00800/drama-01-001.wav",
        "id00802-enroll id00802/drama-01-001.wav",
    ]
    put(root, "eval/lists/enroll.map", "\n".join(enroll) + "\n")
    tests = ["test/id00800-vlog-01-001.wav", "test/id00802-vlog-01-001.wav"]
    trials = [f"{s}-enroll {t} {int(s in t)}" for s in ("id00800", "id00802") for t in tests]
    put(root, "eval/lists/trials.lst", "\n".join(trials) + "\n")
    return {
        **{
            f"data/{s}/{n}-01-001.flac": (s, None, "train")
            for s in ("id00000", "id00005")
            for n in ("singing", "drama")
        },
        "data/id00800/singing-01-001.flac": ("id00800", None, "enroll"),
        "data/id00800/drama-01-001.flac": ("id00800", None, "enroll"),
        "data/id00802/drama-01-001.flac": ("id00802", None, "enroll"),
        "eval/test/id00800-vlog-01-001.flac": ("id00800", None, "test"),
        "eval/test/id00802-vlog-01-001.flac": ("id00802", None, "test"),
    }


def build_cnceleb2(root: Path) -> Expected:
    names = ["data/id10000/vlog-01-001.flac", "data/id11999/vlog-01-001.flac"]
    for name in names:
        put(root, name)
    return {name: (name.split("/")[1], None, "train") for name in names}


def build_voxceleb1(root: Path) -> Expected:
    names = {
        "dev/wav/id10001/1zcIwhmdeo4/00001.wav": ("id10001", "m", "train"),
        "dev/wav/id10002/0_laIeN-Q44/00001.wav": ("id10002", "f", "train"),
        "test/wav/id10270/5r0dWxy17C8/00001.wav": ("id10270", "m", "test"),
        "test/wav/id10309/0b1inHMAr6o/00001.wav": ("id10309", "m", "test"),
    }
    for name in names:
        put(root, name)
    table = [["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]]
    table += [
        [speaker, "A._J._Buckley", gender or "", "Ireland", "test" if split == "test" else "dev"]
        for speaker, gender, split in names.values()
    ]
    put(root, "vox1_meta.csv", "".join("\t".join(row) + "\n" for row in table))
    lines = ["1 id10270/5r0dWxy17C8/00001.wav id10270/5r0dWxy17C8/00001.wav"]
    lines += ["0 id10270/5r0dWxy17C8/00001.wav id10309/0b1inHMAr6o/00001.wav"]
    put(root, "veri_test2.txt", "\n".join(lines) + "\n")
    put(root, "list_test_hard2.txt", "0 id10001/1zcIwhmdeo4/00001.wav id10002/0_laIeN-Q44/00001.wav\n")
    return names


def build_voxceleb2(root: Path) -> Expected:
    names = {
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a": ("id00012", "m", "train"),
        "test/aac/id00017/01dfn2spqyE/00001.m4a": ("id00017", "f", "test"),
    }
    for name in names:
        put(root, name)
    put(
        root,
        "vox2_meta.csv",
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00017 ,n000017 ,f ,test \n",
    )
    return names


def build_aishell1(root: Path) -> Expected:
    names = {
        "wav/train/S0002/BAC009S0002W0122.wav": ("S0002", "f", "train"),
        "wav/dev/S0724/BAC009S0724W0121.wav": ("S0724", "m", "dev"),
        "wav/test/S0764/BAC009S0764W0121.wav": ("S0764", None, "test"),
    }
    for name in names:
        put(root, name)
    put(root.parent, "resource_aishell/speaker.info", "0002 F\n0724 M\n")
    return names


def build_st_cmds(root: Path) -> Expected:
    for name in ("20170001P00001A0001.wav", "20170001P00001A0002.wav", "20170001P00007I0001.wav"):
        put(root, name)
        put(root, name.replace(".wav", ".txt"))
    return {
        "20170001P00001A0001.wav": ("P00001", None, None),
        "20170001P00001A0002.wav": ("P00001", None, None),
        "20170001P00007I0001.wav": ("P00007", None, None),
    }


def build_thchs30(root: Path) -> Expected:
    for name in ("A11_0", "A11_1", "D4_750"):
        put(root, f"data/{name}.wav")
        put(root, f"data/{name}.wav.trn")
    put(root, "train/A11_0.wav", "../data/A11_0.wav")  # a link unpacked as text
    put(root, "dev/A11_1.wav", "../data/A11_1.wav")  # the dev part has the speakers of the train part
    put(root, "test/D4_750.wav", "../data/D4_750.wav")
    return {
        "data/A11_0.wav": ("A11", None, "train"),
        "data/A11_1.wav": ("A11", None, "train"),
        "data/D4_750.wav": ("D4", None, "test"),
    }


def build_aidatatang_200zh(root: Path) -> Expected:
    names = {
        "corpus/train/G0013/T0055G0013S0001.wav": ("G0013", "f", "train"),
        "corpus/dev/G0150/T0055G0150S0001.wav": ("G0150", None, "dev"),
        "corpus/test/G0002/T0055G0002S0001.wav": ("G0002", "m", "test"),
    }
    for name, (_, gender, _) in names.items():
        put(root, name)
        sex = {"f": "Female", "m": "Male"}.get(gender or "")
        if sex:
            put(root, name.replace(".wav", ".metadata"), f"AGE\t23\nSEX\t{sex}\n")
    return names


def build_zhvoice(root: Path) -> Expected:
    items = [("zhthchs30/A11/A11_0.mp3", "A11"), ("zhstcmds/P00001A/20170001P00001A0001.mp3", "P00001A")]
    for name, _ in items:
        put(root, name)
    rows = [{"index": name, "speaker": speaker, "duration_ms": 2000} for name, speaker in items]
    put(root, "text/infodata.json", "".join(json.dumps(row) + "\n" for row in rows))
    return {name: (f"{name.split('/')[0]}-{speaker}", None, None) for name, speaker in items}


def build_librispeech(root: Path) -> Expected:
    names = {
        "train-clean-100/19/198/19-198-0000.flac": ("19", "f", "train"),
        "dev-clean/84/121123/84-121123-0000.flac": ("84", "f", "dev"),
        "test-other/1688/142285/1688-142285-0000.flac": ("1688", "m", "test"),
    }
    for name in names:
        put(root, name)
    table = ["; ID |SEX| SUBSET |MINUTES| NAME", "19   | F | train-clean-100  | 25.19 | Kara Shallenberg"]
    table += ["84 | F | dev-clean | 8.02 | Christie Nowak", "1688 | M | test-other | 8.05 | Ian Grae"]
    put(root, "SPEAKERS.TXT", "\n".join(table) + "\n")
    return names


def build_timit(root: Path) -> Expected:
    names = {
        "TRAIN/DR1/FCJF0/SA1.WAV": ("FCJF0", "f", "train"),
        "TEST/DR8/MJLN0/SX9.WAV": ("MJLN0", "m", "test"),
    }
    for name in names:
        put(root, name)
        put(root, name.replace(".WAV", ".PHN"))
    return names


def build_speechocean762(root: Path) -> Expected:
    names = {
        "WAVE/SPEAKER0001/000010011.WAV": ("0001", "m", "train"),
        "WAVE/SPEAKER0003/000030012.WAV": ("0003", "f", "test"),
    }
    for name, (speaker, gender, split) in names.items():
        put(root, name)
        utterance = Path(name).stem
        put(root, f"{split}/wav.scp", f"{utterance}\t{name}\n")
        put(root, f"{split}/utt2spk", f"{utterance}\t{speaker}\n")
        put(root, f"{split}/spk2gender", f"{speaker}\t{gender}\n")
    return names


def build_musan(root: Path) -> Expected:
    put(root, "noise/free-sound/noise-free-sound-0000.wav")
    put(root, "speech/librivox/speech-librivox-0000.wav")
    return {"noise/free-sound/noise-free-sound-0000.wav": ("noise", None, None)}


def build_rirs_noises(root: Path) -> Expected:
    names = {
        "simulated_rirs/smallroom/Room001/Room001-00001.wav": ("reverb", None, None),
        "pointsource_noises/noise-free-sound-0000.wav": ("noise", None, None),
    }
    for name in [*names, "real_rirs_isotropic_noises/air_type1_air_binaural_aula_carolina_1_1_1.wav"]:
        put(root, name)
    return names


BUILDERS = {name.removeprefix("build_"): value for name, value in list(globals().items()) if name.startswith("build_")}
PUBLIC = sorted(set(BUILDERS) - {"folder"})


def corpus(name: str) -> Corpus:
    return CORPORA.get(name)()


def as_expected(root: Path, recordings: list[Recording]) -> Expected:
    return {r.path.relative_to(root).as_posix(): (r.speaker, r.gender, r.split) for r in recordings}


def test_every_registered_corpus_is_tested() -> None:
    assert set(CORPORA.names()) - {"demo"} == set(BUILDERS)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_layout_gives_speakers_genders_and_splits(name: str, tmp_path: Path) -> None:
    root = tmp_path / "语料 one"
    expected = BUILDERS[name](root)
    recordings = corpus(name).recordings(root)
    assert as_expected(root, recordings) == expected
    assert len(recordings) == len(expected)  # none twice
    assert all(r.path.is_file() and r.split in (*SPLITS, None) and r.gender in ("m", "f", None) for r in recordings)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_order_is_fixed(name: str, tmp_path: Path) -> None:
    BUILDERS[name](tmp_path / "root")
    assert corpus(name).recordings(tmp_path / "root") == corpus(name).recordings(tmp_path / "root")


@pytest.mark.parametrize("name", PUBLIC)
def test_root_may_be_the_folder_that_the_archive_was_unpacked_in(name: str, tmp_path: Path) -> None:
    folder_name = corpus(name).folder_names[0]
    expected = BUILDERS[name](tmp_path / folder_name)
    assert as_expected(tmp_path / folder_name, corpus(name).recordings(tmp_path)) == expected


@pytest.mark.parametrize("name", PUBLIC)
def test_missing_folder_names_it_and_the_download_page(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataListError) as error:
        corpus(name).recordings(tmp_path / "nowhere")
    message = str(error.value)
    assert str(tmp_path / "nowhere") in message
    assert corpus(name).homepage in message
    assert corpus(name).homepage.startswith("https://")
    assert "missing" in message


@pytest.mark.parametrize("name", PUBLIC)
def test_other_folder_says_what_is_missing(name: str, tmp_path: Path) -> None:
    (tmp_path / "something else").mkdir()
    with pytest.raises(DataListError, match=r"missing|no recordings") as error:
        corpus(name).recordings(tmp_path)
    assert corpus(name).layout in str(error.value)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_corpus_says_what_it_is(name: str) -> None:
    cls = CORPORA.get(name)
    assert cls.__doc__ is not None
    assert cls.layout


def test_archives_that_were_not_unpacked_are_named(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        put(tmp_path, f"wav/{split}/S000{len(split)}.tar.gz")
    with pytest.raises(DataListError, match=r"unpack the archives inside it first .*S000.\.tar\.gz"):
        corpus("aishell1").recordings(tmp_path)


def test_folder_that_is_already_divided(tmp_path: Path) -> None:
    for name in ("train/a/1.wav", "valid/b/1.wav", "test/c/1.wav"):
        put(tmp_path, name)
    recordings = corpus("folder").recordings(tmp_path)
    assert {(r.speaker, r.split) for r in recordings} == {("a", "train"), ("b", "dev"), ("c", "test")}


def test_folder_of_speakers_one_of_whom_is_called_test(tmp_path: Path) -> None:
    for name in ("test/1.wav", "anna/1.wav"):
        put(tmp_path, name)
    assert {r.speaker for r in corpus("folder").recordings(tmp_path)} == {"test", "anna"}


def test_timit_in_lower_case_and_with_riff_twins(tmp_path: Path) -> None:
    put(tmp_path, "timit/train/dr1/fcjf0/sa1.wav")
    put(tmp_path, "timit/test/dr1/mjln0/SX9.WAV")
    put(tmp_path, "timit/test/dr1/mjln0/SX9.WAV.wav")
    recordings = corpus("timit").recordings(tmp_path)
    assert {(r.path.name, r.speaker, r.gender, r.split) for r in recordings} == {
        ("sa1.wav", "FCJF0", "f", "train"),
        ("SX9.WAV.wav", "MJLN0", "m", "test"),
    }


def test_zhvoice_without_its_table(tmp_path: Path) -> None:
    put(tmp_path, "zhaishell/S0002/1.mp3")
    put(tmp_path, "zhthchs30/A11/1.mp3")
    assert {r.speaker for r in corpus("zhvoice").recordings(tmp_path)} == {"zhaishell-S0002", "zhthchs30-A11"}


def test_zhvoice_table_with_a_bad_line(tmp_path: Path) -> None:
    put(tmp_path, "text/infodata.json", '{"index": "zhaishell/S1/1.mp3"}\n')
    with pytest.raises(DataListError, match=r"infodata\.json:1: expected a JSON object"):
        corpus("zhvoice").recordings(tmp_path)


def test_voxceleb_parts_are_told_apart_in_one_folder(tmp_path: Path) -> None:
    build_voxceleb1(tmp_path / "voxceleb1")
    build_voxceleb2(tmp_path / "voxceleb2")
    assert {r.speaker for r in corpus("voxceleb1").recordings(tmp_path)} == {"id10001", "id10002", "id10270", "id10309"}
    assert {r.speaker for r in corpus("voxceleb2").recordings(tmp_path)} == {"id00012", "id00017"}


def test_voxceleb1_without_its_table_knows_the_test_speakers(tmp_path: Path) -> None:
    expected = build_voxceleb1(tmp_path)
    (tmp_path / "vox1_meta.csv").unlink()
    found = as_expected(tmp_path, corpus("voxceleb1").recordings(tmp_path))
    assert {name: split for name, (_, _, split) in found.items()} == {n: s for n, (_, _, s) in expected.items()}
    assert {gender for _, gender, _ in found.values()} == {None}


def test_voxceleb1_trials_by_name(tmp_path: Path) -> None:
    build_voxceleb1(tmp_path)
    vox = corpus("voxceleb1")
    recordings = vox.recordings(tmp_path)
    first, second = (
        (tmp_path / name).as_posix()
        for name in ("test/wav/id10270/5r0dWxy17C8/00001.wav", "test/wav/id10309/0b1inHMAr6o/00001.wav")
    )
    official = vox.trials(tmp_path, recordings, "O-cleaned")
    assert list(official.trials) == [(True, first, first), (False, first, second)]
    assert official.used == {Path(first), Path(second)}
    assert not official.enroll_map
    assert {path.parts[-3] for path in vox.trials(tmp_path, recordings, "H-cleaned").used} == {"id10001", "id10002"}
    assert list(vox.trial_lists.values())[3:] == ["veri_test.txt", "list_test_all.txt", "list_test_hard.txt"]
    with pytest.raises(DataListError, match=r"list_test_all2\.txt \(E-cleaned\) is missing"):
        vox.trials(tmp_path, recordings, "E-cleaned")


def test_voxceleb1_trial_list_that_names_a_missing_recording(tmp_path: Path) -> None:
    build_voxceleb1(tmp_path)
    put(tmp_path, "veri_test.txt", "1 id10270/5r0dWxy17C8/00001.wav id10270/5r0dWxy17C8/00099.wav\n")
    recordings = corpus("voxceleb1").recordings(tmp_path)
    with pytest.raises(DataListError, match=r"id10270/5r0dWxy17C8/00099\.wav, named in .*veri_test\.txt:1, is missing"):
        corpus("voxceleb1").trials(tmp_path, recordings, "O")


def test_cnceleb1_trials_enroll_several_recordings(tmp_path: Path) -> None:
    build_cnceleb1(tmp_path)
    cn = corpus("cnceleb1")
    official = cn.trials(tmp_path, cn.recordings(tmp_path), "official")
    names = {model: [path.name for path in paths] for model, paths in official.enroll_map.items()}
    assert names == {"id00800": ["singing-01-001.flac", "drama-01-001.flac"], "id00802": ["drama-01-001.flac"]}
    tests = [(tmp_path / f"eval/test/{s}-vlog-01-001.flac").as_posix() for s in ("id00800", "id00802")]
    assert list(official.trials) == [
        (True, "id00800", tests[0]),
        (False, "id00800", tests[1]),
        (False, "id00802", tests[0]),
        (True, "id00802", tests[1]),
    ]


def test_cnceleb1_without_the_map_enrolls_the_joined_files(tmp_path: Path) -> None:
    build_cnceleb1(tmp_path)
    (tmp_path / "eval/lists/enroll.map").unlink()
    put(tmp_path, "eval/enroll/id00802-enroll.flac")
    cn = corpus("cnceleb1")
    official = cn.trials(tmp_path, cn.recordings(tmp_path), "official")
    assert {model: [p.name for p in paths] for model, paths in official.enroll_map.items()} == {
        "id00800": ["id00800-enroll.flac"],
        "id00802": ["id00802-enroll.flac"],
    }


def test_cnceleb1_map_that_names_a_missing_recording(tmp_path: Path) -> None:
    build_cnceleb1(tmp_path)
    (tmp_path / "data/id00802/drama-01-001.flac").unlink()
    with pytest.raises(DataListError, match=r"drama-01-001\.wav, named in .*enroll\.map, is missing"):
        corpus("cnceleb1").recordings(tmp_path)


def test_cnceleb1_without_a_training_speaker_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_cnceleb1(tmp_path)
    put(tmp_path, "dev/dev.lst", "id00000\nid00005\nid00007\n")
    corpus("cnceleb1").recordings(tmp_path)
    assert "id00007 is missing, and 1 of the 3 speakers" in caplog.text
