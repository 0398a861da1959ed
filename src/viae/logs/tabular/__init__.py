"""Tables that a small YAML describes: CSV, Parquet, NPY, JSON and JSON lines.

::

    format.py        recognise, open, find the episodes
    description.py   the YAML, checked key by key
    columns.py       a column of any of these files, in one form
    tables.py        CSV and Parquet, a batch at a time
    arrays.py        NPY, mapped
    records.py       JSON and JSON lines
    times.py         columns to nanoseconds
    streams.py       columns to the samples of a stream
    episode.py       one episode

A log is the YAML file: named ``*.viae.yaml``, or any YAML with the key ``viae_tabular``; or a
folder that holds a ``viae.yaml``. All keys::

    viae_tabular: 1
    root: .                       # where the data is, from this file's folder
    episodes:                     # one of these; without it all tables are one episode
      folders: "*/*"              # a folder each; tables are named from inside it
      files: "**/*.traj"          # a file each; it is the table
      records: "runs/*.jsonl"     # a record each, of JSON lists or JSON lines
      column: episode             # the rows with the same value each
    time: {unit: s, clock: boot}  # what all tables have in common
    statements:
      task: drive                 # as it stands, or looked up:
      outcome: {path: reward, equals: 1.0, file: meta.json}     # in JSON; or {column: success}
    tables:
      - file: speed.csv           # not needed where an episode is a file or a record
        format: csv               # csv tsv parquet npy json jsonl; else by name and first bytes
        rows: trajectory          # JSON: where the rows are
        optional: false           # whether it may be absent
        ignore: [comment]         # columns that are left out on purpose; or all
        time:
          column: t               # or file: t.npy, or every_s: 0.1 where nothing holds a time
          unit: s                 # s ms us ns; iso8601 needs none where the file has a date type
          arrival: {column: rx}   # when it was received; else the same as the time
          clock: boot             # of the times; else the log's
        streams:                  # or: all, a stream for each column
          speed:
            columns: [left, right]  # one vector with names; else the column named like the stream
            file: speed.npy       # NPY: the stream's own file
            role: observation     # observation action outcome
            unit: m/s
            names: [l, r]
            kind: image           # the column names PNG or JPEG files; else by the column's type
            dtype: float32        # else as stored
            where: {role: [a, b]} # only rows with such values
            nulls: skip           # rows without a value are meant; else they are reported

Nothing leads out of ``root`` except an absolute path in the YAML itself. CSV and Parquet are read
a batch at a time, NPY is mapped; a JSON file is held whole.
"""

from viae.logs.tabular.format import TabularFormat

__all__ = ["TabularFormat"]
