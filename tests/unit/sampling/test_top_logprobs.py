"""The teacher's most likely tokens: read from vLLM and from servers, kept in the sample log, stored and read again."""

import dataclasses
import math
import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from misbehaving_server import Server, always, endpoint, reply, request

from stillery.config import EndpointConfig, TeacherConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, ScoredGeneration, TopLogprobs, schema_of
from stillery.sampling.backends.openai import EndpointEngine
from stillery.sampling.chat.conversation import load_tokenizer
from stillery.sampling.sample_log import SCORES, SampleLog
from stillery.sampling.stored_logprobs import ScoreReader, write_scores
from stillery.sampling.top_logprobs import (
    NO_TOKEN,
    TokenIds,
    asking_for,
    check_top_logprobs,
    collect,
    from_server,
    from_vllm,
)

PLAIN = Generation(
    sample_id="a", prompt_id="p", sample_index=0, seed=1, rendered="q", completion="x", finish_reason="stop",
    num_prompt_tokens=1, num_tokens=1, mean_logprob=-0.5, model="m", sampling="{}", attempt=0, surplus=False,
    error=None,
)  # fmt: skip


def scored(sample: str, *, k: int = 2, num_tokens: int = 3) -> ScoredGeneration:
    steps = [[(10 * step + i, -1.0 - i) for i in range(k)] for step in range(num_tokens)]
    fields = {f.name: getattr(PLAIN, f.name) for f in dataclasses.fields(PLAIN)}
    return ScoredGeneration(**{**fields, "sample_id": sample}, top=collect(list(range(num_tokens)), steps, k=k))


def same(one: TopLogprobs | None, other: TopLogprobs | None) -> bool:
    assert one is not None
    assert other is not None
    names = ("token_ids", "top_ids", "top_logprobs")
    return one.k == other.k and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_vllm_gives_the_sampled_token_beside_the_likeliest() -> None:
    steps = [{7: -3.0, 1: -0.1, 2: -2.5}, {1: -0.2, 5: -math.inf}]
    output = SimpleNamespace(
        token_ids=[7, 1], logprobs=[{t: SimpleNamespace(logprob=v) for t, v in step.items()} for step in steps]
    )
    top = from_vllm(output, k=2)
    assert top is not None
    assert top.token_ids.tolist() == [7, 1]
    assert top.top_ids.tolist() == [1, 2, 1, NO_TOKEN]
    assert top.top_logprobs.tolist() == pytest.approx([-0.1, -2.5, -0.2, -math.inf])
    assert from_vllm(SimpleNamespace(token_ids=[7], logprobs=None), k=2) is None


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("embedded:teacher", key="model")


def test_a_servers_tokens_are_found_by_their_bytes_text_or_number(tokenizer: Any) -> None:
    ids = TokenIds(tokenizer)
    text = "<think>\nThe total is 12.\n</think>"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    written = [tokenizer.decode([token]) for token in tokens]
    assert [ids.find({"token": piece}) for piece in written] == tokens
    assert [ids.find({"token": "", "bytes": list(piece.encode())}) for piece in written] == tokens
    assert ids.find({"token": "token_id:17"}) == 17
    assert ids.find({"token": "no such token"}) == NO_TOKEN
    end = tokenizer.eos_token
    assert ids.find({"token": end}) == tokenizer.eos_token_id


def test_a_sentencepiece_vocabulary_is_read_too() -> None:
    vocabulary = {"\u2581the": 3, "the": 4, "<0x0A>": 5, "</s>": 2}
    known = SimpleNamespace(get_vocab=lambda: vocabulary, added_tokens_decoder={2: SimpleNamespace(content="</s>")})
    ids = TokenIds(known)
    assert [ids.find({"token": text}) for text in (" the", "the", "\n", "</s>")] == [3, 4, 5, 2]


def test_chat_and_plain_completions_are_read_alike(tokenizer: Any) -> None:
    ids = TokenIds(tokenizer)
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in ("a", "b"))
    chat = {
        "content": [
            {
                "token": "a", "logprob": -0.3, "bytes": [97],
                "top_logprobs": [
                    {"token": "b", "logprob": -2.0, "bytes": [98]}, {"token": "a", "logprob": -0.3, "bytes": [97]},
                    {"token": "\ufffd", "logprob": -4.0, "bytes": None},
                ],
            }
        ]
    }  # fmt: skip
    plain = {"tokens": ["a"], "token_logprobs": [-0.3], "top_logprobs": [{"a": -0.3, "b": -2.0, "\ufffd": -4.0}]}
    for told in (chat, plain):
        top = from_server(told, ids=ids, k=3)
        assert top is not None
        assert top.token_ids.tolist() == [a]
        assert top.top_ids.tolist() == [a, b, NO_TOKEN]
    assert from_server({}, ids=ids, k=3) is None


