"""Described tables: every key of the description, and what does not fit."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.logs import find_logs
from viae.logs.tabular import TabularFormat
from viae.logs.tabular.columns import Column, Holds, column_of_values
from viae.logs.tabular.records import MISSING, at_path
from viae.logs.tabular.times import to_times
from viae.schema import Kind, LossKind, Role

CSV_TIME = {"column": "t", "unit": "s"}


def describe(folder: Path, table: dict | list, **more) -> Path:
    """A description beside its data."""
    tables = table if isinstance(table, list) else [table]
    path = folder / "log.viae.yaml"
    path.write_text(json.dumps({"viae_tabular": 1, "tables": tables, **more}))  # is YAML
    return path


def csv(folder: Path, text: str, **more) -> Path:
    (folder / "a.csv").write_text(text)
    return describe(folder, {"file": "a.csv", "time": CSV_TIME, "streams": "all"} | more)


def test_a_table_of_every_type(tmp_path: Path, read):
    contents = read(csv(tmp_path, "t,i,f,b,s\n0.5,1,0.5,true,x\n1.25,2,nan,false,\n"))
    kinds = {name: (str(s.kind), s.dtype, s.shape) for name, s in contents.specs.items()}
    assert kinds == {
        "i": ("vector", "int64", (1,)),
        "f": ("vector", "float64", (1,)),
        "b": ("vector", "bool", (1,)),
        "s": ("text", "", ()),
    }
    assert contents.capture["i"] == [500_000_000, 1_250_000_000]
    assert contents.values["s"] == ["x", ""]
    assert np.isnan(contents.values["f"][1])
    assert not contents.losses


def test_vectors_names_roles_and_units(tmp_path: Path, read):
    stream = {"columns": ["x", "y"], "role": "action", "unit": "m", "dtype": "float32"}
    contents = read(csv(tmp_path, "t,x,y\n0,1,2.5\n1,3,4.5\n", streams={"hand": stream}))
    spec = contents.specs["hand"]
    assert (spec.names, spec.role, spec.unit, spec.dtype) == (
        ("x", "y"),
        Role.ACTION,
        "m",
        "float32",
    )
    assert contents.values["hand"] == [[1.0, 2.5], [3.0, 4.5]]


def test_arrival_and_clock(tmp_path: Path, read):
    time = {"column": "t", "unit": "ms", "arrival": {"column": "rx"}, "clock": "camera"}
    contents = read(csv(tmp_path, "t,rx,v\n1,5,0\n2,4,0\n", time=time))
    assert contents.capture["v"] == [1_000_000, 2_000_000]
    assert contents.arrival["v"] == [5_000_000, 4_000_000]
    assert contents.specs["v"].clock == "camera"


def test_rows_chosen_by_value(tmp_path: Path, read):
    streams = {
        "user": {"columns": "say", "where": {"role": "user"}},
        "other": {"columns": "say", "where": {"role": ["agent", "tool"]}},
    }
    text = "t,role,say\n0,user,a\n1,agent,b\n2,tool,c\n3,user,d\n"
    contents = read(csv(tmp_path, text, streams=streams))
    assert contents.values == {"user": ["a", "d"], "other": ["b", "c"]}
    assert contents.seq == {"user": [0, 3], "other": [1, 2]}
    assert not contents.losses


def test_what_rows_lack_is_counted(tmp_path: Path, read):
    text = "t,v,w\n0,1,\n,2,2\n2,,\n3,4\n4,5,5\n"
    contents = read(csv(tmp_path, text, streams={"v": {}, "w": {"nulls": "skip"}}))
    assert contents.values == {"v": [[1], [5]], "w": [[5]]}
    assert contents.seq["v"] == [0, 3]
    counts = {loss.name: loss.count for loss in contents.losses}
    assert counts == {"value-missing": 1, "time-missing": 1, "row-malformed": 1}


def test_a_last_line_without_end_is_not_believed(tmp_path: Path, read):
    contents = read(csv(tmp_path, "t,v\n0,100\n1,100\n2,10"))
    assert contents.values["v"] == [[100], [100]]
    assert contents.loss("line-unterminated").count == 1


def test_bytes_that_are_no_text_are_kept_as_escapes(tmp_path: Path, read):
    path = csv(tmp_path, "t,v\n0,a\n")
    (tmp_path / "a.csv").write_bytes("t,v\n0,é\n1,\xff\n".encode("latin-1"))
    contents = read(path)
    assert contents.values["v"] == ["\\xe9", "\\xff"]
    assert contents.loss("bytes-escaped").count == 2


def test_columns_that_nobody_named_are_told(tmp_path: Path, read):
    streams = {"a": {}}
    contents = read(csv(tmp_path, "t,a,b,c\n0,1,2,3\n", streams=streams, ignore=["b"]))
    assert "these columns: c." in contents.loss("columns-unnamed").detail
    assert not read(csv(tmp_path, "t,a,b,c\n0,1,2,3\n", streams=streams, ignore="all")).losses


def test_times_that_nothing_holds_are_an_explicit_choice(tmp_path: Path, read):
    contents = read(csv(tmp_path, "v\n7\n8\n9\n", time={"every_s": 0.5}))
    assert contents.capture["v"] == [0, 500_000_000, 1_000_000_000]
    loss = contents.loss("times-absent")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 3)
    assert contents.statements["times"]["step_s"] == {"tables[0]": 0.5}


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2024-05-01T12:00:00.25Z", 1714564800_250000000),
        ("2024-05-01T14:00:00.25+02:00", 1714564800_250000000),
        ("2024-05-01 12:00:00", 1714564800_000000000),
    ],
)
def test_dates(tmp_path: Path, read, written: str, ns: int):
    assert read(csv(tmp_path, f"t,v\n{written},1\n", time={"column": "t"})).capture["v"] == [ns]
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps({"t": written, "v": 1}) + "\n")
    time = {"column": "t", "unit": "iso8601"}
    table = {"file": "a.jsonl", "time": time, "streams": {"v": {}}}
    assert read(describe(tmp_path, table)).capture["v"] == [ns]


def test_images_are_read_from_their_files(tmp_path: Path, read):
    for n in range(2):
        Image.new("RGB", (4, 3), (n, 0, 0)).save(tmp_path / f"{n}.png")
    Image.new("RGB", (5, 3)).save(tmp_path / "2.png")
    text = "t,eye\n" + "".join(f"{n},{n}.png\n" for n in range(4)) + "4,../0.png\n5,1.png\n"
    path = csv(tmp_path, text, streams={"eye": {"kind": "image"}})
    contents = read(path)
    assert contents.specs["eye"].kind is Kind.IMAGE
    assert contents.specs["eye"].shape == (3, 4, 3)
    assert contents.seq["eye"] == [0, 1, 5]
    assert contents.values["eye"][0] == (tmp_path / "0.png").read_bytes()
    why = sorted(loss.detail.partition("names: ")[2] for loss in contents.losses)
    assert why == [
        "there are no such files",
        "they are not png (3, 4, 3), as the first",
        "they lead out of the root",
    ]
    [before] = [e.fingerprint() for e in TabularFormat().open(path).episodes]
    Image.new("RGB", (4, 3), (9, 0, 0)).save(tmp_path / "1.png")
    assert [e.fingerprint() for e in TabularFormat().open(path).episodes] != [before]


def test_parquet_of_lists_dates_and_dictionaries(tmp_path: Path, read):
    table = pa.table(
        {
            "t": pa.array([1, 2], pa.timestamp("us")),
            "lists": [[1.0], [2.0, 3.0]],
            "fixed": pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.int16()), 2),
            "word": pa.array(["a", "b"]).dictionary_encode(),
            "blob": [b"\0", b"\1\0"],
            "nested": [{"a": 1}, {"a": None}],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    entry = {"file": "a.parquet", "time": {"column": "t"}, "streams": "all"}
    contents = read(describe(tmp_path, entry))
    assert contents.capture["lists"] == [1000, 2000]
    assert contents.values == {
        "lists": [[1.0], [2.0, 3.0]],
        "fixed": [[1, 2], [3, 4]],
        "word": ["a", "b"],
        "blob": [b"\0", b"\1\0"],
        "nested": ['{"a": 1}', '{"a": null}'],
    }
    assert contents.specs["fixed"].dtype == "int16"


def npy(folder: Path, array, time, **stream) -> Path:
    np.save(folder / "v.npy", array, allow_pickle=True)
    np.save(folder / "t.npy", time)
    entry = {"file": "v.npy", "time": {"file": "t.npy", "unit": "s"}, "streams": {"v": stream}}
    return describe(folder, entry)


def test_arrays(tmp_path: Path, read):
    grid = np.arange(12, dtype=">i2").reshape(3, 4)
    contents = read(npy(tmp_path, grid, [0.0, 1.0, 2.0], columns=[3, 0]))
    assert contents.values["v"] == [[3, 0], [7, 4], [11, 8]]
    assert contents.specs["v"].dtype == "int16"
    assert read(npy(tmp_path, np.array([b"a\0", b"bc"]), [0, 1])).values["v"] == [b"a\0", b"bc"]
    assert read(npy(tmp_path, np.asfortranarray(grid), [0, 1, 2])).values["v"] == grid.tolist()


def test_arrays_of_objects_are_never_loaded(tmp_path: Path, read):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('code ran')",)

    path = npy(tmp_path, np.array([Bomb()], object), [0.0])
    with pytest.raises(LogError, match="Python objects, which are pickled: loading them could run"):
        read(path)


def test_arrays_of_different_length(tmp_path: Path, read):
    contents = read(npy(tmp_path, np.zeros((5, 2)), np.arange(3.0)))
    assert len(contents.values["v"]) == 3
    loss = contents.loss("length-differs")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 2, "v")


def test_a_cut_array_gives_its_whole_rows(tmp_path: Path, read):
    path = npy(tmp_path, np.arange(20.0).reshape(10, 2), np.arange(10.0))
    file = tmp_path / "v.npy"
    file.write_bytes(file.read_bytes()[:-20])
    contents = read(path)
    assert contents.values["v"][-1] == [14.0, 15.0]
    assert {loss.name: loss.count for loss in contents.losses} == {
        "truncated": 2, "length-differs": 2,
    }  # fmt: skip


def test_not_a_time_in_an_array(tmp_path: Path, read):
    contents = read(npy(tmp_path, np.arange(3), [0.0, np.nan, 1e30]))
    assert contents.seq["v"] == [0]
    assert contents.loss("time-missing").count == 2


def test_episodes_by_column(tmp_path: Path, read):
    (tmp_path / "a.csv").write_text("e,t,v\nx,0,1\ny,0,2\nx,1,3\n,9,9\n")
    table = {"file": "a.csv", "time": CSV_TIME, "streams": {"v": {}}}
    said = {"task": {"column": "e"}}
    path = describe(tmp_path, table, episodes={"column": "e"}, statements=said)
    log = TabularFormat().open(path)
    assert [episode.range for episode in log.episodes] == ["x", "y"]
    assert [loss.name for loss in log.losses] == ["episode-unnamed"]
    assert len({episode.fingerprint() for episode in log.episodes}) == 2
    x, y = read(path, 0), read(path, 1)
    assert (x.values["v"], x.seq["v"]) == ([[1], [3]], [0, 1])
    assert y.values["v"] == [[2]]
    assert (x.statements["task"], y.statements["task"]) == ("x", "y")


def test_episodes_by_record(tmp_path: Path, read):
    runs = [{"score": n, "turns": [{"say": f"{n}.{k}"} for k in range(2)]} for n in range(3)]
    text = "".join(json.dumps(run) + "\n" for run in runs)
    (tmp_path / "a.jsonl").write_text(text[:-9] + "\n")
    (tmp_path / "b.json").write_text(json.dumps(runs))
    table = {"rows": "turns", "time": {"every_s": 1}, "streams": {"say": {}}}
    said = {"outcome": {"path": "score", "equals": 1}, "first": {"path": "turns.0.say"}}
    path = describe(tmp_path, table, episodes={"records": "*.json*"}, statements=said)
    log = TabularFormat().open(path)
    ranges = [episode.range for episode in log.episodes]
    assert ranges == ["a.jsonl[0]", "a.jsonl[1]", "b.json[0]", "b.json[1]", "b.json[2]"]
    assert [loss.name for loss in log.losses] == ["record-unreadable"]
    assert read(path, 1).values["say"] == ["1.0", "1.1"]
    assert read(path, 1).statements["outcome"] is True
    assert read(path, 2).statements["first"] == "0.0"


def test_tables_that_are_not_there(tmp_path: Path, read):
    (tmp_path / "a.csv").write_text("t,v\n0,1\n")
    here = {"file": "a.csv", "time": CSV_TIME, "streams": "all"}
    absent = here | {"file": "b.csv"}
    assert read(describe(tmp_path, [here, absent])).loss("table-missing").kind is LossKind.LOST
    assert not read(describe(tmp_path, [here, absent | {"optional": True}])).losses
    with pytest.raises(LogError, match="none of the tables of episode"):
        read(describe(tmp_path, absent))
    (tmp_path / "b.csv").write_text("")
    assert "no bytes" in read(describe(tmp_path, [here, absent])).loss("table-unreadable").detail
    with pytest.raises(EmptyLogError):
        read(describe(tmp_path, absent))


def test_nothing_leads_out_of_the_root(tmp_path: Path, read):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "a.csv").write_text("t,v\n0,1\n")
    table = {"file": "../a.csv", "time": CSV_TIME, "streams": "all"}
    with pytest.raises(LogError, match="leads out of the root"):
        read(describe(inside, table))
    (inside / "link.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(LogError, match="leads out of the root"):
        read(describe(inside, table | {"file": "link.csv"}))
    assert read(describe(inside, table | {"file": str(tmp_path / "a.csv")})).values["v"] == [[1]]
    (inside / "more").symlink_to(tmp_path)
    with pytest.raises(LogError, match="leads out of the root"):
        TabularFormat().open(describe(inside, table, episodes={"folders": "*"}))


GOOD = {"file": "a.csv", "time": {"column": "t", "unit": "s"}, "streams": {"v": {}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"viae_tabular": 2}, "viae_tabular: found 2; expected 1"),
        ({"tabels": []}, "the unknown key 'tabels'; expected only viae_tabular, root"),
        ({"tables": []}, r"tables: found \[\]; expected a list of tables"),
        ({"root": 5}, "root: found 5; expected text"),
        ({"root": "nowhere"}, "root: there is no folder"),
        ({"episodes": {"folders": "*", "files": "*"}}, "expected one of folders, files"),
        ({"episodes": {"folders": "../*"}}, "expected a pattern below the root"),
        ({"episodes": {"folders": "none*"}}, "fits nothing below"),
        ({"tables": [GOOD | {"time": {}}]}, "expected one of column, file and every_s"),
        (
            {"tables": [{k: GOOD[k] for k in ("file", "streams")}]},
            r"tables\[0\].time: found nothing",
        ),
        ({"tables": [GOOD | {"time": {"every_s": 0}}]}, "time.every_s: found 0"),
        (
            {"tables": [GOOD | {"time": {"column": "t", "unit": "h"}}]},
            "unit: found h; expected one",
        ),
        ({"tables": [GOOD | {"format": "xls"}]}, "format: found xls; expected one of csv"),
        ({"tables": [GOOD | {"streams": {}}]}, "expected a mapping of streams, or all"),
        ({"tables": [GOOD | {"streams": {"v": {"role": "boss"}}}]}, "role: found boss"),
        ({"tables": [GOOD | {"streams": {"v": {"dtype": "object"}}}]}, "dtype: found object"),
        ({"tables": [{k: GOOD[k] for k in ("time", "streams")}]}, "file: found nothing"),
        ({"statements": {"task": {"path": "a", "column": "b"}}}, "statements.task"),
    ],
)
def test_a_wrong_description_says_what_was_expected(tmp_path: Path, change: dict, said: str):
    path = tmp_path / "a.viae.yaml"
    path.write_text(yaml.safe_dump({"viae_tabular": 1, "tables": [GOOD]} | change))
    with pytest.raises(LogError, match=said) as caught:
        TabularFormat().open(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"time": {"column": "time", "unit": "s"}},
            "there is no column 'time'; expected one of t, v",
        ),
        ({"time": {"column": "t"}}, r"tables\[0\].time: unit nothing; expected one of s, ms"),
        ({"time": {"column": "w", "unit": "s"}}, "times written as text"),
        ({"time": {"file": "t.npy", "unit": "s"}}, "only NPY tables have several"),
        ({"streams": {"x": {"columns": ["v", "w"]}}}, "columns of numbers, text together"),
        ({"streams": {"v": {"names": ["a", "b"]}}}, r"2 names for samples of shape \(1,\)"),
        ({"streams": {"v": {"dtype": "uint8"}}}, "a.csv"),
    ],
)
def test_a_description_that_does_not_fit(tmp_path: Path, read, change: dict, said: str):
    (tmp_path / "a.csv").write_text("t,v,w\n0,1.5,x\n")
    np.save(tmp_path / "t.npy", np.zeros(1))
    with pytest.raises(LogError, match=said):
        read(describe(tmp_path, GOOD | change))


def test_yaml_that_is_refused(tmp_path: Path):
    path = tmp_path / "a.viae.yaml"
    for text, said in [
        ("viae_tabular: 1\nviae_tabular: 1\n", "a key is there twice"),
        ("a: &x [1]\nb: *x\n", r"aliases \(\*x\) are not allowed"),
        ("a: [1", "it is no YAML"),
        ("!!python/object/apply:os.system ['true']", "it is no YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(DamagedLogError, match=said):
            TabularFormat().open(path)
    path.write_text("[]")
    with pytest.raises(LogError, match=r"the description: found .*; expected a mapping"):
        TabularFormat().open(path)


def test_which_yaml_is_a_log(tmp_path: Path):
    for name, text in [
        ("mkdocs.yml", "site_name: x\n"),
        ("notes.yaml", "about: viae_tabular\n"),
        ("found.yml", "# ours\nviae_tabular: 1\n"),
        ("named.viae.yaml", "broken"),
    ]:
        (tmp_path / name).write_text(text)
    names = [path.name for path in find_logs(tmp_path).logs]
    assert names == ["found.yml", "named.viae.yaml"]
    (tmp_path / "viae.yaml").write_text("viae_tabular: 1")
    assert find_logs(tmp_path).logs == (tmp_path,)


@given(st.lists(st.integers(-(1 << 62), 1 << 62), min_size=1, max_size=20))
def test_whole_numbers_become_times_exactly(numbers: list[int]):
    column = Column(Holds.NUMBERS, np.array(numbers, np.int64))
    for unit, factor in (("ns", 1), ("us", 1000), ("s", 10**9)):
        times, valid = to_times(Path("x"), "time", column, unit)
        for number, time, fits in zip(numbers, times.tolist(), valid.tolist(), strict=True):
            assert fits == (abs(number) * factor < 1 << 63)
            assert not fits or time == number * factor


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(json_values, max_size=8))
def test_any_json_values_are_a_column(values: list):
    column = column_of_values(values)
    assert len(column.values) == len(values)
    has = np.ones(len(values), bool) if column.valid is None else column.valid
    assert has.tolist() == [value is not None for value in values]
    if column.holds is Holds.TEXTS:
        assert all(text.encode() is not None for text in column.values)


def test_paths_into_json():
    tree = {"a": {"b.c": [1, {"d": None}]}, "x.y": 2}
    assert at_path(tree, "a.b.c.0") == 1
    assert at_path(tree, "a.b.c.1.d") is None
    assert at_path(tree, "x.y") == 2
    assert at_path(tree, "") is tree
    for path in ("a.b", "a.b.c.2", "x.y.z", "a.b.c.-1"):
        assert at_path(tree, path) is MISSING
