"""The command from end to end, on small trees of recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli.create_data import build_parser, main
from mvector.data.lists import read_data_list
from mvector.data.trials import load_trials, read_trials
from mvector.errors import ConfigError, DataListError
from tests.conftest import synthesised_speech

RATE = 16000
VOICE = synthesised_speech(0.6)  # peak 0.5


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(path: str | Path, seed: int = 0, seconds: float = 0.6, level: float = 0.1, kind: str = "WAV") -> Path:
    """A voice that the check hears as one, with noise of its own for each seed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 1e-3, round(seconds * RATE))
    samples = 2 * level * (VOICE[: len(noise)] + noise)
    soundfile.write(path, np.rint(samples * 32767).astype(np.int16), RATE, subtype="PCM_16", format=kind)
    return path


def tree(root: str, speakers: int, each: int, first_seed: int = 0) -> None:
    for s in range(speakers):
        for n in range(each):
            record(f"{root}/sp{s:02d}/{n}.wav", first_seed + 1000 * s + n)


def lines(path: str) -> list[list[str]]:
    data = Path(path).read_bytes()
    assert b"\r" not in data
    assert b"\\" not in data
    return [line.split("\t") for line in data.decode("utf-8").splitlines()]


def speakers(path: str) -> set[str]:
    return {row[1] for row in lines(path)}


