"""The query that joins a run's samples from the files of its stages into one narrow table. Pure."""

from stillery.records import BondKind
from stillery.ui.filters import BOND_COLUMNS, KEPT

SOURCES = ("generate", "verify", "bonds", "curate", "prompts")

_BONDS = ", ".join(
    f"len(list_filter(bonds, lambda b: b.kind = '{kind.value}'))::INTEGER AS {BOND_COLUMNS[kind]}" for kind in BondKind
)
# The columns that a stage adds to a sample's row, and their values where the stage has not run.
_PARTS = {
    "verify": (
        "SELECT sample_id, verdict, flags, predicted, template FROM read_parquet($verify)",
        "NULL::VARCHAR AS verdict, NULL::VARCHAR[] AS flags, NULL::VARCHAR AS predicted, NULL::VARCHAR AS template",
    ),
    "bonds": (
        f"SELECT sample_id, stability, conflict, {_BONDS} FROM read_parquet($bonds) WHERE error IS NULL",
        "NULL::DOUBLE AS stability, NULL::DOUBLE AS conflict, "
        + ", ".join(f"NULL::INTEGER AS {column}" for column in BOND_COLUMNS.values()),
    ),
    "curate": (
        f"SELECT sample_id, coalesce(reason, '{KEPT}') AS outcome FROM read_parquet($curate)",
        "NULL::VARCHAR AS outcome",
    ),
}
_PROMPTS = (
    "SELECT prompt_id, task, split, question, answer FROM read_parquet($prompts)",
    "NULL::VARCHAR AS task, NULL::VARCHAR AS split, NULL::VARCHAR AS question, NULL::VARCHAR AS answer",
)
# The rows of a log that are shown: the first successful row of each sample, of the teacher's problems.
_LOGGED = """
    WHERE error IS NULL AND prompt_id IN (
        SELECT prompt_id FROM read_parquet($prompts) WHERE split IN ('train', 'validation'))
    QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY filename) = 1"""
# The share of correct samples of a problem, computed as metrics.pass_rate under the stopping rule.
_RATES = """
    SELECT prompt_id, coalesce(rate, accepted / nullif(counted, 0)) AS pass_rate
    FROM (SELECT prompt_id, count(*) AS counted, count(*) FILTER (verdict = 'correct') AS accepted FROM joined
          WHERE NOT surplus AND verdict NOT IN ('timeout', 'error', 'unchecked')
                AND outcome IS DISTINCT FROM 'tried again'
          GROUP BY prompt_id)
    LEFT JOIN (SELECT unnest($made) AS counted, unnest($right) AS accepted, unnest($rates) AS rate)
    USING (counted, accepted)"""


def create_table(table: str, there: frozenset[str], *, logged: bool) -> str:
    """The query that creates `table` from the files of the existing stages, `there`, which it takes as parameters by
    their names, with `made`, `right` and `rates` of the stopping rule.

    With `logged` the files of generate are a log, which has samples of other problems and failed samples, and may have
    a sample twice.
    """
    joins = "".join(
        f" LEFT JOIN ({part}) AS of_{stage} USING (sample_id)" for stage, (part, _) in _PARTS.items() if stage in there
    )
    joins += f" LEFT JOIN ({_PROMPTS[0]}) AS problem USING (prompt_id)" if "prompts" in there else ""
    missing = [empty for stage, (_, empty) in _PARTS.items() if stage not in there]
    missing += [] if "prompts" in there else [_PROMPTS[1]]
    counted = _LOGGED if logged else ""
    return (
        f"CREATE TABLE {table} AS WITH made AS ("
        "SELECT row_number() OVER () AS place, filename AS file, sample_id, prompt_id, sample_index, num_tokens, "
        f"finish_reason, surplus, attempt FROM read_parquet($generate, filename = true){counted}), "
        f"joined AS MATERIALIZED (SELECT {', '.join(['*', *missing])} FROM made{joins}) "
        f"SELECT joined.* REPLACE (left(question, 240) AS question), pass_rate FROM joined "
        f"LEFT JOIN ({_RATES}) AS rates USING (prompt_id) ORDER BY place"
    )
