"""Metadata files: whose row is whose, what becomes a number, and every mistake with its line."""

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.errors import DataListError, MVectorError
from mvector.report.metadata import duration_column, read_metadata, snr_column

UTTERANCES = [
    Utterance("wav/anna/1.wav", "anna"),
    Utterance("wav/bob, jr/2.wav", "bob"),
    Utterance("wav/贝拉/3.wav", "贝拉"),
]


@pytest.fixture
def write(tmp_path):
    def write(text, name="meta.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_by_path_with_quotes_byte_order_mark_and_windows_line_ends(write):
    path = write(
        'path,gender,place\r\n"wav/bob, jr/2.wav",m,"room ""A"""\r\n\r\nwav/anna/1.wav,f,\r\n', encoding="utf-8-sig"
    )
    gender, place = read_metadata(path, UTTERANCES)
    assert (gender.name, gender.texts) == ("gender", ("f", "m", ""))
    assert (place.name, place.texts) == ("place", ("", 'room "A"', ""))


def test_by_speaker_in_columns_separated_by_tabs(write):
    (gender,) = read_metadata(write('speaker\tgender\n贝拉\t"f"\nanna\tf\nnobody\tm\n'), UTTERANCES)
    assert gender.texts == ("f", "", '"f"')  # in TSV a quotation mark is a letter


def test_a_relative_path_is_looked_for_under_data_root_and_beside_the_file(write, tmp_path):
    path = write("path,x\n1.wav,a\n./sub/2.wav,b\n")
    utterances = [Utterance("/corpus/1.wav", ""), Utterance(str(tmp_path / "sub" / "2.wav"), "")]
    assert read_metadata(path, utterances, "/corpus")[0].texts == ("a", "b")


def test_speakers_of_a_trial_list_are_folders_of_the_path(write):
    utterances = [
        Utterance("vox/id1/video/1.wav", ""),
        Utterance("vox/id2/video/id1.wav", ""),
        Utterance("id3.wav", ""),
    ]
    assert read_metadata(write("speaker,gender\nid1,f\nid2,m\nid3,m\n"), utterances)[0].texts == ("f", "m", "")


def test_amounts_are_cut_at_quartiles_and_codes_are_not(write):
    utterances = [Utterance(f"{n}.wav", "") for n in range(12)]
    rows = "".join(f"{n}.wav,{n * 10},{n % 3},{n / 2},{n - 5}\n" for n in range(11)) + "11.wav,,,,\n"
    age, code, duration, snr = read_metadata(write("path,age,code,Duration,SNR\n" + rows), utterances)
    assert age.edges == (25.0, 50.0, 75.0)  # quartiles of 0, 10 … 100
    assert np.isnan(age.numbers[11])
    assert not age.by_worse_side
    assert code.texts[:4] == ("0", "1", "2", "0")
    assert (duration.name, duration.edges, duration.by_worse_side) == ("duration", (2.0, 4.0, 8.0), True)
    assert (snr.name, snr.edges, snr.unit) == ("snr", (5.0, 15.0, 25.0), "dB")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the metadata file is empty"),
        ("name,gender\n", "meta.csv:1: expected a header that begins with 'path' or 'speaker'"),
        ("path\n", "meta.csv:1: expected a header"),
        ("path,x,x\n", "meta.csv:1: each column needs a name of its own"),
        ("path,x,\n", "meta.csv:1: each column needs a name of its own"),
        ("speaker,x\n\nanna,1\nbob,1,2\n", r"meta.csv:4: expected 2 columns \(speaker, x\), found 3"),
        ("speaker,x\nanna,1\nanna,1\nanna,2\n", "meta.csv:4: 'anna' stands in line 2 with other values"),
        ("speaker,x\nAnna,1\n", "not one of its 1 rows belongs to a recording of the trials; the trials have 'anna'"),
        ("path,x\n1.wav,1\n", "the trials have 'wav/anna/1.wav'"),
    ],
)
def test_mistakes_are_told_with_their_line(write, text, expected):
    with pytest.raises(DataListError, match=expected):
        read_metadata(write(text), UTTERANCES)


def test_a_file_of_another_encoding(write):
    with pytest.raises(DataListError, match="save the list as UTF-8"):
        read_metadata(write("speaker,x\n贝拉,1\n", encoding="gbk"), UTTERANCES)


def test_measured_columns_must_be_finite():
    assert duration_column([1, np.nan]).unit == "s"
    with pytest.raises(MVectorError, match="must be finite"):
        snr_column([1.0, np.inf])