def test_a_servers_are_kept_and_one_that_gives_none_ends_the_run_at_once(server: Server, tokenizer: Any) -> None:
    told: list[Any] = [
        {"content": [{"token": "4", "logprob": -0.5, "top_logprobs": [{"token": "4", "logprob": -0.5}]}]},
        {"content": [{"token": "4", "logprob": -0.5, "top_logprobs": [{"word": "4"}]}]},
        None,
    ]
    engine = EndpointEngine(endpoint(server), model_id="m-id", top_logprobs=(2, TokenIds(tokenizer)))
    rows: list[Any] = []
    for number, logprobs in enumerate(told):
        body = reply("4")
        body["choices"][0]["logprobs"] = logprobs
        server.behave = always(body)
        made: queue.SimpleQueue[Any] = queue.SimpleQueue()
        engine.submit(request("q", number), sampling={"logprobs": True, "top_logprobs": 2}, done=made.put)
        rows.append(made.get(timeout=60))
    engine.close()
    assert server.bodies[0]["top_logprobs"] == 2
    assert all(isinstance(row, ScoredGeneration) and row.completion == "4" for row in rows[:2])
    four = tokenizer("4", add_special_tokens=False)["input_ids"]
    assert rows[0].top.token_ids.tolist() == four
    assert rows[0].top.top_ids.tolist() == [*four, NO_TOKEN]
    # In another form than these are known by, they are none.
    assert rows[1].top is None
    assert isinstance(rows[2], UserError)
    assert "answers without log-probabilities: set teacher.top_logprobs=0" in str(rows[2])


def test_the_log_keeps_scores_through_compaction_and_reads_them_only_when_asked(tmp_path: Path) -> None:
    log = SampleLog(Folder(str(tmp_path)))
    log.append("b", [scored("a"), scored("b")], number=1)
    # A file of failures alone, as a server's outage leaves it.
    log.append("b", [dataclasses.replace(PLAIN, sample_id="c", error="refused")], number=2)
    assert log.compact("b") is not None
    (name,) = log.files()
    (plain,) = log.read([name]).tables.values()
    assert plain.schema.names == schema_of(Generation).names
    (whole,) = log.read([name], scored=True).tables.values()
    assert write_scores(Folder(str(tmp_path / "scores")), "generations-00000.parquet", whole) == 2
    reader = ScoreReader(Folder(str(tmp_path / "scores")), "generations-00000.parquet", wanted={"a", "b", "c"})
    # Within a prompt the samples that train come in any order.
    assert same(reader.take("b"), scored("b").top)
    assert same(reader.take("a"), scored("a").top)
    assert reader.take("c") is None
    assert reader.take("d") is None


def test_without_scores_the_log_is_as_it_was(tmp_path: Path) -> None:
    log = SampleLog(Folder(str(tmp_path)))
    for number in (1, 2):
        log.append("b", [dataclasses.replace(PLAIN, sample_id=str(number))], number=number)
    log.compact("b")
    (name,) = log.files()
    assert SCORES not in pq.read_schema(tmp_path / name).names


def test_scores_that_were_never_made_are_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no generations-00000.parquet.*set teacher.top_logprobs"):
        ScoreReader(Folder(str(tmp_path)), "generations-00000.parquet", wanted=set())


def test_what_a_teacher_is_asked_for() -> None:
    assert asking_for(TeacherConfig()) == {}
    assert asking_for(TeacherConfig(top_logprobs=5)) == {"logprobs": 5}
    chat = TeacherConfig(kind="endpoint", model="m", top_logprobs=5)
    assert asking_for(chat) == {"logprobs": True, "top_logprobs": 5}
    plain = dataclasses.replace(chat, endpoint=EndpointConfig(api="completions"))
    assert asking_for(plain) == {"logprobs": 5}


@pytest.mark.parametrize(
    ("teacher", "named"),
    [
        (TeacherConfig(top_logprobs=-1), "teacher.top_logprobs is -1"),
        (TeacherConfig(top_logprobs=30), "set teacher.engine.max_logprobs=30"),
        (TeacherConfig(top_logprobs=5, two_step=True), "two_step"),
        (TeacherConfig(top_logprobs=5, kind="recorded", model="r"), "recorded generations have no log-probabilities"),
    ],
)
def test_what_cannot_be_asked_for_is_said(teacher: TeacherConfig, named: str) -> None:
    with pytest.raises(UserError, match=named):
        check_top_logprobs(teacher)


def test_more_than_vllms_default_where_the_engine_allows_it() -> None:
    check_top_logprobs(TeacherConfig(top_logprobs=30, engine={"max_logprobs": 30}))
    check_top_logprobs(TeacherConfig(top_logprobs=30, engine={"max_logprobs": -1}))
    check_top_logprobs(TeacherConfig(top_logprobs=20))