def test_own_recordings_by_speaker(capsys: pytest.CaptureFixture[str]) -> None:
    tree("录音", 12, 4)
    main(["--corpus", "folder", "--root", "录音", "--dev_speakers", "3", "--test_speakers", "0.25"])
    parts = [speakers(f"dataset/{part}_list.txt") for part in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert len(set().union(*parts)) == 12
    assert len(read_data_list("dataset/train_list.txt")) == 24
    assert lines("dataset/train_list.txt")[0][0].startswith("录音/sp")
    for part in ("dev", "test"):
        trials = read_trials(f"dataset/{part}_trials.txt")
        assert trials.labels is not None
        assert (trials.labels.sum(), (~trials.labels).sum()) == (3 * 6, 3 * 16)  # all there are
    out = capsys.readouterr().out
    assert "24" in out
    assert "dev_trials.txt: 18 target and 48 non-target trials" in out
    assert "0.60 / 0.60 / 0.60 / 0.60 / 0.60" in out
    command = "python train.py --configs configs/ecapa_tdnn.yml --set dataset_conf.train_list=dataset/train_list.txt"
    assert command in out
    assert "--set dataset_conf.dev_trials_list=dataset/dev_trials.txt" in out
    assert "--set dataset_conf.trials_list=dataset/test_trials.txt" in out
    assert not list(Path("dataset").glob(".*"))  # nothing half-written stays


def test_identification_has_every_speaker_in_every_list() -> None:
    tree("data", 5, 10)
    main(["--corpus", "folder", "--root", "data", "--split", "identification", "--output", "out"])
    everybody = {f"sp{n:02d}" for n in range(5)}
    assert speakers("out/train_list.txt") == speakers("out/dev_list.txt") == speakers("out/test_list.txt") == everybody
    train = {row[0] for row in lines("out/train_list.txt")}
    test = {row[0] for row in lines("out/test_list.txt")}
    assert not train & test
    for _, enroll, tested in lines("out/test_trials.txt"):
        assert enroll in train
        assert tested in test


def test_trial_numbers_share_and_seed(capsys: pytest.CaptureFixture[str]) -> None:
    for part, names in (("TRAIN", "abcd"), ("TEST", "efghij")):
        for i, name in enumerate(names):
            for n in range(4):
                path = f"data/TIMIT/{part}/DR1/{'FM'[i % 2]}{name.upper()}AA0/SX{n}.WAV"
                record(path, ord(name) * 10 + n, kind="NIST")  # SPHERE inside, as on the discs
    command = ["--corpus", "timit", "--root", "data", "--dev_speakers", "0"]
    main([*command, "--targets", "20", "--nontargets", "60", "--same_sex_share", "0.5", "--seed", "4"])
    rows = lines("dataset/test_trials.txt")
    assert sum(row[0] == "1" for row in rows) == 20
    sexes = [tuple(path.split("/")[4][0] for path in row[1:]) for row in rows if row[0] == "0"]
    assert (len(sexes), sum(a == b for a, b in sexes)) == (60, 30)
    assert dict(lines("dataset/genders.txt"))["FEAA0"] == "f"
    assert "0.60 / 0.60 / 0.60 / 0.60 / 0.60" in capsys.readouterr().out
    first = Path("dataset/test_trials.txt").read_bytes()
    main([*command, "--targets", "20", "--nontargets", "60", "--same_sex_share", "0.5", "--seed", "5"])
    assert Path("dataset/test_trials.txt").read_bytes() != first
    with pytest.raises(DataListError, match="37 target trials were asked for, but 36 can be made"):
        main([*command, "--targets", "37"])


def cnceleb(root: str) -> None:
    for s in range(8):
        for n in range(2):
            record(f"{root}/data/id{s:05d}/song-{n}.wav", 10 * s + n)
    Path(root, "dev").mkdir(parents=True)
    Path(root, "dev/dev.lst").write_text("".join(f"id{s:05d}\n" for s in (0, 1, 2, 4, 5, 7)), encoding="utf-8")
    Path(root, "eval/lists").mkdir(parents=True)
    enrolled = ("id00003", "id00006")
    for name in enrolled:
        record(f"{root}/eval/test/{name}-vlog-0.wav", int(name[2:]) + 100)
    enroll_map = [f"{s}-enroll {s}/song-0.wav {s}/song-1.wav\n" for s in enrolled]
    Path(root, "eval/lists/enroll.map").write_text("".join(enroll_map), encoding="utf-8")
    trials = [f"{s}-enroll test/{t}-vlog-0.wav {int(s == t)}\n" for s in enrolled for t in enrolled]
    Path(root, "eval/lists/trials.lst").write_text("".join(trials), encoding="utf-8")


def test_cnceleb_official_parts_enrollment_and_trials(capsys: pytest.CaptureFixture[str]) -> None:
    cnceleb("CN-Celeb_flac")
    for s in range(4):
        record(f"CN-Celeb2_flac/data/id1000{s}/a.wav", 500 + s)
    main(["--corpus", "cnceleb1,cnceleb2", "--root", ".", "--dev_speakers", "0"])
    # dev.lst decides who is trained on, not the order of the folders.
    expected = {f"cnceleb1-id0000{s}" for s in (0, 1, 2, 4, 5, 7)} | {f"cnceleb2-id1000{s}" for s in range(4)}
    assert speakers("dataset/train_list.txt") == expected
    assert speakers("dataset/test_list.txt") == {"cnceleb1-id00003", "cnceleb1-id00006"}
    assert len(lines("dataset/enroll_list.txt")) == 4
    trials = load_trials(trials_list="dataset/test_trials.txt", enroll_map="dataset/enroll_map.txt")
    assert [len(rows) for rows in trials.enroll_rows] == [2, 2]
    assert trials.labels is not None
    assert trials.labels.tolist() == [True, False, False, True]
    assert not Path("dataset/dev_trials.txt").exists()
    assert "--set dataset_conf.enroll_map=dataset/enroll_map.txt" in capsys.readouterr().out


def test_development_speakers_come_from_training_where_there_is_no_such_part() -> None:
    cnceleb("CN-Celeb")
    main(["--corpus", "cnceleb1", "--root", "CN-Celeb"])
    assert len(speakers("dataset/dev_list.txt")) == 2
    assert len(speakers("dataset/train_list.txt")) == 4
    assert Path("dataset/dev_trials.txt").exists()


def voxceleb1(root: str) -> None:
    for s, part in ((10001, "dev"), (10002, "dev"), (10003, "dev"), (10270, "test"), (10271, "test")):
        for n in range(2):
            record(f"{root}/{part}/wav/id{s}/video/{n:05d}.wav", s + n)
    pair = "id10270/video/00000.wav id10271/video/00001.wav"
    Path(root, "veri_test2.txt").write_text(f"0 {pair}\n", encoding="utf-8")
    hard = "0 id10001/video/00000.wav id10002/video/00001.wav\n1 id10001/video/00000.wav id10001/video/00001.wav\n"
    Path(root, "list_test_hard2.txt").write_text(hard, encoding="utf-8")


def test_voxceleb_lists_by_name(caplog: pytest.LogCaptureFixture) -> None:
    voxceleb1("vox1")
    main(["--corpus", "voxceleb1", "--root", "vox1", "--dev_speakers", "0"])
    first, second = "vox1/test/wav/id10270/video/00000.wav", "vox1/test/wav/id10271/video/00001.wav"
    assert lines("dataset/test_trials.txt") == [["0", first, second]]
    assert speakers("dataset/train_list.txt") == {"id10001", "id10002", "id10003"}
    # E and H use speakers of the training part: they leave it, with a line that says so.
    main(["--corpus", "voxceleb1", "--root", "vox1", "--dev_speakers", "0", "--trial_list", "H-cleaned"])
    assert len(lines("dataset/test_trials.txt")) == 2
    assert speakers("dataset/train_list.txt") == {"id10003"}
    assert "VoxCeleb1-H-cleaned uses 2 speakers of voxceleb1" in caplog.text
    with pytest.raises(DataListError, match=r"list_test_all2\.txt \(E-cleaned\) is missing"):
        main(["--corpus", "voxceleb1", "--root", "vox1", "--trial_list", "E-cleaned"])
    with pytest.raises(DataListError, match=r"unknown official trial list 'H-clean'.*Did you mean 'H-cleaned'"):
        main(["--corpus", "voxceleb1", "--root", "vox1", "--trial_list", "H-clean"])


def test_voxceleb_without_a_trial_list_draws_trials_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    voxceleb1("vox1")
    for name in ("veri_test2.txt", "list_test_hard2.txt"):
        Path("vox1", name).unlink()
    main(["--corpus", "voxceleb1", "--root", "vox1", "--dev_speakers", "0"])
    assert len(lines("dataset/test_trials.txt")) == 6
    assert "veri_test2.txt" in caplog.text
    assert "drawn at random" in caplog.text


def test_several_corpora_do_not_clash() -> None:
    tree("one", 6, 3)
    tree("two", 6, 3, first_seed=50000)
    main(["--corpus", "folder,folder", "--root", "one,two"])
    names = set().union(*(speakers(f"dataset/{part}_list.txt") for part in ("train", "dev", "test")))
    assert names == {f"folder-{root}-sp{n:02d}" for root in ("one", "two") for n in range(6)}
    for _, enroll, test in lines("dataset/dev_trials.txt"):
        assert enroll.split("/")[0] == test.split("/")[0]  # trials stay within a corpus


def test_lists_of_an_earlier_run_do_not_stay() -> None:
    cnceleb("CN-Celeb")
    main(["--corpus", "cnceleb1", "--root", "CN-Celeb"])
    tree("own", 6, 3)
    Path("dataset/mine.txt").write_text("kept", encoding="utf-8")
    main(["--corpus", "folder", "--root", "own"])
    names = {path.name for path in Path("dataset").iterdir()}
    parts = {f"{part}_list.txt" for part in ("train", "dev", "test")}
    assert names == {*parts, "dev_trials.txt", "test_trials.txt", "mine.txt"}


def test_augmentation_sounds_say_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    record("musan/noise/free-sound/a.wav")
    record("RIRS_NOISES/simulated_rirs/smallroom/Room001/b.wav")
    main(["--corpus", "musan,rirs_noises", "--root", "."])
    out = capsys.readouterr().out
    assert "noise:\n  prob: 0.5\n  noise_dir: 'musan/noise'" in out
    assert "reverb:\n  prob: 0.5\n  reverb_dir: 'RIRS_NOISES/simulated_rirs'" in out
    assert not Path("dataset").exists()


def test_trials_from_any_list(capsys: pytest.CaptureFixture[str]) -> None:
    tree("data", 4, 3)
    rows = [f"data/sp{s:02d}/{n}.wav\tsp{s:02d}\n" for s in range(4) for n in range(3)]
    Path("my_list.txt").write_text("".join(rows), encoding="utf-8")
    main(["--trials_from", "my_list.txt", "--targets", "12", "--nontargets", "5", "--output", "."])
    assert len(lines("my_trials.txt")) == 17
    assert "my_trials.txt: 12 target and 5 non-target trials" in capsys.readouterr().out
    Path("sex.txt").write_text("sp00\tm\nsp01\tf\nsp02\tm\nsp03\tf\n", encoding="utf-8")
    arguments = ["--trials_from", "my_list.txt", "--nontargets", "18", "--same_sex_share", "1"]
    main([*arguments, "--genders", "sex.txt"])
    pairs = {(a.split("/")[1], b.split("/")[1]) for t, a, b in lines("dataset/my_trials.txt") if t == "0"}
    assert {frozenset(pair) for pair in pairs} == {frozenset(("sp00", "sp02")), frozenset(("sp01", "sp03"))}
    with pytest.raises(DataListError, match="12 of 12 recordings is not known"):
        main(arguments)
    Path("parts.txt").write_text("data/sp00/0.wav\ta\t0\t1\n", encoding="utf-8")
    with pytest.raises(DataListError, match="whole recordings"):
        main(["--trials_from", "parts.txt"])


def test_check_reports_and_drop_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    tree("data", 8, 4)
    record("data/sp00/short.wav", seconds=0.1)
    record("data/sp01/quiet.wav", level=0.001)
    Path("data/sp02/broken.wav").write_text("no sound", encoding="utf-8")
    record("data/sp03/again.wav", seed=3000)  # sp03/0.wav once more
    main(["--corpus", "folder", "--root", "data", "--check", "--num_workers", "1"])
    report = Path("dataset/report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert report[0] == "path,speaker,problem,detail"
    rows = {tuple(row.split(",")[:3]) for row in report[1:]}
    assert {(path.split("/")[-1], speaker, problem) for path, speaker, problem in rows} == {
        ("short.wav", "sp00", "too short"),
        ("quiet.wav", "sp01", "silent"),
        ("broken.wav", "sp02", "broken"),
        ("again.wav", "sp03", "duplicate"),
    }
    assert "1 recordings cannot be read, data/sp02/broken.wav for one" in capsys.readouterr().out
    total = sum(len(lines(f"dataset/{part}_list.txt")) for part in ("train", "dev", "test"))
    assert total == 36  # nothing is dropped unless asked for

    main(["--check", "--drop"])  # the lists in dataset
    kept = [row[0] for part in ("train", "dev", "test") for row in lines(f"dataset/{part}_list.txt")]
    assert len(kept) == 32
    named = {name for part in ("dev", "test") for row in lines(f"dataset/{part}_trials.txt") for name in row[1:]}
    assert named <= set(kept)
    out = capsys.readouterr().out
    assert "found: 1 broken, 1 too short, 1 silent, 1 duplicate" in out
    assert "left out: 4 lines" in out


def test_own_lists_are_checked_and_written_elsewhere(tmp_path: Path) -> None:
    tree("data", 4, 2)
    record("data/sp00/quiet.wav", level=0.001)
    record("data/sp03/same.wav", seed=0)  # sp00/0.wav under another speaker, in the other list
    Path("a.txt").write_text(
        "".join(f"data/sp{s:02d}/{n}.wav\tsp{s:02d}\n" for s in range(2) for n in range(2))
        + "data/sp00/quiet.wav\tsp00\n",
        encoding="utf-8",
    )
    test = "data/sp02/0.wav\tsp02\t0.01\t0.59\ndata/sp03/same.wav\tsp03\n"
    Path("b.txt").write_text(test, encoding="utf-8")
    Path("t.txt").write_text(
        "1 data/sp00/quiet.wav data/sp02/0.wav\n0 data/sp02/0.wav data/sp03/same.wav\n", encoding="utf-8"
    )
    main(["--lists", "a.txt,b.txt,t.txt", "--check", "--drop", "--output", "clean", "--num_workers", "1"])
    assert [row[0] for row in lines("clean/a.txt")] == [f"data/{n}.wav" for n in ("sp00/1", "sp01/0", "sp01/1")]
    assert Path("clean/b.txt").read_text(encoding="utf-8") == test
    assert lines("clean/t.txt") == [["0", "data/sp02/0.wav", "data/sp03/same.wav"]]
    assert len(Path("a.txt").read_text(encoding="utf-8").splitlines()) == 5  # the originals stay
    assert "shared" in Path("clean/report.csv").read_text(encoding="utf-8-sig")


def test_convert_rewrites_the_lists(capsys: pytest.CaptureFixture[str]) -> None:
    cnceleb("CN-Celeb")
    Path("CN-Celeb/data/id00003/song-1.wav").write_text("no sound", encoding="utf-8")
    arguments = ["--corpus", "cnceleb1", "--root", "CN-Celeb", "--convert", "flac", "--num_workers", "1"]
    main(arguments)
    for part in ("train", "dev", "enroll", "test"):
        for path, _ in lines(f"dataset/{part}_list.txt"):
            assert path.startswith("dataset/audio_flac/")
            assert soundfile.info(path).format == "FLAC"
    assert [len(row) for row in lines("dataset/enroll_map.txt")] == [2, 3]  # one recording could not be converted
    assert "left out of the lists: 1" in capsys.readouterr().out
    trials = load_trials(trials_list="dataset/test_trials.txt", enroll_map="dataset/enroll_map.txt")
    assert all(utterance.path.endswith(".flac") for utterance in trials.utterances)
    written = {path: path.stat().st_mtime_ns for path in Path("dataset/audio_flac").rglob("*.flac")}
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in Path("dataset/audio_flac").rglob("*.flac")} == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--corpus", "folder"], "--corpus needs --root DIR.*Expected layout: ROOT/SPEAKER/"),
        (["--corpus", "musan"], r"--corpus needs --root DIR.*layout: musan/.*Download: https://www.openslr.org/17/$"),
        (["--corpus", "MUSAN"], "unknown corpus 'MUSAN'.*Did you mean 'musan'"),
        (["--corpus", "cnceleb", "--root", "x"], "unknown corpus 'cnceleb'.*Did you mean 'cnceleb"),
        (["--corpus", "folder,folder", "--root", "a,b,c"], "2 corpora need as many folders"),
        (["--corpus", "folder", "--root", "nowhere"], "nowhere is missing"),
        (["--corpus", "demo,folder", "--root", "x"], "give --corpus demo alone"),
        (["--corpus", "folder", "--root", "x", "--trials_from", "y"], "cannot be given together"),
        (["--check"], "dataset: none of train_list.txt"),
        (["--drop"], "give both"),
        (["--lists", "nowhere.txt", "--check"], "nowhere.txt: the list cannot be read"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises((ConfigError, DataListError), match=message):
        main(arguments)


@pytest.mark.parametrize("number", ["many", "-1", "2.5"])
def test_numbers_of_speakers(number: str) -> None:
    tree("data", 6, 2)
    with pytest.raises(ConfigError, match=r"--dev_speakers: expected a number of speakers"):
        main(["--corpus", "folder", "--root", "data", f"--dev_speakers={number}"])


def test_demo_corpus_is_made_by_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = []

    def make(root: str | Path, seed: int) -> Path:
        made.append((Path(root), seed))
        tree(str(root), 2, 2)
        rows = [f"sp{s:02d}/{n}.wav\tsp{s:02d}\n" for s in range(2) for n in range(2)]
        Path(root, "train_list.txt").write_text("".join(rows), encoding="utf-8")
        return Path(root)

    monkeypatch.setattr("mvector.data.corpora.demo.ensure_demo_corpus", make)
    main(["--corpus", "demo", "--seed", "3"])
    assert made == [(Path("dataset/demo"), 3)]
    out = capsys.readouterr().out
    assert "synthetic" in out
    assert "python train.py --configs configs/quickstart.yml" in out


def test_help_names_every_corpus() -> None:
    text = build_parser().format_help()
    for name in ("folder", "cnceleb1", "voxceleb2", "aidatatang_200zh", "rirs_noises", "demo"):
        assert name in text
