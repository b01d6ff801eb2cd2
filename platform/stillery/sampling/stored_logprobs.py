"""Stored log-probabilities of a teacher's samples: tables beside the generations, read along with the training samples.

generate/FINGERPRINT/top_logprobs/generations-00000.parquet    a row (StoredLogprobs) for each sample of
                                                               generations-00000.parquet, in their order
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import StoredLogprobs, TopLogprobs, conform
from stillery.sampling.sample_log import SCORES

# Within the output of generate.
TOP_LOGPROBS = "top_logprobs"
# Rows take megabytes: few are read at once.
ROWS_PER_GROUP = 64


def write_scores(folder: Folder, name: str, samples: pa.Table) -> int:
    """Write the log-probabilities of a table of ScoredGeneration. Returns the number of samples that have any."""
    scores = conform(samples.select(["sample_id", SCORES]), StoredLogprobs)
    with folder.create(name) as sink:
        pq.write_table(scores, sink, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return scores.num_rows - scores.column(SCORES).null_count


class ScoreReader:
    """The log-probabilities of one file's samples, read forwards on request.

    Samples of a file come in the order of its prompts, and those of one prompt in any order: so rows that were passed
    over and are still `wanted` are held.
    """

    def __init__(self, folder: Folder, name: str, *, wanted: set[str]) -> None:
        """Raises UserError if there is no such file."""
        if not folder.exists(name):
            raise UserError(
                f"{folder.uri} has no {name}: the samples were made without log-probabilities; set "
                "teacher.top_logprobs, with which they are made again"
            )
        self._wanted = set(wanted)
        self._passed: dict[str, TopLogprobs] = {}
        self._rows = _rows(folder, name)

    def take(self, sample_id: str) -> TopLogprobs | None:
        """Those of a sample, once; None where it has none."""
        while sample_id in self._wanted:
            row = next(self._rows, None)
            if row is None:
                break
            if row[0] in self._wanted:
                self._wanted.discard(row[0])
                if row[1] is not None:
                    self._passed[row[0]] = row[1]
        return self._passed.pop(sample_id, None)


def _rows(folder: Folder, name: str) -> Iterator[tuple[str, TopLogprobs | None]]:
    with folder.open_file(name) as source:
        for batch in pq.ParquetFile(source).iter_batches(ROWS_PER_GROUP):
            for sample_id, top in zip(batch.column("sample_id"), batch.column(SCORES), strict=True):
                yield sample_id.as_py(), _top(top)


def _top(row: pa.StructScalar) -> TopLogprobs | None:
    if not row.is_valid:
        return None
    ids, top_ids, top_logprobs = (np.asarray(row[name].values) for name in ("token_ids", "top_ids", "top_logprobs"))
    return TopLogprobs(row["k"].as_py(), ids, top_ids, top_logprobs)
