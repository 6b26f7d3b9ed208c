from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweep.errors import UserError
from sweep.problems import PROBLEMS, Data, Raw
from sweep.registry import Choice

BUILT_IN = (
    "breast_cancer",
    "digits_pair",
    "iris_pair",
    "random_labels",
    "two_moons",
    "wine_pair",
    "xor",
)
FORMATS = ("csv", "parquet", "npz", "npz_columns")


def write(
    path: Path, features: np.ndarray, labels: Any, columns: tuple[str, ...], form: str
) -> str:
    frame = pd.DataFrame(features, columns=list(columns))
    frame["kind"] = labels
    if form == "csv":
        file = path / "data.csv"
        frame.to_csv(file, index=False)
    elif form == "parquet":
        file = path / "data.parquet"
        frame.to_parquet(file)
    elif form == "npz":
        file = path / "data.npz"
        np.savez(file, x=features, kind=np.asarray(labels))
    else:
        file = path / "data.npz"
        arrays: dict[str, Any] = {name: np.asarray(frame[name]) for name in columns}
        np.savez(file, **arrays, kind=np.asarray(labels))
    return str(file)


def table(path: str | Path, **settings: object) -> Data:
    settings = {"path": str(path), "target": "kind", **settings}
    found = PROBLEMS.build(Choice("table", settings)).load()
    assert isinstance(found, Data)
    return found


def built_in(name: str) -> tuple[Raw, Data]:
    problem: Any = PROBLEMS.build(Choice(name))
    return problem.raw(), problem.load()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_file_exported_from_a_built_in_gives_its_data(
    name: str, form: str, tmp_path: Path
) -> None:
    raw, data = built_in(name)
    exported = write(tmp_path, raw.features, raw.labels, raw.columns, form)
    assert table(exported).digest == data.digest


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_prepared_data_serves_as_well(form: str, tmp_path: Path) -> None:
    raw, data = built_in("breast_cancer")
    exported = write(tmp_path, data.x, data.y, raw.columns, form)
    assert table(exported).digest == data.digest
    assert table(exported, standardise=False).digest == data.digest


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "classes",
    [(0, 1), (1, 2), (-1, 1), (0.0, 1.0), (-1.0, 1.0), (False, True), ("a", "b"), ("10", "9")],
)
def test_any_two_sortable_classes_become_minus_and_plus_one(
    classes: tuple[Any, Any], form: str, tmp_path: Path
) -> None:
    y = np.array([1, -1, 1, 1, -1])
    labels = [classes[0] if v < 0 else classes[1] for v in y]
    exported = write(tmp_path, np.eye(5), labels, tuple("pqrst"), form)
    # A CSV file cannot tell text from numbers: "10" and "9" come back as 10 > 9.
    expected = -y if classes == ("10", "9") and form == "csv" else y
    np.testing.assert_array_equal(table(exported).y, expected)
    np.testing.assert_array_equal(table(exported, positive=classes[0]).y, -y)
    np.testing.assert_array_equal(table(exported, positive=str(classes[1])).y, y)


def test_csv_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) * 10.0 ** rng.integers(-200, 200, (200, 3))
    exported = write(tmp_path, x, np.arange(200) % 2, ("a", "b", "c"), "csv")
    np.testing.assert_array_equal(table(exported, standardise=False).x, x)


def test_columns_keep_their_order_wherever_the_target_stands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("b,kind,a\n1,0,10\n2,1,20\n4,1,50\n")
    np.testing.assert_array_equal(table(path, standardise=False).x, [[1, 10], [2, 20], [4, 50]])


def test_features_may_be_whole_numbers_or_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,kind\n1,True,yes\n0,False,no\n3,True,no\n")
    np.testing.assert_array_equal(table(path, standardise=False).x, [[1, 1], [0, 0], [3, 1]])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfkind,a\n0,1\n1,2\n")
    assert table(path).x.shape == (2, 1)


def test_identity_holds_the_settings_but_not_the_path(tmp_path: Path) -> None:
    choice = Choice("table", {"path": str(tmp_path / "x.csv"), "target": "kind"})
    assert PROBLEMS.identity(choice) == {"name": "table", "target": "kind"}


