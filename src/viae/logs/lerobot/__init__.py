"""LeRobot datasets: tables of numbers, videos of pictures, and metadata.

::

    format.py     what a dataset is: recognise, open
    info.py       meta/info.json: version, features, rates
    place.py      where an episode is and what is said of it: what layouts give to the reader
    v21.py        2.0 and 2.1: a Parquet file per episode, a video per camera and episode
    v30.py        3.0: many episodes in each Parquet file and in each video
    episode.py    one episode: its rows, then its videos
    columns.py    table columns to values of streams
    rows.py       rows of shared files, read forward
    arrow.py      before 2.0: a Hugging Face dataset in Arrow files

A feature is a stream of the same name, and picture i of a video is row i. What LeRobot stores
beside them is kept in statements, so that the same dataset can be written again:

``lerobot.info``
    ``info.json``, whole.
``lerobot.episode``
    What the metadata says of the episode: its line of ``episodes.jsonl``, or its row of
    ``meta/episodes`` without the statistics, whose keys are the columns' names.
``lerobot.stats``
    Its statistics: ``{feature: {"min": [...], ...}}``, as stored.
``lerobot.table``
    ``columns`` (names and Arrow types of the table, in order), ``episode_index``,
    ``first_index`` (the column ``index`` of the first row), ``task_index`` (null where it
    changes).
``lerobot.dataset``
    What belongs to the dataset as a whole, only with its first episode: ``tasks`` and
    ``subtasks`` (rows of the tables), ``stats.json``, and JSON files of others in ``meta/``.

Bookkeeping columns are no streams where they can be computed again: ``frame_index`` counts,
``index`` counts from ``first_index``, ``episode_index`` and ``task_index`` are constant, and
``timestamp`` is the time in seconds, rounded to the column's type. Where one cannot, it is a
stream of its own name, of shape (1,) in the column's type. Where ``task_index`` changes, a
stream ``task`` has the instructions, too. Images keep their bytes; where a name is not LeRobot's
own ``frame-000000.png``, the text stream ``<feature>#path`` has it.
"""

from viae.logs.lerobot.format import LeRobotFormat

__all__ = ["LeRobotFormat"]
