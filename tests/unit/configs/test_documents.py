"""Reading YAML: lines are kept, and files that cannot be one sane mapping are refused with their place."""

from pathlib import Path

import pytest

from configs.documents import MAX_BYTES, load_document, locate
from configs.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "graph.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_document(path)
    return caught.value.message


def test_lines_of_keys_and_items(write):
    document = load_document(
        write("nodes:\n  cnn:\n    inputs: {x: scale.x}\n  vote:\n    members:\n      - a\n      - b\n")
    )
    assert document.line_of(("nodes", "cnn", "inputs", "x")) == 3
    assert document.line_of(("nodes", "vote")) == 4
    assert document.line_of(("nodes", "vote", "members", 1)) == 7
    assert document.line_of(("nodes", "vote", "weights")) is None


def test_locate_falls_back_to_the_place_around(write):
    document = load_document(write("a: 1\nnodes:\n  cnn: {model: m}\n"))
    assert locate(document, ("nodes", "cnn", "batch", "max_rows")) == 3
    assert locate(document, ("absent",)) == 1


def test_merge_keys_and_aliases_keep_lines(write):
    document = load_document(write("base: &base\n  cpus: 1\n  gpus: 0\nnode:\n  <<: *base\n  gpus: 1\nsame: *base\n"))
    assert document.data["node"] == {"cpus": 1, "gpus": 1}
    assert document.line_of(("node", "cpus")) == 2
    assert document.line_of(("node", "gpus")) == 6
    assert document.line_of(("same", "gpus")) == 3
    assert document.problems == ()


def test_words_that_yaml_reads_as_truth_values_are_found(write):
    document = load_document(write("cases:\n  on: {x: a}\n"))
    assert document.line_of(("cases", True)) == document.line_of(("cases", "true")) == 2


def test_duplicate_keys_are_all_reported(write):
    document = load_document(write("a: 1\nb: {c: 1,\n    c: 2}\na: 2\n"))
    assert [(p.line, p.field) for p in document.problems] == [(3, "b.c"), (4, "a")]
    assert "`a` is given twice, first on line 1" in str(document.problems[1])


@pytest.mark.parametrize("text", ["1e-3", "1e5", "1.0e3", "-.5e2"])
def test_numbers_that_yaml_takes_for_text_are_reported(write, text):
    document = load_document(write(f"with:\n  eps: {text}\n"))
    assert document.data["with"]["eps"] == text
    assert str(document.problems[0]).startswith(f"{document.path}:2: with.eps: YAML reads this as text")


@pytest.mark.parametrize("text", ["1.0e-3", "'1e-3'", "1e-3x"])
def test_plain_numbers_and_quoted_text_are_not(write, text):
    assert load_document(write(f"eps: {text}")).problems == ()


def test_syntax_error_gives_line_and_column(write):
    path = write("name: x\nnodes: {a: [1, 2}\n")
    assert refusal(path).startswith(f"{path}:2: column 17: not YAML: while parsing a flow sequence")


def test_tab_indentation_gets_its_own_remedy(write):
    assert "spaces, not tabs" in refusal(write("nodes:\n\ta: 1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": is empty"),
        ("# only a comment\n", ": is empty"),
        ("- a\n- b\n", ":1: must be a mapping"),
        ("just text", ":1: must be a mapping"),
        ("a: 1\n---\nb: 2\n", ":2: column 1: not YAML: expected a single document"),
        (b"a: 1\nb: \xff\n", ":2: byte 8 is not UTF-8"),
        ("a: 1\nb: \x07\n", ":2: character U+0007 is not allowed"),
        ("x: &a [*a]\n", ":1: an anchor contains itself"),
        ("x: !!python/object/apply:os.getcwd []\n", ":1: column 4: not YAML: could not determine a constructor"),
        ("day: 2024-99-99\n", ":1: column 6: not YAML: '2024-99-99' is not a valid timestamp"),
        ("x: !!timestamp soon\n", "'soon' is not a valid timestamp"),
        ("x: !!bool maybe\n", "'maybe' is not a valid bool"),
        ("n: " + "9" * 5000, "is not a valid int"),
        ("{a: b}: c\n", "a key must be a single word"),
        ("x: " + "[" * 500, ":1: has more than 64 levels"),
    ],
)
def test_refused_content(write, content, message):
    assert message in refusal(write(content))


def test_too_many_values_are_refused(write, monkeypatch):
    monkeypatch.setattr("configs.documents.MAX_NODES", 100)
    assert load_document(write(f"x: [{'0,' * 97}]")).data
    assert ":1: has more than 100 values" in refusal(write(f"x: [{'0,' * 98}]"))


def test_billion_laughs_are_refused(write):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "aliases expand to more than 100000 values" in refusal(write("\n".join(lines)))


def test_merged_laughs_are_refused(write):
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    assert "aliases expand to more than 100000 values" in refusal(write("\n".join(lines)))


def test_a_long_text_repeated_by_aliases_is_refused(write):
    assert "aliases expand" in refusal(write(f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"))


def test_aliases_that_nest_ever_deeper_are_refused(write):
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))]
    assert "aliases expand to more than 64 levels" in refusal(write("\n".join(lines)))


def test_a_byte_order_mark_is_skipped(write):
    assert load_document(write("\ufeffname: x\n")).data == {"name": "x"}


def test_missing_file_folder_and_too_large(write, tmp_path):
    assert refusal(tmp_path / "absent.yaml").startswith(f"{tmp_path}/absent.yaml: no such file")
    assert refusal(tmp_path).startswith(f"{tmp_path}: is a folder")
    assert "is larger than 1048576 bytes" in refusal(write("#" * (MAX_BYTES + 1)))
    assert "cannot be read" in refusal(Path("a\0b.yaml"))