REFUSED_CSV = {
    "header only": ("a,kind\n", "has no row"),
    "one row": ("a,kind\n1,0\n", "has only one row"),
    "missing feature": ("a,kind\n1,0\n,1\n3,1\n", "column 'a' has 1 missing values, the first in"),
    "missing target": ("a,kind\n1,0\n2,\n3,1\n", "column 'kind' has 1 missing values"),
    "nan": ("a,kind\n1,0\nnan,1\n3,1\n", "column 'a' has 1 missing values, the first in row 2"),
    "infinite feature": ("a,kind\n1,0\ninf,1\n3,1\n", "column 'a' is infinite in row 2"),
    "infinite target": ("a,kind\n1,0\n2,inf\n", "target 'kind' holds infinity"),
    "constant target": ("a,kind\n1,0\n2,0\n", "column 'kind': the target is constant"),
    "three classes": ("a,kind\n1,0\n2,1\n3,2\n", r"has 3 classes \(0, 1, 2\): two are"),
    "many classes": ("a,kind\n" + "".join(f"{i},{i}\n" for i in range(9)), "has 9 classes"),
    "text feature": (
        "a,kind\nred,0\n2,1\n",
        "column 'a' is not a number .its first value is 'red'",
    ),
    "no target": ("a,b,kynd\n1,2,0\n2,3,1\n", "no target column 'kind'.*did you mean 'kynd'"),
    "no feature": ("kind\n0\n1\n", "no column beside the target 'kind'"),
    "doubled name": ("a,a,kind\n1,2,0\n2,3,1\n", "the column name 'a' stands there twice"),
    "unnamed column": (",a,kind\n0,1,0\n1,2,1\n", "column 1 has no name"),
    "long row": ("a,kind\n1,0\n2,1,9\n", "cannot be read as CSV"),
    "long rows": ("a,kind\n1,0,8\n2,1,9\n", "cannot be read as CSV"),
    "blank": ("\n \n", "cannot be read as CSV: it has blank lines only; .* in UTF-8, are accepted"),
    "narrow spread": ("a,kind\n0,0\n1e-300,1\n", "its spread cannot be computed"),
    "wide spread": ("a,kind\n-1e308,0\n1e308,1\n", "its spread cannot be computed"),
}


@pytest.mark.parametrize("case", sorted(REFUSED_CSV))
def test_csv_that_cannot_serve_is_refused(case: str, tmp_path: Path) -> None:
    text, sentence = REFUSED_CSV[case]
    path = tmp_path / "t.csv"
    path.write_text(text)
    check_refusal(path, sentence)


def check_refusal(path: Path, sentence: str, **settings: object) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        table(path, **settings)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "measured.csv").write_text("a,kind\n1,0\n2,1\n")
    check_refusal(tmp_path / "measure.csv", "is not there.*did you mean 'measured.csv'")
    check_refusal(tmp_path / "nowhere" / "x.csv", "is not there")
    (tmp_path / "folder.csv").mkdir()
    check_refusal(tmp_path / "folder.csv", "folder.csv is a folder: a file is accepted")


def test_an_unknown_extension_is_refused(tmp_path: Path) -> None:
    check_refusal(tmp_path / "t.xlsx", r"extension '.xlsx': .csv, .parquet, .npz are accepted")
    check_refusal(tmp_path / "t", r"extension ''")


