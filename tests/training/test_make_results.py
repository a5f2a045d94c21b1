"""The table of results that one command writes into a document."""

import json
from pathlib import Path

import pytest

from mvector.cli.evaluate import main as evaluate
from mvector.cli.make_results import BEGIN, END
from mvector.cli.make_results import main as make_results
from mvector.errors import MVectorError


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "结果.md"
    path.write_text(f"before\n{BEGIN}\nold table\n{END}\nafter\n", encoding="utf-8")
    return path


def test_the_table_says_what_eval_says(trained, corpus, document, capsys):
    lists = [f"{name}={corpus[name]}" for name in ("dev", "test")]
    make_results(["--models", f"一号={trained}", "--lists", *lists, "--document", str(document), "--device", "cpu"])
    text = document.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old table" not in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][3:5] == ["dev: EER", "test: EER"]
    assert [row[:3:2] for row in rows[2:]] == [["一号", "cosine"], ["一号", "as-norm"]]

    for row in rows[2:]:
        for column, name in ((3, "dev"), (4, "test")):
            saved = document.parent / "eval.json"
            evaluate(["--model_path", str(trained), "--score", row[2], "--save_json", str(saved), "--device", "cpu",
                      "--set", f"dataset_conf.trials_list={corpus[name]}"])  # fmt: skip
            found = json.loads(saved.read_text(encoding="utf-8"))
            low, high = (100 * bound for bound in found["intervals_95"]["eer"])
            assert row[column] == f"{100 * found['eer']:.2f} % [{low:.2f}, {high:.2f}]"


def test_a_document_without_the_marks_is_left_alone(trained, corpus, tmp_path):
    plain = tmp_path / "plain.md"
    plain.write_text("nothing to fill in\n", encoding="utf-8")
    with pytest.raises(MVectorError, match="the marks that the table stands between are missing"):
        make_results(["--models", f"m={trained}", "--lists", f"t={corpus['test']}", "--document", str(plain)])
    assert plain.read_text(encoding="utf-8") == "nothing to fill in\n"


@pytest.mark.parametrize("models", [["m"], ["=folder"], ["m=a", "m=b"]])
def test_names_are_needed_and_differ(models, document):
    with pytest.raises(MVectorError, match="expected different names as NAME=PATH"):
        make_results(["--models", *models, "--lists", "t=list.txt", "--document", str(document)])