@pytest.mark.parametrize("form", ["csv", "parquet", "npz"])
def test_empty_and_damaged_files_are_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{form}"
    path.write_bytes(b"")
    check_refusal(path, "is empty")
    path.write_bytes(b"\xff\xfe\x00garbage\x93\x01" * 40)
    check_refusal(path, f"cannot be read as {form.upper()}")


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_a_cut_file_is_refused(form: str, tmp_path: Path) -> None:
    raw, _ = built_in("iris_pair")
    path = Path(write(tmp_path, raw.features, raw.labels, raw.columns, form))
    path.write_bytes(path.read_bytes()[:-60])
    check_refusal(path, f"cannot be read as {form.upper()}")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, a=np.array([1.0, None], dtype=object), kind=np.array([0, 1]), allow_pickle=True)
    check_refusal(path, "array 'a' holds pickled Python objects")


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.zeros((3, 2)), "kind": np.array([0, 1])}, r"'x\[0\]' has 3 rows and the target"),
        ({"x": np.zeros((2, 2, 2)), "kind": np.array([0, 1])}, "array 'x' has 3 dimensions"),
        ({"x": np.zeros((2, 2)) + 1j, "kind": np.array([0, 1])}, r"'x\[0\]' is not a number"),
        ({"x": np.zeros((2, 2)), "kind": np.array(5)}, "array 'kind' has 0 dimensions"),
        ({"x": np.zeros((2, 2)), "kind": np.zeros((2, 2))}, "no target column 'kind'"),
        ({"x": np.array([[1.0], [np.nan]]), "kind": np.array([0, 1])}, "'x' has 1 missing"),
        ({"x": np.zeros((0, 2)), "kind": np.zeros(0)}, "has no row"),
    ],
)
def test_npz_that_cannot_serve_is_refused(
    arrays: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    check_refusal(tmp_path / "t.npz", sentence)


def test_parquet_text_dates_and_nulls_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": ["u", "v"], "kind": [0, 1]})
    frame.to_parquet(path)
    check_refusal(path, "column 'a' is not a number")
    frame["a"] = pd.to_datetime(["2020-01-01", "2020-01-02"])
    frame.to_parquet(path)
    check_refusal(path, "column 'a' is not a number")
    frame["a"] = pd.array([1, None], dtype="Int64")
    frame.to_parquet(path)
    check_refusal(path, "column 'a' has 1 missing values")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_csv_that_is_not_utf8_is_told_so(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("größe,kind\n1,0\n2,1\n".encode(encoding))
    check_refusal(path, "cannot be read as CSV: it is no UTF-8 text")
    path.write_bytes("größe,kind\n1,0\n2,1\n".encode())
    assert table(path).x.shape == (2, 1)


def test_an_npz_in_name_only_is_told_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    path.write_text("a,kind\n1,0\n2,1\n")
    check_refusal(path, r"no such archive; a file written by numpy.savez is accepted\.$")
    np.save(tmp_path / "t.npy", np.eye(2))
    (tmp_path / "t.npy").rename(path)
    check_refusal(path, r"single array of an NPY file; .* numpy.savez is accepted\.$")


def test_a_stored_row_index_is_refused_and_row_numbers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.0], "kind": [1, 0, 1]})
    frame.to_parquet(path)
    whole = table(path)
    assert whole.x.shape == (3, 2)
    frame.set_index("a").to_parquet(path)
    check_refusal(path, r"stores a pandas row index \('a'\).*reset_index\(\).*index=False")
    frame.set_index(["b", "a"]).to_parquet(path)
    check_refusal(path, r"row index \('b', 'a'\)")
    frame.iloc[[2, 0, 1]].to_parquet(path)
    check_refusal(path, "row index .without a name.")
    frame.set_index("a").reset_index().to_parquet(path)
    assert table(path).digest == whole.digest
    frame.iloc[[2, 0, 1]].to_parquet(path, index=False)
    assert table(path).x.shape == (3, 2)
    frame.iloc[1:].to_parquet(path)
    assert table(path).x.shape == (2, 2)


def test_an_unknown_positive_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,kind\n1,benign\n2,malignant\n")
    check_refusal(path, r"problem.positive '7' is unknown", positive=7)
    check_refusal(path, r"problem.positive '7.5' is unknown", positive=7.5)
    check_refusal(path, "'malignent' is unknown.*did you mean 'malignant'", positive="malignent")


def test_settings_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(UserError, match=r"problem.path is missing"):
        PROBLEMS.build(Choice("table"))
    with pytest.raises(UserError, match="did you mean 'target'"):
        PROBLEMS.build(Choice("table", {"path": "x.csv", "targe": "y"}))
